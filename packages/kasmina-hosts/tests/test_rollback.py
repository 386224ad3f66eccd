"""A host that diverges goes back, alone, to its last sound state: when that is, and what it gets back."""

import pytest
import torch
from host_scripts import (
    EPOCHS,
    WIDE_OPEN,
    Script,
    SmallTask,
    advance,
    assert_equal,
    first_samples,
    germinate,
    growing,
    make,
    play,
    same_for_all,
    suspect,
    together,
    waiting,
)
from torch import Tensor

from kasmina_hosts import DigitsTask, GrownSeed, HostConfig, HostPopulation
from kasmina_hosts import population as population_module
from kasmina_hosts.epoch import EpochResult, train_epoch
from kasmina_hosts.evaluation import Score
from kasmina_hosts.governor import LossWatch, first_watch, watch
from leyline_types import (
    AlphaAlgorithm,
    BlueprintAction,
    FactoredAction,
    LifecycleOp,
    Observation,
    SeedStage,
)

SICK = 1
SEEDS = [1, 2, 3]
Parameters = dict[str, Tensor]


@pytest.fixture(scope="module")
def small(task: DigitsTask) -> SmallTask:
    return first_samples(task, 160, 100)


def scores(*losses: float) -> Score:
    loss = torch.tensor(losses)
    return Score(loss, torch.zeros_like(loss))


def watched(losses: list[float]) -> tuple[LossWatch, list[bool]]:
    """One host's watch over validation losses, the first of them before training; when it diverged."""
    state, diverged = first_watch(scores(losses[0])), []
    for loss in losses[1:]:
        state, now = watch(state, scores(1.0), scores(loss))
        diverged.append(bool(now))
    return state, diverged


def test_mean_and_variance_are_those_of_the_losses_so_far() -> None:
    losses = torch.tensor([2.3, 2.1, 1.4, 1.9, 0.7, 11.0])
    state, diverged = watched(losses.tolist())
    assert not any(diverged)
    assert state.epochs.item() == 6
    torch.testing.assert_close(state.mean[0], losses.mean())
    torch.testing.assert_close(state.squares[0] / state.epochs[0], losses.var(correction=0))


@pytest.mark.parametrize(
    ("past", "loss", "suspicious"),
    [
        ([1.0, 1.0], 12.0, False),  # not above a guess among e^12 classes
        ([1.0, 1.0], 12.1, True),
        ([5.0, 5.0], 14.9, False),  # not above three times the mean
        ([5.0, 5.0], 15.1, True),
        ([1.0, 5.0], 14.9, False),  # mean 3, deviation 2: not above 3 + 6 x 2
        ([1.0, 5.0], 15.1, True),
    ],
)
def test_each_mark_by_hand(past: list[float], loss: float, suspicious: bool) -> None:
    before, _ = watched(past)
    after, diverged = watched([*past, loss])
    assert not any(diverged)
    assert after.strikes.item() == suspicious
    assert after.epochs.item() == len(past) + (not suspicious)
    if suspicious:
        assert torch.equal(after.mean, before.mean)
        assert torch.equal(after.squares, before.squares)


def test_three_in_a_row_by_hand() -> None:
    assert watched([1.0, 50.0, 50.0, 50.0])[1] == [False, False, True]
    assert watched([1.0, 50.0, 50.0, 1.0, 50.0, 50.0])[1] == [False] * 5
    assert watched([1.0, 50.0, 50.0, 50.0, 50.0, 50.0, 50.0])[1] == [False, False, True] * 2
    assert watched([1.0, 50.0, 50.0])[0].strikes.item() == 2
    assert watched([1.0, 50.0, 50.0, 50.0])[0].strikes.item() == 0


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_what_is_not_a_number_diverges_at_once(bad: float) -> None:
    start = first_watch(scores(1.0, 2.0, 3.0))
    for train, validation in (
        (scores(1.0, bad, 1.0), scores(1.0, 2.0, 3.0)),
        (scores(1, 1, 1), scores(1, bad, 3)),
    ):
        state, diverged = watch(start, train, validation)
        assert diverged.tolist() == [False, True, False]
        assert torch.equal(state.mean, torch.tensor([1.0, 2.0, 3.0]))
        assert state.epochs.tolist() == [2, 1, 2]
        assert state.strikes.tolist() == [0, 0, 0]


def parameters(population: HostPopulation, host: int = SICK) -> Parameters:
    tensors = population._present.networks.named_tensors()
    return {name: tensor[host].detach().clone() for name, tensor in tensors}


def assert_same(found: Parameters, expected: Parameters, *, within: str = "") -> None:
    names = [name for name in expected if name.startswith(within)]
    assert names
    for name in names:
        assert torch.equal(found[name], expected[name]), name


def two_seeds(epoch: int) -> FactoredAction:
    """One in r0c1 from the start, one in r0c0 from epoch 3 on."""
    match epoch:
        case 0:
            return germinate("r0c1", BlueprintAction.NORM)
        case 1:
            return advance("r0c1")
        case 3:
            return germinate("r0c0", BlueprintAction.CONV_LIGHT)
        case _:
            return waiting()


