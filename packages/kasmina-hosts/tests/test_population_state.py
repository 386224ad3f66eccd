"""The state of a population in the middle of growth: saved, loaded, gone on with, and refused."""

import io
import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from host_scripts import WIDE_OPEN, SmallTask, advance, first_samples, germinate, suspect, together, waiting
from torch import Tensor

from kasmina_hosts import DigitsTask, Gates, HostConfig, HostPopulation, OptimizerKind, StateError
from leyline_types import (
    AlphaMode,
    AlphaSpeedAction,
    BlueprintAction,
    FactoredAction,
    GerminationStyle,
    LegalityRules,
    LifecycleOp,
    SeedStage,
    TempoAction,
)

State = Mapping[str, Tensor]
CONFIG = HostConfig(max_epochs=9)
SEEDS = [11, 12, 13, 14]
SAVED_AT = 6
STRUCK = 2
BAD_BEFORE, BAD_AFTER = {4, 5}, {6}


def script(host: int, epoch: int) -> FactoredAction:
    """At epoch 6 host 0 blends by a gate, host 1's seed falls, host 2's trains, host 3's slot cools down."""
    slow = FactoredAction(
        LifecycleOp.GERMINATE,
        "r0c1",
        blueprint=BlueprintAction.CONV_HEAVY,
        style=GerminationStyle.GATED_GATE,
        tempo=TempoAction.SLOW,
    )
    scripts: dict[int, dict[int, FactoredAction]] = {
        0: {0: slow, 1: advance("r0c1"), 2: advance("r0c1"), 7: germinate("r0c0", BlueprintAction.NORM)},
        1: {
            0: germinate("r0c0", BlueprintAction.NORM),
            1: advance("r0c0"),
            2: advance("r0c0"),
            5: FactoredAction(LifecycleOp.PRUNE, "r0c0", alpha_speed=AlphaSpeedAction.FAST),
        },
        2: {3: germinate("r0c0", BlueprintAction.CONV_LIGHT), 4: advance("r0c0")},
        3: {
            1: germinate("r0c1", BlueprintAction.DEPTHWISE),
            4: FactoredAction(LifecycleOp.PRUNE, "r0c1"),
            8: germinate("r0c1", BlueprintAction.DEPTHWISE),
        },
    }
    return scripts[host].get(epoch, waiting())


def go_on(population: HostPopulation, epochs: range) -> list[State]:
    """The states after each epoch."""
    states: list[State] = []
    for epoch in epochs:
        outcome = population.step(together(script(host, epoch) for host in range(len(SEEDS))))
        states.append({**population.state_dict(), **columns_of(population)})
        assert outcome.took_effect.all()
    return states


def columns_of(population: HostPopulation) -> State:
    signals, slots, _ = population.observe()
    return {f"observed.{name}": column for name, column in (signals._asdict() | slots._asdict()).items()}


def assert_same(found: State, expected: State) -> None:
    """Bit for bit; the order of names is free."""
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=0, equal_nan=True, msg=name)


@pytest.fixture(scope="module")
def small(task: DigitsTask) -> SmallTask:
    return first_samples(task, 100, 60)


def fresh(small: SmallTask) -> HostPopulation:
    return HostPopulation(small, CONFIG, gates=WIDE_OPEN)


@pytest.fixture(scope="module")
def run(small: SmallTask) -> tuple[State, list[State]]:
    """The state after six epochs, and those of the remaining three without any interruption."""
    population = fresh(small)
    population.reset(SEEDS)
    with pytest.MonkeyPatch.context() as monkeypatch:
        suspect(monkeypatch, population, STRUCK, BAD_BEFORE | BAD_AFTER)
        go_on(population, range(SAVED_AT))
        saved = population.state_dict()
        rest = go_on(population, range(SAVED_AT, CONFIG.max_epochs))
    return saved, rest


