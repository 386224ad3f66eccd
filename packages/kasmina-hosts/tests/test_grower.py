"""Any network grows in its own training loop, with any optimiser, schedule and precision."""

import itertools
from copy import deepcopy

import pytest
import torch
from host_scripts import advance, germinate
from networks_to_grow import NETWORKS, Loop, eventful, grow, life_of, loop
from torch import Tensor, nn

from kasmina_hosts import DigitsTask, Gates
from leyline_types import (
    AlphaMode,
    BlueprintAction,
    FactoredAction,
    GerminationStyle,
    LegalityRules,
    LifecycleOp,
    SeedStage,
    germinable_blueprints,
)

NAMES = list(NETWORKS)
LIGHT, NORM = BlueprintAction.CONV_LIGHT, BlueprintAction.NORM


def parameters_of(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def same_parameters(loop: Loop) -> bool:
    """Whether the optimiser holds each of the model's parameters once, and remembers nothing of others."""
    held = parameters_of(loop.optimizer)
    return set(held) == set(loop.model.parameters()) >= set(loop.optimizer.state) and len(held) == len(
        set(held)
    )


def stage(loop: Loop, slot_id: str) -> SeedStage | None:
    report = loop.grower.reports()[slot_id]
    return None if report is None else report.stage


@pytest.mark.parametrize("network", NAMES)
def test_an_eventful_life(task: DigitsTask, network: str) -> None:
    """Every action takes effect, model and optimiser hold the same, and the parameters are counted."""
    actions = eventful(NETWORKS[network][2])
    run = loop(task, network, actions)
    host = sum(parameter.numel() for parameter in run.model.parameters())
    stages = []
    for action in actions:
        step = run.epoch()
        assert step.action == action
        assert (step.legal, step.took_effect) == (True, True)
        assert same_parameters(run)
        stages.append(stage(run, "r0c0"))
    assert stages[5:12] == [
        SeedStage.HOLDING,
        SeedStage.HOLDING,
        SeedStage.BLENDING,  # falling
        SeedStage.BLENDING,
        SeedStage.PRUNED,
        SeedStage.EMBARGOED,
        SeedStage.RESETTING,
    ]
    assert (stage(run, "r0c0"), stage(run, "r0c1")) == (SeedStage.TRAINING, SeedStage.BLENDING)
    observation = run.epoch().observation
    grown = sum(parameter.numel() for parameter in run.model.parameters())
    assert observation.signals.host_params.item() == host
    assert observation.signals.total_params.item() == grown > host
    assert observation.signals.epoch.item() == len(actions) + 1
    assert observation.signals.global_step.item() == 2 * (len(actions) + 1)
    assert observation.signals.max_steps.item() == 2 * 20


@pytest.mark.parametrize("network", NAMES)
@pytest.mark.parametrize("style", GerminationStyle)
def test_a_seed_in_training_leaves_the_network_s_gradients_as_they_are(
    task: DigitsTask, network: str, style: GerminationStyle
) -> None:
    for blueprint in germinable_blueprints(NETWORKS[network][2]):
        bare, grown = (loop(task, network, actions) for actions in ([], life_of("r0c0", blueprint, style)))
        for run in (bare, grown):
            torch.manual_seed(7)  # for dropout
            run.epoch()
            run.epoch()
            run.step(torch.arange(32))
        assert stage(grown, "r0c0") is SeedStage.TRAINING
        own = dict(bare.model.named_parameters())
        for name, parameter in grown.model.named_parameters():
            if name in own:
                assert parameter.grad is not None, name
                assert torch.equal(parameter.grad, own[name].grad), name  # type: ignore[arg-type]
            elif ".gate." in name:
                assert parameter.grad is None, name
            elif "seed.down" not in name:  # of a LoRA, which waits for the first step of its `up`
                assert parameter.grad is not None, name
                assert parameter.grad.any(), name


def test_from_blending_on_the_network_learns_through_the_seed(task: DigitsTask) -> None:
    run = loop(task, "resnet", life_of("r0c0", LIGHT, GerminationStyle.LINEAR_ADD))
    for _ in range(4):
        run.epoch()
    slot = run.model.get_submodule("grown_slots.r0c0")
    images, stem = task.train.images[:8], run.model.get_submodule("stem")
    run.model.eval()

    def gradient() -> Tensor:
        return torch.autograd.grad(run.model(images).square().sum(), list(stem.parameters()))[0]

    blended, output = gradient(), run.model(images)
    slot.suppressed = True  # type: ignore[assignment]
    assert not torch.equal(run.model(images), output)
    assert not torch.equal(gradient(), blended)


def test_a_falling_seed_is_frozen(task: DigitsTask) -> None:
    run = loop(task, "plain cnn", eventful(NETWORKS["plain cnn"][2]))
    while run.grower._growth.life.alpha_mode[0, 0] != AlphaMode.DOWN:
        run.epoch()
    slot = run.model.get_submodule("grown_slots.r0c0")
    before = [parameter.clone() for parameter in slot.parameters()]
    host = run.model.get_parameter("0.weight").clone()
    for batch in torch.arange(64).split(32):
        run.step(batch)
    assert all(torch.equal(old, new) for old, new in zip(before, slot.parameters(), strict=True))
    assert not torch.equal(host, run.model.get_parameter("0.weight"))


OPTIMIZERS = sorted(
    name
    for name, kind in vars(torch.optim).items()
    if isinstance(kind, type) and name not in ("Optimizer", "LBFGS", "Muon", "SparseAdam")
)
"""All of torch.optim but those that are refused."""


@pytest.mark.parametrize("name", [*OPTIMIZERS, "Adam, fused", "SGD with momentum and decay"])
def test_any_optimiser(task: DigitsTask, name: str) -> None:
    def make(model: nn.Module) -> torch.optim.Optimizer:
        match name:
            case "Adam, fused":
                return torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
            case "SGD with momentum and decay":
                return torch.optim.SGD(
                    model.parameters(), lr=1e-2, momentum=0.9, nesterov=True, weight_decay=0.1
                )
            case _:
                made: torch.optim.Optimizer = getattr(torch.optim, name)(model.parameters(), lr=1e-3)
                return made

    actions = eventful(NETWORKS["plain cnn"][2])
    run = loop(task, "plain cnn", actions, make_optimizer=make)
    for _ in actions:
        run.epoch()
        assert same_parameters(run)
    seed = run.model.get_submodule("grown_slots.r0c1.seed")
    before = [parameter.clone() for parameter in seed.parameters()]
    run.step(torch.arange(32))
    assert not any(torch.equal(old, new) for old, new in zip(before, seed.parameters(), strict=True))


def test_seeds_join_the_group_of_their_layer_and_follow_its_schedule(task: DigitsTask) -> None:
    def groups(model: nn.Module) -> torch.optim.Optimizer:
        stem, rest = list(model.get_submodule("stem").parameters()), []
        rest = [parameter for parameter in model.parameters() if all(parameter is not own for own in stem)]
        return torch.optim.SGD([{"params": rest, "lr": 0.1}, {"params": stem, "lr": 0.01}], lr=0.5)

    run = loop(task, "resnet", [germinate("r0c0", NORM), germinate("r0c1", LIGHT)], make_optimizer=groups)
    schedule = torch.optim.lr_scheduler.StepLR(run.optimizer, 1, gamma=0.5)
    for _ in range(2):
        run.epoch()
        schedule.step()
    rest, stem = (set(group["params"]) for group in run.optimizer.param_groups)
    assert set(run.model.get_submodule("grown_slots.r0c0").parameters()) <= stem
    assert set(run.model.get_submodule("grown_slots.r0c1").parameters()) <= rest
    assert [group["lr"] for group in run.optimizer.param_groups] == [0.1 / 4, 0.01 / 4]


def test_a_layer_without_parameters_leaves_its_seeds_to_the_first_group_of_the_model(
    task: DigitsTask,
) -> None:
    stranger = nn.Parameter(torch.zeros(1))

    def groups(model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD([{"params": [stranger]}, {"params": list(model.parameters())}], lr=0.1)

    run = loop(task, "plain cnn", [germinate("r0c0", NORM)], make_optimizer=groups)
    run.epoch()
    assert run.optimizer.param_groups[0]["params"] == [stranger]
    assert set(run.model.parameters()) == set(run.optimizer.param_groups[1]["params"])


class Dtypes:
    """The precision of a layer's output, before and after its seed."""

    def __init__(self, layer: nn.Module) -> None:
        self.seen: list[torch.dtype] = []
        layer.register_forward_hook(self.record, prepend=True)
        layer.register_forward_hook(self.record)

    def record(self, layer: nn.Module, inputs: object, output: Tensor) -> None:
        self.seen.append(output.dtype)


@pytest.mark.parametrize("network", NAMES)
def test_autocast_to_bfloat16(task: DigitsTask, network: str) -> None:
    """The seed changes no precision, learns, and keeps its parameters in float32."""
    _, slots, topology = NETWORKS[network]
    actions = eventful(topology)
    run = loop(task, network, actions)
    run.autocast = True
    for _ in actions:
        assert run.epoch().took_effect
    assert {stage(run, "r0c0"), stage(run, "r0c1")} == {SeedStage.TRAINING, SeedStage.BLENDING}
    watched = [Dtypes(run.model.get_submodule(slots[slot_id])) for slot_id in ("r0c0", "r0c1")]
    run.step(torch.arange(32))
    for dtypes in watched:
        assert len(dtypes.seen) == 2
        assert dtypes.seen[0] is dtypes.seen[1]
    after_norm = network == "transformer"  # its slots follow layer norms, which autocast keeps in float32
    assert watched[1].seen[0] is (torch.float32 if after_norm else torch.bfloat16)
    assert all(parameter.dtype is torch.float32 for parameter in run.model.parameters())
    assert all(
        parameter.grad is None or parameter.grad.isfinite().all() for parameter in run.model.parameters()
    )


def test_a_network_that_is_bfloat16_itself_gets_seeds_that_are(task: DigitsTask) -> None:
    torch.manual_seed(0)
    model, images = NETWORKS["resnet"][0]().bfloat16(), task.train.images[:8].bfloat16()
    grow(model, {"r0c0": "stem"}, life_of("r0c0", LIGHT, GerminationStyle.GATED_GATE), images)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert model(images).dtype is torch.bfloat16


def test_counterfactuals_are_the_network_without_the_seed(task: DigitsTask) -> None:
    """Each contribution is the accuracy minus that of a network whose seed was never there; pairs by their formula."""
    actions = [
        *life_of("r0c0", LIGHT, GerminationStyle.LINEAR_ADD),
        *life_of("r0c1", BlueprintAction.CONV_HEAVY, GerminationStyle.LINEAR_MULTIPLY),
    ]
    run = loop(task, "resnet", actions, validate=True, interactions=True)
    for _ in actions:
        run.epoch()
    for batch in torch.arange(64).split(32):
        run.step(batch)
    accuracies = {}
    for off in ((), ("r0c0",), ("r0c1",), ("r0c0", "r0c1")):
        copy = deepcopy(run.model)
        for slot_id in off:
            slot = copy.get_submodule(f"grown_slots.{slot_id}")
            slot.seed = None  # type: ignore[assignment]
        accuracies[off] = Loop(copy, run.optimizer, run.grower, run.data).accuracy()
    assert len(set(accuracies.values())) > 2
    loss, accuracy = run.score()
    assert accuracy == accuracies[()]
    step = run.grower.end_epoch(
        train_loss=loss, val_loss=loss, train_accuracy=accuracy, val_accuracy=accuracy
    )
    without = [accuracies["r0c0",], accuracies["r0c1",]]
    pair = accuracy - sum(without) + accuracies["r0c0", "r0c1"]
    slots = step.observation.slots
    torch.testing.assert_close(slots.contribution[0, :2], accuracy - torch.tensor(without))
    torch.testing.assert_close(slots.interaction_sum[0, :2], torch.tensor([pair, pair]))
    torch.testing.assert_close(slots.boost_received[0, :2], torch.tensor([pair, pair]))
    assert slots.contribution[0, 2].isnan()
    assert run.accuracy() == accuracy


def test_without_counterfactuals_a_contribution_is_the_rise_since_germination(task: DigitsTask) -> None:
    run = loop(task, "resnet", life_of("r0c0", LIGHT, GerminationStyle.LINEAR_ADD))
    contributions, accuracies = [], []
    for _ in range(6):
        slots, signals = run.epoch().observation[1::-1]
        contributions.append(slots.contribution[0, 0])
        accuracies.append(signals.val_accuracy[0])
        assert slots.interaction_sum.isnan().all()
    assert torch.stack(contributions[:3]).isnan().all()
    expected = torch.stack(accuracies[3:]) - accuracies[0]
    torch.testing.assert_close(torch.stack(contributions[3:]), expected)


def test_a_seed_costs_nothing_in_evaluation_until_it_blends(task: DigitsTask) -> None:
    run = loop(task, "plain cnn", life_of("r0c0", LIGHT, GerminationStyle.LINEAR_ADD))
    calls: list[bool] = []
    run.epoch()
    seed = run.model.get_submodule("grown_slots.r0c0.seed")
    seed.register_forward_hook(lambda *_: calls.append(run.model.training))
    run.step(torch.arange(32))
    run.score()
    assert calls == []
    run.epoch()
    calls.clear()
    run.score()
    assert calls == []
    run.step(torch.arange(32))
    assert calls == [True]


def test_gradients_are_measured_as_the_optimiser_sees_them(task: DigitsTask) -> None:
    run = loop(task, "resnet", [germinate("r0c0", LIGHT), advance("r0c0")])
    host = list(run.model.parameters())
    run.epoch()
    run.epoch()
    slot = run.model.get_submodule("grown_slots.r0c0")
    norms = []
    for batch in torch.arange(64).split(32):
        run.step(batch)
        norms.append(
            [
                torch.cat([each.grad.flatten() for each in parameters if each.grad is not None]).norm()
                for parameters in (host, list(slot.parameters()))
            ]
        )
    signals, slots, _ = run.grower.end_epoch(
        train_loss=1.0, val_loss=1.0, train_accuracy=50.0, val_accuracy=50.0
    ).observation
    (_, first_seed), (last, last_seed) = norms
    torch.testing.assert_close(signals.grad_norm_host[0], last)
    torch.testing.assert_close(signals.grad_norm_seed[0], (first_seed + last_seed) / 2)
    mean = (norms[0][0] + last) / 2
    size = sum(each.numel() for each in host), sum(each.numel() for each in slot.parameters())
    ratio = (first_seed + last_seed) / 2 / size[1] ** 0.5 / (mean / size[0] ** 0.5)
    torch.testing.assert_close(slots.gradient_ratio[0, 0], ratio)


def test_equal_seeds_give_equal_growth_and_others_do_not(task: DigitsTask) -> None:
    actions = eventful(NETWORKS["resnet"][2])
    outputs = []
    for seed in (3, 3, 4):
        run = loop(task, "resnet", actions, seed=seed)
        for _ in range(6):
            torch.manual_seed(1)
            run.epoch()
        outputs.append(run.model(task.test.images[:8]))
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])