def recorded(
    population: HostPopulation, script: Script
) -> tuple[list[Observation[Tensor]], list[Parameters]]:
    seen, states = [population.reset(SEEDS)], [parameters(population)]
    for epoch in range(EPOCHS):
        seen.append(population.step(same_for_all(script(epoch), len(SEEDS))).observation)
        states.append(parameters(population))
    return seen, states


def rolled_back(seen: list[Observation[Tensor]]) -> list[int]:
    """The epochs after which the sick host was; no other host ever is."""
    table = torch.stack([observation.signals.rolled_back for observation in seen[1:]])
    assert not table[:, [host for host in range(len(SEEDS)) if host != SICK]].any()
    return table[:, SICK].nonzero()[:, 0].tolist()


def test_back_to_before_the_first_of_three_suspicious_epochs(
    small: SmallTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = play(make(small), SEEDS, two_seeds)
    population = make(small)
    suspect(monkeypatch, population, SICK, {2, 3, 4})
    seen, states = recorded(population, two_seeds)
    assert rolled_back(seen) == [4]
    for prefix in ("parts.", "slots.1."):
        assert_same(states[5], states[2], within=prefix)
    assert not torch.equal(states[4]["parts.0.conv.weight"], states[2]["parts.0.conv.weight"])
    assert seen[5].slots.stage[SICK].tolist() == [SeedStage.PRUNED, SeedStage.TRAINING, SeedStage.DORMANT]
    assert seen[6].slots.stage[SICK, 0] == SeedStage.EMBARGOED
    assert torch.equal(seen[5].signals.val_loss[SICK], seen[2].signals.val_loss[SICK])
    for observation, expected in zip(seen, sound, strict=True):
        for host in (slice(0, 1), slice(2, 3)):
            assert_equal(observation, expected, host)
    assert not torch.equal(states[6]["parts.0.conv.weight"], states[5]["parts.0.conv.weight"])  # it trains on


@pytest.mark.parametrize("bad", [{2, 3}, {2, 3, 5, 6}, {0, 2, 4, 6}])
def test_fewer_than_three_in_a_row_change_nothing(
    small: SmallTask, monkeypatch: pytest.MonkeyPatch, bad: set[int]
) -> None:
    _, sound = recorded(make(small), two_seeds)
    population = make(small)
    suspect(monkeypatch, population, SICK, bad)
    seen, states = recorded(population, two_seeds)
    assert rolled_back(seen) == []
    for found, expected in zip(states, sound, strict=True):
        assert_same(found, expected)


def test_a_good_epoch_renews_what_is_gone_back_to(small: SmallTask, monkeypatch: pytest.MonkeyPatch) -> None:
    population = make(small)
    suspect(monkeypatch, population, SICK, {1, 2, 4, 5, 6})
    seen, states = recorded(population, two_seeds)
    assert rolled_back(seen) == [6]
    assert_same(states[7], states[4], within="parts.")


def test_a_seed_planted_since_gets_its_first_values_back(
    small: SmallTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a slot where another host has held the same blueprint for long."""
    light = germinate("r0c0", BlueprintAction.CONV_LIGHT)
    others = {0: light}
    own_actions = {2: light, 3: advance("r0c0"), 4: germinate("r0c2", BlueprintAction.NORM)}
    population = make(small)
    suspect(monkeypatch, population, SICK, {2, 3, 4})
    seen, states = [population.reset(SEEDS)], [parameters(population)]
    for epoch in range(5):
        actions = [others.get(epoch, waiting())] * len(SEEDS)
        actions[SICK] = own_actions.get(epoch, waiting())
        seen.append(population.step(together(actions)).observation)
        states.append(parameters(population))
    assert rolled_back(seen) == [4]
    assert seen[5].slots.stage[SICK].tolist() == [SeedStage.TRAINING, SeedStage.DORMANT, SeedStage.PRUNED]
    planted, trained = states[3], states[4]
    own = "slots.0.conv_light."
    assert not torch.equal(planted[f"{own}conv.weight"], trained[f"{own}conv.weight"])
    assert_same(states[5], planted, within=own)
    assert_same(states[5], states[2], within="parts.")


def test_a_host_that_is_not_a_number_is_rolled_back_alone(
    small: SmallTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = play(make(small), SEEDS, epochs=3)
    population, before = make(small), [Parameters()]

    def poisoned(*args: object, **options: object) -> EpochResult:
        result = train_epoch(*args, **options)  # type: ignore[arg-type]
        if population.epoch == 2:
            with torch.no_grad():
                for _, tensor in population._present.networks.named_tensors():
                    tensor[SICK] = torch.nan if tensor.is_floating_point() else 1000
        else:
            before[0] = parameters(population)
        return result

    monkeypatch.setattr(population_module, "train_epoch", poisoned)
    seen = play(population, SEEDS, epochs=3)
    last = seen[-1]
    assert last.signals.rolled_back.tolist() == [False, True, False]
    forgotten = "optimizer.slots.1."
    kept = Parameters({name: each for name, each in before[0].items() if not name.startswith(forgotten)})
    assert_same(parameters(population), kept)
    assert not any(each.any() for name, each in parameters(population).items() if name.startswith(forgotten))
    assert last.slots.stage[SICK, 1] == SeedStage.PRUNED
    assert sound[-1].slots.stage[SICK, 1] != SeedStage.PRUNED
    assert last.signals.val_loss[SICK] == seen[-2].signals.val_loss[SICK]
    for hosts in (slice(0, 1), slice(2, 3)):
        assert_equal(last, sound[-1], hosts)
    monkeypatch.undo()
    after = population.step(same_for_all(waiting(), 3)).observation
    assert after.signals.val_loss.isfinite().all()
    assert not after.signals.rolled_back.any()


def test_a_fossilized_seed_stays(small: SmallTask, monkeypatch: pytest.MonkeyPatch) -> None:
    population = make(small)
    population.reset([1], [{"r0c0": GrownSeed(BlueprintAction.NORM, AlphaAlgorithm.ADD, 1.0)}])
    kept = parameters(population, 0)

    def poisoned(*args: object, **options: object) -> EpochResult:
        result = train_epoch(*args, **options)  # type: ignore[arg-type]
        loss = torch.full_like(result.score.loss, torch.inf)
        return result._replace(score=result.score._replace(loss=loss))

    monkeypatch.setattr(population_module, "train_epoch", poisoned)
    outcome = population.step(same_for_all(germinate("r0c1", BlueprintAction.CONV_SMALL), 1))
    assert outcome.rolled_back.all()
    assert outcome.observation.slots.stage[0].tolist() == [
        SeedStage.FOSSILIZED,
        SeedStage.PRUNED,
        SeedStage.DORMANT,
    ]
    assert_same(parameters(population, 0), kept, within="parts.")
    outcome = population.step(same_for_all(waiting(), 1))
    assert outcome.rolled_back.all()
    assert outcome.observation.slots.stage[0, 0] == SeedStage.FOSSILIZED
    for prefix in ("parts.", "slots.0."):
        assert_same(parameters(population, 0), kept, within=prefix)


def test_a_blended_seed_is_lost_with_its_alpha(small: SmallTask, monkeypatch: pytest.MonkeyPatch) -> None:
    def script(epoch: int) -> FactoredAction:
        return growing(epoch) if epoch < 3 else waiting()

    sound = play(make(small, gates=WIDE_OPEN), SEEDS, script, epochs=6)
    population = make(small, gates=WIDE_OPEN)
    suspect(monkeypatch, population, SICK, {2, 3, 4})
    seen = play(population, SEEDS, script, epochs=6)
    assert rolled_back(seen) == [4]
    before, after = seen[4].slots, seen[5].slots
    assert before.alpha[SICK, 1] > 0
    assert after.stage[SICK, 1] == SeedStage.PRUNED
    assert (float(after.alpha[SICK, 1]), float(after.alpha_target[SICK, 1])) == (0.0, 0.0)
    torch.testing.assert_close(after.alpha_velocity[SICK, 1], -before.alpha[SICK, 1])
    assert after.contribution[SICK].isnan().all()
    assert after.param_count[SICK].sum() == 0
    for hosts in (slice(0, 1), slice(2, 3)):
        assert_equal(seen[5], sound[5], hosts)
        assert_equal(seen[6], sound[6], hosts)


def test_hosts_that_really_diverge_stay_finite(task: DigitsTask) -> None:
    population = HostPopulation(task, HostConfig(max_epochs=EPOCHS, learning_rate=1e30))
    seen = play(population, SEEDS, epochs=3)
    assert seen[1].signals.rolled_back.all()
    assert (seen[1].slots.stage[:, 1] == SeedStage.PRUNED).all()
    assert (seen[2].slots.stage[:, 1] == SeedStage.EMBARGOED).all()
    assert seen[1].signals.grad_norm_host.isnan().all()
    assert torch.equal(seen[1].signals.train_loss, seen[0].signals.train_loss)
    for observation in seen:
        for name in ("train_loss", "val_loss", "train_accuracy", "val_accuracy"):
            assert getattr(observation.signals, name).isfinite().all(), name
        assert not observation.signals.grad_norm_host.isinf().any()
    for report in population.reports():
        assert report["r0c1"] is not None


def test_a_seed_pruned_while_its_host_diverges_leaves_nothing_behind(
    small: SmallTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The snapshot is of the time when it lived."""
    population = make(small, gates=WIDE_OPEN)
    population.reset(SEEDS)
    suspect(monkeypatch, population, SICK, {2, 3, 4})
    prune = FactoredAction(LifecycleOp.PRUNE, "r0c1")
    for action in (germinate("r0c1", BlueprintAction.NORM), advance("r0c1"), waiting(), prune, waiting()):
        outcome = population.step(same_for_all(action, 3))
    assert outcome.rolled_back.tolist() == [False, True, False]
    kept = [each for name, each in parameters(population).items() if name.startswith("optimizer.slots.1.")]
    assert kept
    assert not any(each.any() for each in kept)
