"""The rules of thumb, one by one; and that nothing illegal is ever done."""

from collections.abc import Callable
from math import nan
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from leyline_types import (
    AlphaMode,
    BlueprintAction,
    Controller,
    FactoredAction,
    FactoredActions,
    LegalityRules,
    LifecycleOp,
    Observation,
    SeedStage,
    SlotConfig,
    Topology,
)
from tamiyo_masks import action_masks
from tamiyo_policies import (
    Decision,
    HeuristicController,
    HeuristicSettings,
    PolicyBundle,
    Rule,
)

Observe = Callable[..., Observation[Tensor]]

SLOTS = SlotConfig.default()
EMPTY, GERMINATED, TRAINING = SeedStage.DORMANT, SeedStage.GERMINATED, SeedStage.TRAINING
BLENDING, HOLDING, FOSSILIZED = SeedStage.BLENDING, SeedStage.HOLDING, SeedStage.FOSSILIZED


def decide(observation: Observation[Tensor], germinations: int = 0, **settings: Any) -> Decision:
    """What the heuristic does to the first environment."""
    controller = HeuristicController(SLOTS, settings=HeuristicSettings(**settings))
    memory = controller.initial_memory(observation.signals.epoch.shape[0])
    return controller.explain(observation, memory._replace(germinations=memory.germinations + germinations))[
        0
    ]


def test_it_is_a_controller_and_no_bundle() -> None:
    assert isinstance(HeuristicController(SLOTS), Controller)
    assert not isinstance(HeuristicController(SLOTS), PolicyBundle)


def test_a_fresh_host_is_left_to_train(observe: Observe) -> None:
    decision = decide(observe())
    assert decision.rule is Rule.WAIT
    assert decision.action.op is LifecycleOp.WAIT


@pytest.mark.parametrize(("plateau", "germinates"), [(2, False), (3, True), (9, True)])
def test_germinates_on_a_plateau(observe: Observe, plateau: int, germinates: bool) -> None:
    decision = decide(observe(plateau_epochs=plateau))
    assert (decision.rule is Rule.GERMINATE_PLATEAU) is germinates
    assert (decision.action.op is LifecycleOp.GERMINATE) is germinates


def test_germinates_once_the_host_is_stable(observe: Observe) -> None:
    decision = decide(observe(host_stabilized=True))
    assert decision.rule is Rule.GERMINATE_STABLE
    assert decision.action.describe() == (
        "GERMINATE r0c0 blueprint=CONV_LIGHT style=LINEAR_ADD tempo=STANDARD alpha_target=FULL"
    )
    assert str(decision) == f"{decision.action.describe()}: {Rule.GERMINATE_STABLE.value}"


def test_germinates_in_the_first_empty_slot(observe: Observe) -> None:
    stages = [[FOSSILIZED, EMPTY, EMPTY]]
    assert decide(observe(host_stabilized=True, stage=stages)).action.slot_id == "r0c1"


def test_germinates_nothing_late_or_beyond_capacity(observe: Observe) -> None:
    assert decide(observe(host_stabilized=True, epoch=15)).rule is Rule.GERMINATE_STABLE
    assert decide(observe(host_stabilized=True, epoch=16)).rule is Rule.WAIT
    assert decide(observe(host_stabilized=True, live_seeds=3)).rule is Rule.WAIT


@pytest.mark.parametrize(
    ("topology", "expected"),
    [(Topology.CNN, ["CONV_LIGHT", "NORM"]), (Topology.TRANSFORMER, ["NORM", "MLP_SMALL", "LORA"])],
)
def test_blueprints_rotate_within_the_topology(
    observe: Observe, topology: Topology, expected: list[str]
) -> None:
    observation = observe(host_stabilized=True, topology=topology)
    chosen = [decide(observation, turn).action.blueprint.name for turn in range(2 * len(expected))]
    assert chosen == 2 * expected


def test_a_rotation_without_fitting_blueprint_germinates_nothing(observe: Observe) -> None:
    observation = observe(host_stabilized=True)
    assert decide(observation, rotation=(BlueprintAction.LORA,)).rule is Rule.WAIT
    heavy = decide(observation, rotation=(BlueprintAction.LORA, BlueprintAction.CONV_HEAVY))
    assert heavy.action.blueprint is BlueprintAction.CONV_HEAVY


