"""Whatever a saved state says, it is refused and nothing has changed, or growth goes on from it as from any other."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import torch
from host_scripts import WIDE_OPEN, SmallTask, first_samples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from networks_to_grow import NETWORKS, Loop, eventful, loop
from torch import Tensor

from kasmina_hosts import DigitsTask, GrownSeed, HostConfig, HostPopulation, StateError
from leyline_types import (
    AlphaAlgorithm,
    BlueprintAction,
    FactoredActions,
    LifecycleOp,
    find_not_finite,
    head_sizes,
)

HOSTS, EPOCHS = 4, 16
CONFIG = HostConfig(max_epochs=EPOCHS, batch_size=16)
WHOLE = [-(2**63), -1, 0, 1, 2, 3, 4, 5, 7, 8, 9, 11, 100, 2**31, 2**63 - 1]
REAL = [torch.nan, torch.inf, -torch.inf, -1.0, -1e-9, 0.0, 0.3, 1.0, 1.0001, 99.0, 101.0, 1e30, -3e38]
WEIGHTS = [torch.nan, torch.inf, -torch.inf, 0.0, 0.5]
"""Weights that are finite are any; a host of 1e30 diverges, which is another test's."""
OTHERS: list[Callable[[Tensor], Any]] = [
    lambda tensor: None,
    lambda tensor: "text",
    lambda tensor: tensor.tolist(),
    lambda tensor: {"columns": tensor},
    lambda tensor: float(tensor.sum()),
    lambda tensor: tensor.to("meta"),
    lambda tensor: tensor.to_sparse(),
    lambda tensor: tensor.to(torch.complex64),
    lambda tensor: tensor.to(torch.float16),
    lambda tensor: tensor.to(torch.int32),
    lambda tensor: tensor[None],
    lambda tensor: tensor.repeat(*[2] * max(tensor.dim(), 1)),
    lambda tensor: tensor.reshape(-1)[:0],
]
quick = settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow], derandomize=True)


@cache
def small() -> SmallTask:
    return first_samples(DigitsTask(), 24, 12)


def fresh() -> HostPopulation:
    return HostPopulation(small(), CONFIG, gates=WIDE_OPEN)


def some_actions(population: HostPopulation, generator: torch.Generator) -> FactoredActions[Tensor]:
    """Any, most of which move seeds on or prune them so that all stages are reached."""
    hosts = population.num_envs
    drawn = [
        torch.randint(size, (hosts,), generator=generator) for size in head_sizes(population.slot_config)
    ]
    actions = FactoredActions(*drawn)
    slots = population.observe().slots
    occupied = slots.occupied.gather(1, actions.slot[:, None])[:, 0]
    onward = torch.where(occupied, int(LifecycleOp.ADVANCE), int(LifecycleOp.GERMINATE))
    chance = torch.rand(hosts, generator=generator)
    onward = torch.where(chance < 0.15, int(LifecycleOp.PRUNE), onward)
    return actions._replace(op=torch.where(chance < 0.8, onward, actions.op))


@cache
def saved_states() -> list[dict[str, Tensor]]:
    """Of every epoch of an episode, in which hosts begin with grown seeds and others bare."""
    population, generator = fresh(), torch.Generator().manual_seed(0)
    grown = {"r0c2": GrownSeed(BlueprintAction.NORM, AlphaAlgorithm.GATE, 0.7)}
    population.reset(range(HOSTS), [grown if host % 2 else {} for host in range(HOSTS)])
    states = [population.state_dict()]
    for _ in range(EPOCHS):
        population.step(some_actions(population, generator))
        states.append(population.state_dict())
    return states


@cache
def loaded_into() -> HostPopulation:
    population = fresh()
    population.reset([1, 2])
    return population


def altered(draw: st.DrawFn, name: str, tensor: Tensor) -> Any:
    """Another value under a name: other numbers in a place, or something else altogether."""
    before = (torch.int32, torch.float16, torch.complex64)
    if tensor.layout is not torch.strided or tensor.is_meta or tensor.dtype in before:
        return None
    if draw(st.integers(0, 3)) == 0 or tensor.numel() == 0:
        return draw(st.sampled_from(OTHERS))(tensor)
    changed = tensor.clone()
    numbers = WEIGHTS if name.startswith(("networks.", "snapshot.")) else REAL
    place = draw(st.integers(0, tensor.numel() - 1))
    if tensor.dtype is torch.uint8 or tensor.dtype is torch.bool:
        changed.view(-1)[place] = draw(st.integers(0, 255)) if tensor.dtype is torch.uint8 else True
    else:
        value = draw(st.sampled_from(numbers if tensor.is_floating_point() else WHOLE))
        everywhere = draw(st.booleans())
        changed.view(-1)[slice(None) if everywhere else place] = value
    return changed


