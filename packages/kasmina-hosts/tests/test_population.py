"""Hosts in real training: they learn, they grow, the same seeds give the same hosts, and nonsense is refused."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from copy import deepcopy
from typing import NamedTuple

import pytest
import torch
from host_scripts import (
    EPOCHS,
    advance,
    assert_equal,
    germinate,
    growing,
    make,
    play,
    same_for_all,
    waiting,
)
from torch import Tensor

from kasmina_hosts import DigitsTask, GrownSeed, HostConfig, HostPopulation, Split
from kasmina_hosts.slot_groups import SlotGroups
from kasmina_hosts.stacked import StackedModule
from leyline_types import (
    AlphaAlgorithm,
    AlphaMode,
    BlueprintAction,
    FactoredAction,
    LegalityRules,
    LifecycleOp,
    SeedStage,
    Topology,
)

NORM = GrownSeed(BlueprintAction.NORM, AlphaAlgorithm.GATE, 1.0)
VIT = HostConfig(topology=Topology.TRANSFORMER, width=16, max_epochs=EPOCHS)


def test_hosts_learn(task: DigitsTask) -> None:
    seen = play(make(task), [1, 2, 3, 4], waiting)
    assert seen[0].signals.val_accuracy.mean() < 25
    assert seen[-1].signals.val_accuracy.mean() > seen[0].signals.val_accuracy.mean() + 8
    assert seen[-1].signals.val_loss.mean() < seen[0].signals.val_loss.mean()


def test_transformers_learn(task: DigitsTask) -> None:
    seen = play(HostPopulation(task, VIT), [1, 2], waiting)
    assert seen[0].signals.val_accuracy.max() < 25
    assert seen[-1].signals.val_accuracy.min() > 75
    assert (seen[-1].signals.val_loss < seen[0].signals.val_loss - 1).all()


@pytest.mark.parametrize("topology", list(Topology))
def test_a_copy_goes_on_as_the_population_does(task: DigitsTask, topology: Topology) -> None:
    config = VIT if topology is Topology.TRANSFORMER else HostConfig(max_epochs=EPOCHS)
    population = HostPopulation(task, config)
    play(population, [1, 2], epochs=2)
    copy = deepcopy(population)
    wait = same_for_all(waiting(), 2)
    assert_equal(copy.step(wait).observation, population.step(wait).observation)


def test_growth_takes_effect_in_transformers(task: DigitsTask) -> None:
    def script(epoch: int) -> FactoredAction:
        return advance("r0c1") if epoch else germinate("r0c1", BlueprintAction.MLP)

    population = HostPopulation(task, VIT)
    seen, bare = play(population, [1, 2], script), play(HostPopulation(task, VIT), [1, 2], waiting, epochs=3)
    assert (seen[-1].slots.stage[:, 1] == SeedStage.HOLDING).all()
    assert (seen[-1].slots.alpha[:, 1] == 0.5).all()
    assert seen[-1].slots.contribution[:, 1].isfinite().all()
    added = seen[-1].signals.total_params - seen[-1].signals.host_params
    assert (added == 8 * 16**2 + 5 * 16).all()
    assert torch.equal(
        seen[2].signals.train_loss, bare[2].signals.train_loss
    )  # in TRAINING it is only beside
    assert (seen[3].signals.train_loss != bare[3].signals.train_loss).all()
    assert (seen[-1].signals.topology == Topology.TRANSFORMER.code).all()


def test_patches_must_tile_the_image(task: DigitsTask) -> None:
    message = r"patches of 3 x 3 pixels \(`patch_size`\) do not tile images of 8 x 8"
    with pytest.raises(ValueError, match=message):
        HostPopulation(task, HostConfig(topology=Topology.TRANSFORMER, patch_size=3))
    assert HostPopulation(task, HostConfig(patch_size=3)).task_config.topology is Topology.CNN


def test_equal_seeds_give_equal_hosts_and_others_do_not(task: DigitsTask) -> None:
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    first, second = play(make(task), [4, 6], epochs=3), play(make(task), [4, 6], epochs=3)
    assert torch.equal(torch.random.get_rng_state(), before)
    for a, b in zip(first, second, strict=True):
        assert_equal(a, b)
    assert (first[-1].signals.val_loss[0] != first[-1].signals.val_loss[1]).all()


def test_a_seed_in_training_leaves_its_host_s_training_as_it_is(task: DigitsTask) -> None:
    grown, bare = play(make(task), [1, 2], growing, epochs=2), play(make(task), [1, 2], waiting, epochs=2)
    assert (grown[-1].slots.stage[:, 1] == SeedStage.TRAINING).all()
    assert grown[-1].signals.grad_norm_seed.isfinite().all()
    for name in ("train_loss", "val_loss", "val_accuracy", "grad_norm_host"):
        assert torch.equal(getattr(grown[-1].signals, name), getattr(bare[-1].signals, name)), name


def test_growth_takes_effect(task: DigitsTask) -> None:
    seen = play(make(task), list(range(6)))
    stages = torch.stack([each.slots.stage[:, 1] for each in seen])
    assert (stages[1] == SeedStage.GERMINATED).all()
    assert (stages[2] == SeedStage.TRAINING).all()
    assert (stages[-1] == SeedStage.HOLDING).any()
    held = seen[-1].slots.stage[:, 1] == SeedStage.HOLDING
    assert seen[-1].slots.contribution[held, 1].isfinite().all()
    assert (seen[-1].slots.alpha[held, 1] == 0.5).all()
    size = seen[-1].signals.total_params - seen[-1].signals.host_params
    assert (size == 2 * HostConfig().width + 1).all()


def test_falling_seeds_are_frozen(task: DigitsTask) -> None:
    population = make(task)
    population.reset([1], [{"r0c0": NORM}])
    present = population._present
    falling = torch.tensor([[True, False, False]])
    present.life = present.life.where(
        falling,
        alpha_mode=float(AlphaMode.DOWN),
        steps_total=8.0,
        steps_done=0.0,
        alpha_start=1.0,
        alpha_target=0.5,
    )
    tensors = [
        *present.networks.slots[0].seeds[BlueprintAction.NORM].tensors(),
        *present.networks.slots[0].gate.tensors(),
    ]
    before = [tensor.clone() for tensor in tensors]
    assert present.seeds.gradient_norm[0, 0].isnan()
    host = [tensor.clone() for tensor in present.networks.parts[0].tensors()]
    after = population.step(same_for_all(waiting(), 1)).observation
    assert after.slots.gradient_ratio[0, 0].isnan()
    assert all(torch.equal(old, new) for old, new in zip(before, tensors, strict=True))
    assert not any(torch.equal(o, n) for o, n in zip(host, present.networks.parts[0].tensors(), strict=True))


def test_fresh_hosts_know_what_was_measured_and_nothing_else(task: DigitsTask) -> None:
    signals, slots, telemetry = make(task).reset([1, 2])
    assert telemetry is None
    for name in ("loss_delta", "accuracy_delta", "grad_norm_host", "grad_norm_seed"):
        assert getattr(signals, name).isnan().all(), name
    for name in ("train_loss", "val_loss", "train_accuracy", "val_accuracy", "best_val_loss"):
        assert getattr(signals, name).isfinite().all(), name
    assert signals.last_op.tolist() == signals.last_op_took_effect.tolist() == [-1, -1]
    assert signals.loss_history.isnan().sum(1).tolist() == [4, 4]
    assert not slots.occupied.any()
    assert (slots.stage == SeedStage.DORMANT).all()
    assert slots.contribution.isnan().all()


def test_reports_say_what_the_columns_say(task: DigitsTask) -> None:
    population = make(task)
    observation = play(population, [1, 2], epochs=2)[-1]
    for host, (signals, reports) in enumerate(zip(population.signals(), population.reports(), strict=True)):
        assert signals.metrics.val_loss == observation.signals.val_loss[host]
        assert signals.active_seeds == ("r0c1-epoch0",)
        assert signals.last_op is LifecycleOp.ADVANCE
        assert (reports["r0c0"], reports["r0c2"]) == (None, None)
        report = reports["r0c1"]
        assert report is not None
        assert (report.stage, report.previous_stage) == (SeedStage.TRAINING, SeedStage.GERMINATED)
        assert (report.blueprint_id, report.metrics.epochs_total) == ("norm", 2)
        assert report.metrics.counterfactual_contribution is None
        assert report.metrics.total_improvement == pytest.approx(
            signals.metrics.val_accuracy - report.metrics.initial_val_accuracy
        )


def test_grown_from_the_start(task: DigitsTask) -> None:
    population = make(task)
    grown = [{"r0c0": NORM}, {"r0c1": GrownSeed(BlueprintAction.CONV_LIGHT, AlphaAlgorithm.ADD, 0.5)}]
    observation = population.reset([1, 2], grown)
    assert population.grown() == grown
    width = HostConfig().width
    added = observation.signals.total_params - observation.signals.host_params
    assert added.tolist() == [2 * width + 1 + width + 1, 9 * width**2 + 2 * width]
    assert not torch.equal(population.reset([1, 2]).signals.val_loss, observation.signals.val_loss)
    assert population.grown() == [{}, {}]


def test_test_accuracy_is_of_the_test_part(task: DigitsTask) -> None:
    population = make(task)
    play(population, [1], waiting, epochs=2)
    present = population._present
    logits = present.networks.forward(
        task.test.images[None], present.networks.groups(present.life, training=False)
    )[0]
    expected = 100 * (logits.argmax(-1) == task.test.labels).float().mean()
    torch.testing.assert_close(population.test_accuracy(), expected[None])


def test_refused_actions_are_reported_by_the_next_observation(task: DigitsTask) -> None:
    population = make(task, rules=LegalityRules(enabled_slots=("r0c0",)))
    population.reset([1])
    illegal = population.step(same_for_all(growing(0), 1))
    assert (illegal.legal.item(), illegal.took_effect.item()) == (False, False)
    assert illegal.observation.signals.last_op.item() == LifecycleOp.GERMINATE
    assert illegal.observation.signals.last_op_took_effect.item() == 0
    assert not illegal.observation.slots.occupied.any()


def test_enabled_blueprints(task: DigitsTask) -> None:
    heavy = FactoredAction(LifecycleOp.GERMINATE, "r0c1", blueprint=BlueprintAction.CONV_HEAVY)
    for enabled, legal in ((None, True), ((BlueprintAction.NORM,), False)):
        population = make(task, rules=LegalityRules(enabled_blueprints=enabled))
        population.reset([1])
        assert population.step(same_for_all(heavy, 1)).legal.item() is legal
    with pytest.raises(ValueError, match="hold none for a cnn network"):
        make(task, rules=LegalityRules(enabled_blueprints=(BlueprintAction.LORA,)))


def test_nonsense_is_refused_and_changes_nothing(task: DigitsTask) -> None:
    population = make(task)
    with pytest.raises(RuntimeError, match="no hosts yet; call reset"):
        population.observe()
    with pytest.raises(ValueError, match="at least one host seed"):
        population.reset([])
    with pytest.raises(ValueError, match=r"must lie in 0 to 2\^63 - 1, not -3 to 1"):
        population.reset([1, -3])
    with pytest.raises(ValueError, match="`grown` describes 1 hosts, `seeds` 2"):
        population.reset([1, 2], [{}])
    with pytest.raises(ValueError, match="'r4c4' is not one of"):
        population.reset([1], [{"r4c4": NORM}])
    with pytest.raises(
        ValueError, match="blueprint 'lora' does not fit a cnn network; there are: conv_light, att"
    ):
        population.reset([1], [{"r0c0": GrownSeed(BlueprintAction.LORA, AlphaAlgorithm.ADD, 1.0)}])
    with pytest.raises(ValueError, match=r"`alpha` must lie in \(0, 1\], not 0.0"):
        GrownSeed(BlueprintAction.NORM, AlphaAlgorithm.ADD, 0.0)
    before = population.reset([1, 2])
    actions = same_for_all(waiting(), 2)
    with pytest.raises(ValueError, match=r"head 'slot' has shape \(1,\), there are 2 hosts"):
        population.step(same_for_all(waiting(), 1))
    with pytest.raises(ValueError, match="head 'tempo' has 3 choices, got 0 to 3"):
        population.step(actions._replace(tempo=torch.tensor([0, 3])))
    with pytest.raises(ValueError, match="head 'op' has 6 choices, got -1 to 0"):
        population.step(actions._replace(op=torch.tensor([0, -1])))
    assert_equal(population.observe(), before)
    with pytest.raises(ValueError, match="'r7c7' is not one of"):
        make(task, rules=LegalityRules(enabled_slots=("r7c7",)))


def test_the_episode_ends(task: DigitsTask) -> None:
    population = HostPopulation(task, HostConfig(max_epochs=1))
    population.reset([1])
    actions = same_for_all(waiting(), 1)
    population.step(actions)
    assert (population.epoch, population.num_envs) == (1, 1)
    with pytest.raises(RuntimeError, match="ended after 1 epochs; call reset"):
        population.step(actions)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_epochs": 0}, "`max_epochs` must be at least 1, not 0"),
        ({"width": 0}, "`width` must be at least 1"),
        ({"batch_size": 0}, "`batch_size` must be at least 1"),
        ({"learning_rate": 0.0}, "`learning_rate` must be above 0"),
        ({"learning_rate": float("inf")}, "`learning_rate` must be above 0 and at most 1e\\+30, not inf"),
        ({"learning_rate": float("nan")}, "`learning_rate` must be above 0 and at most 1e\\+30, not nan"),
        ({"max_seeds": -1}, "`max_seeds` must be at least 0, not -1"),
        ({"patch_size": 0}, "`patch_size` must be at least 1, not 0"),
        ({"validation_samples": 0}, "`validation_samples` must be at least 1, not 0"),
        ({"topology": "rnn"}, "`topology` must be one of cnn, transformer, not 'rnn'"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HostConfig(**settings)  # type: ignore[arg-type]


def test_a_topology_may_be_named_in_letters() -> None:
    assert HostConfig(topology="transformer").topology is Topology.TRANSFORMER  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_hosts_train_where_the_caller_wants_no_gradients(
    task: DigitsTask, mode: Callable[[], AbstractContextManager[None]]
) -> None:
    """Loops that collect experience run so. The hosts are those of any other loop, and can go on outside."""
    expected = play(make(task), [1, 2], epochs=4)
    population = make(task)
    with mode():
        seen = [population.reset([1, 2])]
        for epoch in range(3):
            seen.append(population.step(same_for_all(growing(epoch), 2)).observation)
    seen.append(population.step(same_for_all(growing(3), 2)).observation)
    for ours, others in zip(seen, expected, strict=True):
        assert_equal(ours, others)


def test_without_co_adaptation_a_host_learns_as_if_its_seeds_gave_constants(task: DigitsTask) -> None:
    """Blended in, the seeds change what the host computes; its gradients then go around them."""
    losses = {}
    for co_adapt in (True, False):
        config = HostConfig(max_epochs=EPOCHS, co_adapt=co_adapt)
        population = HostPopulation(task, config)
        population.reset([1], [{"r0c1": GrownSeed(BlueprintAction.CONV_LIGHT, AlphaAlgorithm.ADD, 0.5)}])
        losses[co_adapt] = population.step(same_for_all(waiting(), 1)).observation.signals.grad_norm_host
        gradients = []
        networks, life = population._present.networks, population._present.life
        for slots in (networks.groups(life, training=True), None):
            groups = slots or [_with_constants(each) for each in networks.groups(life, training=True)]
            logits = networks.forward(task.test.images[None, :16], groups)
            stem = list(networks.parts[0].tensors())
            gradients.append(torch.autograd.grad(logits.square().sum(), stem)[0])
        assert torch.allclose(gradients[0], gradients[1]) is not co_adapt
    assert losses[True] != losses[False]


def _with_constants(slot: SlotGroups) -> SlotGroups:
    groups = (each._replace(seeds=_Detached(each.seeds)) for each in slot.groups)  # type: ignore[arg-type]
    return slot._replace(groups=tuple(groups))


class _Detached:
    """A stack of seeds whose output is a constant."""

    def __init__(self, seeds: StackedModule) -> None:
        self.seeds = seeds

    def __call__(self, x: Tensor, hosts: Tensor | None = None) -> Tensor:
        return self.seeds(x, hosts).detach()


class Odd(NamedTuple):
    """A task with something wrong."""

    name: str
    num_classes: int
    train: Split
    validation: Split
    test: Split


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"labels": torch.zeros(4, dtype=torch.int32)},
            r"labels of the task's test part are torch.int32 of shape \(4,\)",
        ),
        ({"labels": torch.zeros(3, dtype=torch.int64)}, r"of shape \(3,\), expected torch.int64 of \(4,\)"),
        ({"labels": torch.full((4,), 10)}, "labels of the task's test part lie in 10 to 10, expected 0 to 9"),
        ({"images": torch.zeros(4, 1, 8, 9)}, r"images of the task's test part have shape \(4, 1, 8, 9\)"),
        ({"images": torch.zeros(0, 1, 8, 8)}, "with at least one sample"),
    ],
)
def test_a_task_that_is_none_is_refused(change: dict[str, Tensor], message: str) -> None:
    part = Split(torch.zeros(4, 1, 8, 8), torch.zeros(4, dtype=torch.int64))
    with pytest.raises(ValueError, match=message):
        HostPopulation(Odd("odd", 10, part, part, part._replace(**change)), HostConfig())
