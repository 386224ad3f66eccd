"""What a population reports as columns is what its objects pack to."""

import pytest
import torch
from torch import Tensor

from kasmina_hosts import DigitsTask, HostConfig, HostPopulation
from leyline_types import Observation, SignalColumns, SlotColumns
from tamiyo_features import batch_obs_to_features, extract_features, pack_observations
from tamiyo_policies import RandomController

EPOCHS = 8
SEEDS = range(6)
PRICES = (0.08, 0.1, 0.3, 0.5, 1.0, 1.25)


@pytest.fixture(scope="module")
def observations() -> list[tuple[Observation[Tensor], Observation[Tensor], Tensor, Tensor]]:
    """(columns, packed objects, features of columns, features of objects) after every epoch of random growth."""
    torch.set_num_threads(1)
    population = HostPopulation(DigitsTask(), HostConfig(max_epochs=EPOCHS))
    slots = population.slot_config
    controller = RandomController(slots, seed=0, rules=population.rules)
    observation = population.reset(SEEDS, parameter_prices=PRICES)
    tasks = population.task_configs
    memory = controller.initial_memory(len(SEEDS))
    pairs = []
    for _ in range(EPOCHS):
        objects = population.signals(), population.reports()
        packed = pack_observations(*objects, slots, task=tasks)
        features = batch_obs_to_features(*objects, slots, task=tasks)
        pairs.append((observation, packed, extract_features(observation, slots), features))
        actions, memory = controller.act(observation, memory)
        observation = population.step(actions).observation
    return pairs


def test_every_column_agrees(
    observations: list[tuple[Observation[Tensor], Observation[Tensor], Tensor, Tensor]],
) -> None:
    for columns, packed, _, _ in observations:
        for names, ours, theirs in (
            (SignalColumns._fields, columns.signals, packed.signals),
            (SlotColumns._fields, columns.slots, packed.slots),
        ):
            for name, own, other in zip(names, ours, theirs, strict=True):
                assert own.dtype == other.dtype, name
                torch.testing.assert_close(own, other, equal_nan=True, msg=name)


def test_features_agree(
    observations: list[tuple[Observation[Tensor], Observation[Tensor], Tensor, Tensor]],
) -> None:
    for _, _, from_columns, from_objects in observations:
        torch.testing.assert_close(from_columns, from_objects)
        assert from_columns.isfinite().all()


def test_prices_and_diagnostics_are_seen(
    observations: list[tuple[Observation[Tensor], Observation[Tensor], Tensor, Tensor]],
) -> None:
    """Each host's own price at every epoch; diagnostics of every slot, empty ones too, once there was training."""
    for columns, *_ in observations:
        torch.testing.assert_close(columns.signals.parameter_price, torch.tensor(PRICES))
    diagnosed = False
    for columns, *_ in observations[1:]:
        for column in (
            columns.slots.host_gradient_share,
            columns.slots.activation_rank,
            columns.slots.within_map_variance,
        ):
            assert ((column >= 0) & (column <= 1)).all()
        diagnosed |= bool((~columns.slots.occupied).any())
    assert diagnosed


def test_the_episodes_saw_growth(
    observations: list[tuple[Observation[Tensor], Observation[Tensor], Tensor, Tensor]],
) -> None:
    slots: SlotColumns[Tensor] = observations[-1][0].slots
    assert slots.occupied.any()
    assert torch.stack([columns.slots.stage for columns, *_ in observations]).unique().numel() >= 4