@st.composite
def damaged_states(draw: st.DrawFn) -> dict[str, Any]:
    state: dict[str, Any] = dict(draw(st.sampled_from(saved_states())))
    for _ in range(draw(st.integers(1, 2))):
        columns = [name for name in state if not name.startswith(("networks.", "snapshot."))]
        name = draw(st.sampled_from(draw(st.sampled_from([columns, columns, columns, list(state)]))))
        if draw(st.integers(0, 9)) == 0:
            value = state.pop(name)
            if draw(st.booleans()):
                state[draw(st.sampled_from(["feathers", "networks.slots.0", *state]))] = value
        elif isinstance(state[name], Tensor):
            state[name] = altered(draw, name, state[name])
    return state


def same(one: Mapping[str, Tensor], two: Mapping[str, Tensor]) -> bool:
    return one.keys() == two.keys() and all(
        torch.equal(tensor.nan_to_num(7.0), two[name].nan_to_num(7.0))
        if tensor.is_floating_point()
        else torch.equal(tensor, two[name])
        for name, tensor in one.items()
    )


def test_every_state_of_an_episode_is_accepted() -> None:
    stages = {int(stage) for state in saved_states() for stage in state["life.stage"].flatten()}
    assert stages == {1, 2, 3, 4, 6, 7, 8, 9, 10}
    population = fresh()
    for state in saved_states():
        population.load_state_dict(state)
        assert same(population.state_dict(), state)


@quick
@given(damaged_states(), st.integers(0, 99))
def test_a_population_refuses_a_damaged_state_or_goes_on(state: dict[str, Any], seed: int) -> None:
    population = loaded_into()
    before = population.state_dict()
    try:
        population.load_state_dict(state)
    except StateError as error:
        assert "\n" not in str(error)  # noqa: PT017  (a state that is still one is as good)
        assert same(population.state_dict(), before)
        return
    generator = torch.Generator().manual_seed(seed)
    for _ in range(min(3, EPOCHS - population.epoch)):
        population.step(some_actions(population, generator))
        assert not list(find_not_finite(population.observe(), population.slot_config))
        assert len(population.reports()) == len(population.signals()) == population.num_envs
    fresh().load_state_dict(population.state_dict())


@cache
def grown_run() -> tuple[Loop, list[dict[str, Any]]]:
    """A network that grows, and what its grower saved after each epoch."""
    actions = eventful(NETWORKS["plain cnn"][2])
    run = loop(DigitsTask(), "plain cnn", actions, validate=True, diagnose=True)
    states = [run.grower.state_dict()]
    for _ in range(16):
        run.epoch()
        states.append(run.grower.state_dict())
    return run, states


PLAIN: list[Any] = [
    None,
    True,
    -1,
    0,
    3,
    2**70,
    0.5,
    "text",
    [],
    [1],
    [["r0c0", "seed"]],
    {},
    {1: 2},
    torch.ones(1),
]


@st.composite
def damaged_growths(draw: st.DrawFn) -> dict[str, Any]:
    state: dict[str, Any] = dict(draw(st.sampled_from(grown_run()[1])))
    for _ in range(draw(st.integers(1, 2))):
        inside = draw(st.sampled_from(["columns", "columns", "columns", "arguments", ""]))
        if inside and isinstance(state.get(inside), dict) and state[inside]:
            part = state[inside] = dict(state[inside])
        else:
            part = state
        name = draw(st.sampled_from(sorted(part, key=str)))
        kind = draw(st.integers(0, 9))
        if kind == 0:
            value = part.pop(name)
            if draw(st.booleans()):
                part[draw(st.sampled_from(["feathers", 7, *part]))] = value
        elif kind < 8 and isinstance(part[name], Tensor):
            part[name] = altered(draw, name, part[name])
        elif type(part[name]) is int and kind < 6:
            part[name] = draw(st.sampled_from([*WHOLE, 20, 21]))
        else:
            part[name] = draw(st.sampled_from(PLAIN))
    return state


def equal_states(one: Any, two: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(equal_states(one[name], two[name]) for name in one)
    return same({"": one}, {"": two}) if isinstance(one, Tensor) else bool(one == two)


@quick
@given(damaged_growths())
def test_a_grower_refuses_a_damaged_state_or_goes_on(state: dict[str, Any]) -> None:
    run, _ = grown_run()
    before, parameters = run.grower.state_dict(), list(run.model.parameters())
    try:
        run.grower.load_state_dict(state)
    except StateError as error:
        assert "\n" not in str(error)  # noqa: PT017  (a state that is still one is as good)
        assert equal_states(run.grower.state_dict(), before)
        assert all(ours is theirs for ours, theirs in zip(run.model.parameters(), parameters, strict=True))
        return
    run.grower.reports()
    for _ in range(min(2, 20 - run.grower.epoch)):
        step = run.epoch()
        assert not list(find_not_finite(step.observation, run.grower.slot_config))
        assert run.grower.reports().keys() == {"r0c0", "r0c1"}


def test_every_state_of_a_growth_is_accepted() -> None:
    run, states = grown_run()
    for state in states:
        run.grower.load_state_dict(state)
        assert equal_states(run.grower.state_dict(), state)