def test_planting_leaves_the_global_random_state_alone(task: DigitsTask) -> None:
    run = loop(task, "resnet", [germinate("r0c0", LIGHT)])
    run.step(torch.arange(32))
    before = torch.random.get_rng_state()
    run.grower.end_epoch(train_loss=1.0, val_loss=1.0, train_accuracy=50.0, val_accuracy=50.0)
    assert stage(run, "r0c0") is SeedStage.GERMINATED
    assert torch.equal(torch.random.get_rng_state(), before)


def test_illegal_and_gated_actions_change_nothing(task: DigitsTask) -> None:
    refused = FactoredAction(LifecycleOp.FOSSILIZE, "r0c0")
    actions = [germinate("r0c0", LIGHT), advance("r0c0"), refused, advance("r0c0")]
    shut = loop(task, "resnet", actions, gates=Gates(min_improvement=101.0))
    effects = [(step.legal, step.took_effect) for step in (shut.epoch() for _ in range(4))]
    assert effects == [(True, True), (True, True), (False, False), (True, False)]
    assert stage(shut, "r0c0") is SeedStage.TRAINING
    observation = shut.epoch().observation
    assert (observation.signals.last_op.item(), observation.signals.last_op_took_effect.item()) == (5, 0)


def test_rules_and_seed_limit_hold(task: DigitsTask) -> None:
    actions = [
        germinate("r0c0", NORM),
        germinate("r0c2", NORM),
        germinate("r0c2", LIGHT),
        germinate("r0c1", LIGHT),
    ]
    rules = LegalityRules(enabled_slots=("r0c1", "r0c2"), enabled_blueprints=(LIGHT,))
    run = loop(task, "resnet", actions, rules=rules, max_seeds=1)
    assert [run.epoch().legal for _ in actions] == [False, False, True, False]


