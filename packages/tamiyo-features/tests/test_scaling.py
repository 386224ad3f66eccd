"""Large batches cost more arithmetic and no more calls."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from loop_reference import list_loop
from observation_maker import Maker
from torch.utils._python_dispatch import TorchDispatchMode

from leyline_types import SlotConfig
from tamiyo_features import batch_obs_to_features, extract_features, pack_observations

FEW, MANY = (4, SlotConfig.default()), (64, SlotConfig.for_grid(5, 5))


class CallCounter(TorchDispatchMode):
    """Counts the calls that reach torch's kernels, views among them."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # untyped in torch
        self.calls = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls += 1
        return func(*args, **(kwargs or {}))


def count_calls(work: Callable[[], object]) -> int:
    work()  # constants are made by the first call
    counter = CallCounter()
    with counter:
        work()
    return counter.calls


@pytest.mark.parametrize("telemetry", [False, True])
def test_extraction_makes_as_many_calls_for_a_large_batch_as_for_a_small_one(
    make: Maker, telemetry: bool
) -> None:
    def calls(num_envs: int, slots: SlotConfig) -> int:
        batch = make.batch(0, num_envs, slots, telemetry=telemetry)
        observation = pack_observations(*batch, slots, task=make.task)
        return count_calls(lambda: extract_features(observation, slots, telemetry=telemetry))

    assert 0 < calls(*MANY) == calls(*FEW)


def test_packing_makes_as_many_tensors_for_a_large_batch_as_for_a_small_one(make: Maker) -> None:
    def calls(num_envs: int, slots: SlotConfig) -> int:
        batch = make.batch(0, num_envs, slots, telemetry=True, diagnosed=True)
        return count_calls(lambda: pack_observations(*batch, slots, task=make.task))

    assert 0 < calls(*MANY) == calls(*FEW)


def test_a_batch_of_a_thousand_is_its_parts(make: Maker) -> None:
    slots = SlotConfig.for_grid(5, 5)
    signals, reports = make.batch(1, 32, slots, telemetry=True)
    part = batch_obs_to_features(signals, reports, slots, task=make.task, telemetry=True)
    whole = batch_obs_to_features(signals * 32, reports * 32, slots, task=make.task, telemetry=True)
    assert torch.equal(whole, part.repeat(32, 1))
    expected = list_loop(signals, reports, slots, [make.task] * 32, telemetry=True)
    torch.testing.assert_close(part, expected, atol=2e-6, rtol=0.0)