def test_a_pruned_blueprint_is_passed_over_for_some_germinations(observe: Observe) -> None:
    """The second environment prunes nothing: its rotation goes on as it was."""
    rotation = (BlueprintAction.CONV_LIGHT, BlueprintAction.NORM, BlueprintAction.ATTENTION)
    controller = HeuristicController(SLOTS, settings=HeuristicSettings(rotation=rotation, penalty=2))
    harmed = observe(
        envs=2,
        stage=[[EMPTY, HOLDING, EMPTY]] * 2,
        blueprint=[[0, int(BlueprintAction.NORM), 0]] * 2,
        contribution=[[nan, -3.0, nan], [nan, 0.0, nan]],
        age_epochs=9,
    )
    empty = observe(envs=2, host_stabilized=True)
    actions, memory = controller.act(harmed, controller.initial_memory(2))
    assert actions.op.tolist() == [LifecycleOp.PRUNE, LifecycleOp.WAIT]
    assert memory.penalties[:, BlueprintAction.NORM].tolist() == [2, 0]
    assert int(memory.penalties.sum()) == 2
    chosen = []
    for _ in range(5):
        actions, memory = controller.act(empty, memory)
        chosen.append([BlueprintAction(index).name for index in actions.blueprint.tolist()])
    one, two = zip(*chosen, strict=True)
    assert one == ("CONV_LIGHT", "ATTENTION", "ATTENTION", "CONV_LIGHT", "NORM")
    assert two == ("CONV_LIGHT", "NORM", "ATTENTION", "CONV_LIGHT", "NORM")


def test_penalties_add_up_and_the_least_penalised_goes_first(observe: Observe) -> None:
    controller = HeuristicController(SLOTS)
    memory = controller.initial_memory(1)
    for blueprint in (BlueprintAction.CONV_LIGHT, BlueprintAction.CONV_LIGHT, BlueprintAction.NORM):
        harmed = observe(
            stage=[[HOLDING, EMPTY, EMPTY]],
            blueprint=[[int(blueprint), 0, 0]],
            contribution=-3.0,
            age_epochs=9,
        )
        _, memory = controller.act(harmed, memory)
    assert memory.penalties[0, [BlueprintAction.CONV_LIGHT, BlueprintAction.NORM]].tolist() == [4, 2]
    assert (
        controller.explain(observe(host_stabilized=True), memory)[0].action.blueprint is BlueprintAction.NORM
    )


def test_a_germinated_seed_is_set_to_train(observe: Observe) -> None:
    decision = decide(observe(stage=[[FOSSILIZED, GERMINATED, EMPTY]]))
    assert decision == (FactoredAction(LifecycleOp.ADVANCE, "r0c1"), Rule.ADVANCE_GERMINATED)


@pytest.mark.parametrize(
    ("improvement", "ratio", "epochs", "rule"),
    [
        (0.4, 1.0, 2, Rule.WAIT),
        (0.5, 1.0, 2, Rule.ADVANCE_TRAINED),
        (0.5, nan, 2, Rule.ADVANCE_TRAINED),
        (0.5, 0.05, 2, Rule.WAIT),
        (0.5, 1.0, 9, Rule.ADVANCE_TRAINED),
        (0.4, 1.0, 4, Rule.WAIT),
        (0.4, 1.0, 5, Rule.PRUNE_STUCK),
        (0.5, 0.05, 5, Rule.PRUNE_STUCK),
    ],
)
def test_a_training_seed(observe: Observe, improvement: float, ratio: float, epochs: int, rule: Rule) -> None:
    observation = observe(
        stage=[[TRAINING, EMPTY, EMPTY]],
        improvement_in_stage=improvement,
        gradient_ratio=ratio,
        epochs_in_stage=epochs,
        age_epochs=epochs + 1,
    )
    assert decide(observation).rule is rule


@pytest.mark.parametrize(
    ("alpha", "mode", "rule"),
    [
        (1.0, AlphaMode.HOLD, Rule.ADVANCE_BLENDED),
        (1.0, AlphaMode.UP, Rule.WAIT),
        (1.0 - 5e-7, AlphaMode.HOLD, Rule.ADVANCE_BLENDED),
        (0.7, AlphaMode.HOLD, Rule.WAIT),
    ],
)
def test_a_blending_seed(observe: Observe, alpha: float, mode: AlphaMode, rule: Rule) -> None:
    observation = observe(stage=[[BLENDING, EMPTY, EMPTY]], alpha=alpha, alpha_target=1.0, alpha_mode=mode)
    assert decide(observation).rule is rule