def test_the_saved_state_is_in_the_middle_of_everything(run: tuple[State, list[State]]) -> None:
    saved, rest = run
    stage, mode = saved["life.stage"], saved["life.alpha_mode"]
    assert (int(stage[0, 1]), int(mode[0, 1])) == (SeedStage.BLENDING, AlphaMode.UP)
    assert (int(stage[1, 0]), int(mode[1, 0])) == (SeedStage.BLENDING, AlphaMode.DOWN)
    assert stage[2, 0] == SeedStage.TRAINING
    assert stage[3, 1] == SeedStage.EMBARGOED
    assert saved["watch.strikes"].tolist() == [0, 0, 2, 0]
    gone_back_to = saved["snapshot.parts.0.conv.weight"], saved["networks.parts.0.conv.weight"]
    assert [torch.equal(a, b) for a, b in zip(*gone_back_to, strict=True)] == [True, True, False, True]
    assert rest[0]["observed.rolled_back"].tolist() == [False, False, True, False]
    assert rest[1]["life.stage"][3, 1] == SeedStage.DORMANT
    assert rest[2]["planted"][3].tolist() == [0, 2, 0]


@pytest.mark.parametrize("order", [list, sorted, reversed])
def test_another_population_goes_on_bit_for_bit(
    small: SmallTask,
    run: tuple[State, list[State]],
    order: Callable[[object], list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever the order of names in the file: some formats sort them."""
    saved, rest = run
    file = io.BytesIO()
    torch.save({name: saved[name] for name in order(list(saved))}, file)
    file.seek(0)
    population = fresh(small)
    population.load_state_dict(torch.load(file, weights_only=True))
    assert population.epoch == SAVED_AT
    assert_same(population.state_dict(), saved)
    suspect(monkeypatch, population, STRUCK, BAD_AFTER)
    for found, expected in zip(go_on(population, range(SAVED_AT, CONFIG.max_epochs)), rest, strict=True):
        assert_same(found, expected)


def test_a_population_in_the_middle_of_other_hosts_goes_on_too(
    small: SmallTask, run: tuple[State, list[State]]
) -> None:
    population = fresh(small)
    population.reset([1, 2])
    population.step(together([germinate("r0c2", BlueprintAction.NORM)] * 2))
    population.load_state_dict(run[0])
    assert_same(population.state_dict(), run[0])
    assert population.num_envs == len(SEEDS)


def test_the_state_shares_no_memory_with_the_population(
    small: SmallTask, run: tuple[State, list[State]]
) -> None:
    population = fresh(small)
    loaded = {name: tensor.clone() for name, tensor in run[0].items()}
    population.load_state_dict(loaded)
    saved = population.state_dict()
    for state in (loaded, saved):
        for tensor in state.values():
            tensor.zero_()
    assert_same(population.state_dict(), run[0])
    saved = population.state_dict()
    population.step(together([waiting()] * len(SEEDS)))
    assert_same(saved, run[0])


def without(name: str) -> Callable[[State], State]:
    return lambda state: {key: tensor for key, tensor in state.items() if key != name}


def with_(name: str, change: Callable[[Tensor], Tensor]) -> Callable[[State], State]:
    return lambda state: {**state, name: change(state[name])}


def and_(name: str, tensor: Tensor) -> Callable[[State], State]:
    return lambda state: {**state, name: tensor}


def settings_of(text: str) -> Tensor:
    return torch.tensor(list(text.encode()), dtype=torch.uint8)


def quantised(tensor: Tensor) -> Tensor:
    return torch.quantize_per_tensor(tensor.float(), 0.1, 10, torch.qint8)


NO_DENSE_TENSORS: list[tuple[Callable[[Tensor], Any], str]] = [
    (lambda tensor: None, "is of type NoneType, expected a tensor"),
    (lambda tensor: tensor.tolist(), "is of type list, expected a tensor"),
    (lambda tensor: {"data": tensor}, "is of type dict, expected a tensor"),
    (Tensor.to_sparse, "is a tensor that is sparse, expected a dense one"),
    (lambda tensor: tensor.to("meta"), "is a tensor that is without values, expected a dense one"),
    (lambda tensor: tensor.to(torch.complex64), "is a tensor that is complex, expected a dense one"),
    (quantised, "is a tensor that is quantised, expected a dense one"),
    (
        lambda tensor: torch.nested.nested_tensor([tensor], layout=torch.jagged),
        "is a tensor that is nested, expected a dense one",
    ),
]
ONE = torch.ones(len(SEEDS))
DAMAGED: list[tuple[Callable[[State], State], str]] = [
    *(
        (without(name), f"the state has no '{name}'")
        for name in (
            "settings",
            "networks.parts.0.conv.weight",
            "networks.slots.1.conv_heavy.first.weight",
            "snapshot.parts.3.linear.bias",
            "snapshot.slots.1.gate.linear.weight",
            "life.stage",
            "hosts.best.loss",
            "seeds.contribution",
            "diagnostics.activation_rank",
            "networks.optimizer.parts.0.conv.weight.steps",
            "snapshot.optimizer.slots.1.conv_heavy.first.weight.second",
            "prices",
            "last.op",
            "watch.squares",
            "planted",
            "orders",
            "epoch",
        )
    ),
    (without("host_seeds"), "'host_seeds' of the state is of type NoneType, expected a tensor"),
    (with_("host_seeds", lambda seeds: seeds[0]), "'host_seeds'"),
    (with_("host_seeds", lambda seeds: seeds[:0]), "'host_seeds'"),
    (with_("host_seeds", lambda seeds: seeds.double()), "'host_seeds'"),
    (with_("host_seeds", lambda seeds: -seeds), "'host_seeds'"),
    (with_("host_seeds", lambda seeds: seeds[:2]), r"of shape \(4, .*expected .* of \(2, "),
    (with_("orders", torch.zeros_like), "'orders'"),
    (
        with_("life.alpha", lambda column: column[:, :2]),
        r"'life.alpha' .*shape \(4, 2\), expected .*\(4, 3\)",
    ),
    (
        with_("life.alpha", Tensor.double),
        "'life.alpha' of the state is torch.float64 .*expected torch.float32",
    ),
    (
        with_("networks.slots.0.norm.gain", lambda gain: gain[:, None]),
        r"'networks.slots.0.norm.gain' of the state .*\(4, 1\), expected .* of \(4,\)",
    ),
    (with_("epoch", lambda epoch: epoch - 1000), "'epoch' of the state is -99"),
    (
        with_("life.stage", lambda stage: stage.masked_fill(stage == 4, 99)),
        "'life.stage' of the state holds 99",
    ),
    (with_("life.stage", lambda stage: stage * 0), "'life.stage' of the state holds 0"),
    (with_("life.blueprint", lambda column: column + 55), "'life.blueprint' of the state holds"),
    (
        with_("life.blueprint", lambda column: column * 0),
        r"'life.blueprint' of the state holds 0 at \[0, 1\], expected one, as the slot is occupied",
    ),
    (
        with_("life.alpha", lambda column: column + 2),
        r"'life.alpha' of the state holds 2.0 at \[0, 0\], expected 0 to 1",
    ),
    (with_("life.curve", lambda column: column - 7), "'life.curve' of the state holds -"),
    (
        with_("life.previous_stage", lambda column: column * 0 + 100),
        "'life.previous_stage' of the state holds 100 at",
    ),
    (
        with_("life.previous_stage", lambda column: column * 0 + 7),
        "holds 7 at .*, expected the default of an empty",
    ),
    (with_("life.tempo_epochs", lambda column: column + 1), "'life.tempo_epochs' of the state holds"),
    (
        with_("life.age", lambda column: column * 10),
        r"'life.age' of the state holds \d\d at .*, expected 0 to 6",
    ),
    (with_("life.steps_done", lambda column: column + 1), "'life.steps_done' of the state holds"),
    (with_("life.alpha_velocity", lambda column: column / 0), "'life.alpha_velocity' of the state holds nan"),
    (with_("life.stage", lambda column: column.where(column != 3, 9)), "'life.previous_stage' .* may follow"),
    (with_("life.alpha_mode", lambda column: column * 0 + 1), "'life.alpha_mode' of the state holds 1"),
    (
        with_("hosts.best.loss", lambda column: column * torch.nan),
        r"'hosts.best.loss' of the state holds nan at \[0\]",
    ),
    (with_("hosts.train.accuracy", lambda column: column + 100), "'hosts.train.accuracy' of the state holds"),
    (with_("hosts.plateau_epochs", lambda column: column - 9), "'hosts.plateau_epochs' of the state holds -"),
    (
        with_("hosts.loss_history", lambda column: column * torch.inf),
        "'hosts.loss_history' of the state holds inf",
    ),
    (with_("hosts.grad_norm_host", lambda column: -column), "'hosts.grad_norm_host' of the state holds -"),
    (
        with_("seeds.stage_accuracy", lambda column: column * torch.nan),
        "'seeds.stage_accuracy' .* as the seed was",
    ),
    (with_("seeds.contribution", lambda column: column + 500), "'seeds.contribution' of the state holds"),
    (
        with_("diagnostics.within_map_variance", lambda column: column + 1),
        "'diagnostics.within_map_variance' of the state holds 1.9",
    ),
    (
        with_("prices", lambda prices: prices - 1),
        r"'prices' of the state holds -0.69.* at \[0\], expected 0 to 3",
    ),
    (with_("prices", lambda prices: prices * torch.nan), "'prices' of the state holds nan"),
    (
        with_("networks.optimizer.parts.0.conv.weight.steps", lambda steps: steps + 1000),
        r"'networks.optimizer.parts.0.conv.weight.steps' of the state holds 10\d\d at \[0\], expected 0 to",
    ),
    (
        with_("snapshot.optimizer.parts.3.linear.bias.steps", lambda steps: steps - 1000),
        "'snapshot.optimizer.parts.3.linear.bias.steps' of the state holds -",
    ),
    (
        with_("networks.optimizer.parts.1.conv.bias.second", lambda second: -1 - second),
        r"'networks.optimizer.parts.1.conv.bias.second' of the state holds -1.* at \[0, 0\], expected at least 0",
    ),
    (
        with_("networks.optimizer.parts.1.conv.bias.first", lambda first: first / 0),
        "'networks.optimizer.parts.1.conv.bias.first' of the state holds NaN or infinity for host 0",
    ),
    (with_("last.op", lambda column: column + 6), "'last.op' of the state holds"),
    (with_("last.took_effect", lambda column: column * 0 - 1), "'last.took_effect' of the state holds -1"),
    (
        with_("watch.epochs", lambda column: column * 0),
        r"'watch.epochs' of the state holds 0 at \[0\], expected 1 to 7",
    ),
    (with_("watch.mean", lambda column: column * torch.nan), "'watch.mean' of the state holds nan"),
    (
        with_("watch.strikes", lambda column: column + 5),
        "'watch.strikes' of the state holds 5 .*, expected 0 to 2",
    ),
    (with_("planted", lambda column: column - 3), "'planted' of the state holds -"),
    (
        with_("networks.parts.0.conv.bias", lambda bias: bias / 0),
        "'networks.parts.0.conv.bias' .* NaN or infinity",
    ),
    (
        with_("snapshot.parts.3.linear.weight", lambda bias: bias * torch.inf),
        "'snapshot.parts.3.linear.weight'",
    ),
    (with_("networks.slots.1.gate.linear.bias", lambda bias: bias * torch.nan), "NaN or infinity for host 0"),
    (
        with_("snapshot.slots.1.conv_heavy.first.weight", lambda bias: bias * torch.nan),
        "NaN or infinity for host 0",
    ),
    *(
        (with_(name, change), f"'{name}' of the state {message}")
        for name in ("life.stage", "host_seeds", "orders", "settings", "networks.parts.0.conv.weight")
        for change, message in NO_DENSE_TENSORS
    ),
    (and_("feathers", ONE), "holds what this population does not: feathers"),
    (
        and_("snapshot.slots.2.conv_small.conv.weight", ONE),
        "does not: snapshot.slots.2.conv_small.conv.weight",
    ),
    (and_("networks.slots.-1.norm.gain", ONE), "norm.gain'$"),
    *(
        (and_(name, ONE), f"'{name}' of the state is no seed's that this population could hold")
        for name in (
            "networks.slots.0.wings.weight",
            "networks.slots.0.lora.down.weight",
            "networks.slots.0.noop.weight",
            "networks.slots.7.norm.gain",
            "networks.slots.x.norm.gain",
            "networks.slots.0",
        )
    ),
    (and_("settings", settings_of("{damaged")), "'settings' of the state cannot be read"),
    (and_("settings", settings_of("[1, 2]")), "'settings' of the state cannot be read: no table"),
    (
        and_("settings", torch.tensor([0xFF, 0xFE], dtype=torch.uint8)),
        "'settings' of the state cannot be read",
    ),
    (and_("settings", torch.tensor([0.5])), "'settings' of the state cannot be read"),
    (and_("settings", torch.tensor([300])), "'settings' of the state cannot be read"),
    (and_("settings", settings_of("{}")), "learning_rate: None in the state, 0.01 here"),
]


@pytest.fixture(scope="module")
def refusing(small: SmallTask) -> HostPopulation:
    population = fresh(small)
    population.reset([1, 2])
    population.step(together([germinate("r0c2", BlueprintAction.NORM)] * 2))
    return population


@pytest.mark.filterwarnings(
    "ignore:torch.quantize_per_tensor:UserWarning"
)  # is on its way out, and still there
@pytest.mark.parametrize(("damage", "message"), DAMAGED, ids=itertools.count())
def test_a_damaged_state_is_refused_and_changes_nothing(
    refusing: HostPopulation,
    run: tuple[State, list[State]],
    damage: Callable[[State], State],
    message: str,
) -> None:
    before = refusing.state_dict()
    with pytest.raises(StateError, match=message):
        refusing.load_state_dict(damage(run[0]))
    assert_same(refusing.state_dict(), before)


def test_a_refused_state_leaves_a_population_without_hosts_without_hosts(
    small: SmallTask, run: tuple[State, list[State]]
) -> None:
    population = fresh(small)
    with pytest.raises(StateError):
        population.load_state_dict(without("epoch")(run[0]))
    with pytest.raises(RuntimeError, match="no hosts yet"):
        population.observe()


def test_a_state_of_other_arguments_is_refused_by_name(
    small: SmallTask, task: DigitsTask, run: tuple[State, list[State]]
) -> None:
    noisy = small._replace(train=small.train._replace(labels=small.train.labels.flip(0)))
    others = {
        "learning_rate: 0.01 in the state, 0.1 here$": HostPopulation(
            small, HostConfig(max_epochs=9, learning_rate=0.1), gates=WIDE_OPEN
        ),
        "width: 4 in the state, 6 here$": HostPopulation(
            small, HostConfig(max_epochs=9, width=6), gates=WIDE_OPEN
        ),
        "embargo_epochs: 1 in the state, 2 here; .*min_improvement": HostPopulation(
            small, CONFIG, gates=Gates(embargo_epochs=2)
        ),
        "min_prune_age: 1 in the state, 3 here$": HostPopulation(
            small, CONFIG, gates=WIDE_OPEN, rules=LegalityRules(min_prune_age=3)
        ),
        "dtype: torch.float32 in the state, torch.float64 here$": HostPopulation(
            small, CONFIG, gates=WIDE_OPEN, dtype=torch.float64
        ),
        "population's: train data: [0-9a-f]{16} in the state, [0-9a-f]{16} here$": HostPopulation(
            noisy, CONFIG, gates=WIDE_OPEN
        ),
        "task: first digits in the state, digits here": HostPopulation(task, CONFIG, gates=WIDE_OPEN),
    }
    for message, other in others.items():
        other.reset([5])
        before = other.state_dict()
        with pytest.raises(StateError, match=message):
            other.load_state_dict(run[0])
        assert_same(other.state_dict(), before)


def test_settings_are_readable(run: tuple[State, list[State]]) -> None:
    settings = json.loads(bytes(run[0]["settings"].tolist()))
    assert settings["task"] == "first digits"
    assert (settings["topology"], settings["learning_rate"], settings["enabled_slots"]) == (
        "cnn",
        "0.01",
        "None",
    )


def test_hosts_that_learn_by_sgd_go_on_bit_for_bit(small: SmallTask) -> None:
    """A seed's velocity and the host's, in the middle of growth; there is no second moment."""

    def population() -> HostPopulation:
        return HostPopulation(small, replace(CONFIG, optimizer=OptimizerKind.SGD), gates=WIDE_OPEN)

    first = population()
    first.reset([1, 2])
    for action in (germinate("r0c1", BlueprintAction.NORM), advance("r0c1"), waiting()):
        first.step(together([action] * 2))
    saved = first.state_dict()
    assert saved["networks.optimizer.slots.1.norm.gain.first"].any()
    assert not any(name.endswith(".second") for name in saved)
    second = population()
    second.load_state_dict(saved)
    for each in (first, second):
        each.step(together([advance("r0c1")] * 2))
    assert_same(second.state_dict(), first.state_dict())


def test_a_mean_of_squares_may_have_overflowed(small: SmallTask, run: tuple[State, list[State]]) -> None:
    """The parameter that it is of is finite, and stands still from then on."""
    name = "networks.optimizer.parts.0.conv.weight.second"
    state = {**run[0], name: torch.full_like(run[0][name], torch.inf)}
    population = fresh(small)
    population.load_state_dict(state)
    assert_same(population.state_dict(), state)