def test_a_copy_of_the_model_is_independent(task: DigitsTask) -> None:
    """An average or a backup made by deepcopy keeps its own seed."""
    run = loop(task, "resnet", life_of("r0c0", LIGHT, GerminationStyle.LINEAR_ADD))
    for _ in range(4):
        run.epoch()
    copy = deepcopy(run.model).eval()
    before = copy(task.test.images[:8])
    run.epoch()
    assert torch.equal(copy(task.test.images[:8]), before)
    with torch.no_grad():
        for parameter in copy.get_submodule("grown_slots").parameters():
            parameter.zero_()
    assert not torch.equal(copy(task.test.images[:8]), before)


def test_alpha_velocity_and_the_first_gradient_norm(task: DigitsTask) -> None:
    run = loop(task, "resnet", eventful(NETWORKS["resnet"][2]))
    first, *others = (run.epoch().observation for _ in range(10))
    assert first.signals.grad_norm_host.item() > 0
    alphas = [each.slots.alpha[0, 0].item() for each in others]
    velocities = [each.slots.alpha_velocity[0, 0].item() for each in others]
    assert velocities[1:] == pytest.approx([new - old for old, new in itertools.pairwise(alphas)])
    assert max(velocities) > 0 > min(velocities)


def test_the_gate_asks_what_was_gained_since_the_stage_began(task: DigitsTask) -> None:
    """Not since germination: the accuracy rises in the epoch before TRAINING, and stands still in it."""
    gains = Gates(min_training_epochs=1, min_gradient_ratio=0.0)
    run = loop(task, "resnet", [germinate("r0c0", LIGHT), advance("r0c0"), advance("r0c0")], gates=gains)
    effects = []
    for accuracy in (10.0, 50.0, 50.0):
        for batch in torch.arange(64).split(32):
            run.step(batch)
        figures = {"train_loss": 1.0, "val_loss": 1.0, "train_accuracy": accuracy, "val_accuracy": accuracy}
        effects.append(run.grower.end_epoch(**figures).took_effect)
    assert effects == [True, True, False]