@pytest.mark.parametrize(
    ("contribution", "epochs", "rule"),
    [
        (1.0, 1, Rule.FOSSILIZE_WORTHY),
        (0.9, 1, Rule.WAIT),
        (nan, 1, Rule.WAIT),
        (0.9, 5, Rule.PRUNE_STUCK),
        (nan, 5, Rule.PRUNE_STUCK),
        (1.0, 5, Rule.FOSSILIZE_WORTHY),
        (-1.0, 1, Rule.WAIT),
        (-1.1, 1, Rule.PRUNE_HARMFUL),
    ],
)
def test_a_held_seed(observe: Observe, contribution: float, epochs: int, rule: Rule) -> None:
    observation = observe(
        stage=[[EMPTY, HOLDING, EMPTY]], contribution=contribution, epochs_in_stage=epochs, age_epochs=9
    )
    decision = decide(observation)
    assert decision.rule is rule
    assert decision.action.slot_id == ("r0c0" if rule is Rule.WAIT else "r0c1")


def test_harm_goes_before_everything_else(observe: Observe) -> None:
    observation = observe(
        stage=[[HOLDING, GERMINATED, HOLDING]],
        contribution=[[2.0, nan, -3.0]],
        age_epochs=9,
        host_stabilized=True,
    )
    assert decide(observation) == (FactoredAction(LifecycleOp.PRUNE, "r0c2"), Rule.PRUNE_HARMFUL)


def test_what_is_illegal_is_passed_over(observe: Observe) -> None:
    harmful = {"stage": [[HOLDING, EMPTY, EMPTY]], "contribution": -3.0, "age_epochs": 9}
    assert decide(observe(**harmful)).rule is Rule.PRUNE_HARMFUL
    assert decide(observe(**harmful, alpha_mode=AlphaMode.DOWN)).rule is Rule.WAIT
    elsewhere = HeuristicController(SLOTS, rules=LegalityRules(enabled_slots=("r0c2",)))
    memory = elsewhere.initial_memory(1)
    assert elsewhere.explain(observe(**harmful), memory)[0].rule is Rule.WAIT
    assert elsewhere.explain(observe(host_stabilized=True), memory)[0].action.slot_id == "r0c2"


def test_memory_counts_germinations_and_nothing_else_changes(observe: Observe) -> None:
    controller = HeuristicController(SLOTS)
    observation = observe(envs=2, host_stabilized=[True, False])
    memory = controller.initial_memory(2)
    actions, after = controller.act(observation, memory)
    assert after.germinations.tolist() == [1, 0]
    assert memory.germinations.tolist() == [0, 0]
    again, _ = controller.act(observation, memory)
    assert [head.tolist() for head in again] == [head.tolist() for head in actions]
    second, _ = controller.act(observation, after)
    assert second.blueprint.tolist() == [int(BlueprintAction.NORM), 0]


@settings(
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    seed=st.integers(0, 2**31), slots=st.sampled_from([1, 2, 9, 25]), topology=st.sampled_from(list(Topology))
)
def test_actions_are_legal_and_explained_in_any_world(
    observe: Observe, seed: int, slots: int, topology: Topology
) -> None:
    generator, envs = torch.Generator().manual_seed(seed), 6

    def random(high: int) -> Tensor:
        return torch.randint(high, (envs, slots), generator=generator)

    stages = torch.tensor([int(stage) for stage in SeedStage if stage is not SeedStage.UNKNOWN])
    observation = observe(
        envs=envs,
        slots=slots,
        topology=topology,
        stage=stages[random(len(stages))],
        alpha_mode=random(3),
        alpha=1.0,
        alpha_target=1.0,
        age_epochs=random(4),
        epochs_in_stage=random(8),
        contribution=random(6) - 3.0,
        improvement_in_stage=random(2),
        plateau_epochs=3,
    )
    config = SlotConfig.for_grid(1, slots)
    controller = HeuristicController(config)
    memory = controller.initial_memory(envs)
    actions, _ = controller.act(observation, memory)
    masks = action_masks(observation, config)
    for env, decision in enumerate(controller.explain(observation, memory)):
        indices = FactoredActions(*(int(head[env]) for head in actions))
        assert FactoredAction.from_indices(indices, config) == decision.action
        assert masks.op[env, indices.op]
        if decision.action.op is not LifecycleOp.WAIT:
            assert masks.slot_by_op[env, indices.op, indices.slot]
        if decision.action.op is LifecycleOp.GERMINATE:
            assert masks.blueprint[env, indices.blueprint]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("damage", 0.0, "`damage` must be below 0"),
        ("worth", -1.0, "`worth` not"),
        ("patience", 0, "`patience` must be at least 1 epoch, not 0"),
        ("plateau", 0, "`plateau` must be at least 1 epoch, not 0"),
        ("penalty", -1, "`penalty` must be 0 germinations or more, not -1"),
        ("last_germination", 1.5, r"must lie in \[0, 1\], not 1.5"),
        ("rotation", (), "must name blueprints"),
        ("rotation", (BlueprintAction.NOOP,), "must name blueprints"),
    ],
)
def test_impossible_settings(field: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HeuristicSettings(**{field: value})
