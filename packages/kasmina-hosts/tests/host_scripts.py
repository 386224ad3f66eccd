"""Actions in words, episodes played by a script, a task small enough to repeat, and states compared."""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from kasmina_hosts import DigitsTask, Gates, HostConfig, HostPopulation, Split, Task
from kasmina_hosts import population as population_module
from kasmina_hosts.evaluation import Evaluation, evaluate
from leyline_types import (
    BlueprintAction,
    FactoredAction,
    FactoredActions,
    LifecycleOp,
    Observation,
    SignalColumns,
    SlotColumns,
    SlotConfig,
    TempoAction,
)

SLOTS = SlotConfig.default()
EPOCHS = 8
WIDE_OPEN = Gates(
    min_improvement=-1e9,
    min_training_epochs=1,
    min_gradient_ratio=0.0,
    min_contribution=-1e9,
    embargo_epochs=1,
)
"""Gates that only the stage can shut, so that a script decides what happens and not the accuracy."""
Script = Callable[[int], FactoredAction]


class SmallTask(NamedTuple):
    """The first samples of each part of a task."""

    name: str
    num_classes: int
    train: Split
    validation: Split
    test: Split


def first_samples(task: DigitsTask, train: int, held_out: int) -> SmallTask:
    """The small task with so many samples to train on, and so many in each other part."""
    sizes = {"train": train, "validation": held_out, "test": held_out}
    parts = [Split(*(tensor[:size] for tensor in getattr(task, name))) for name, size in sizes.items()]
    return SmallTask("first digits", task.num_classes, *parts)


def together(actions: Iterable[FactoredAction]) -> FactoredActions[Tensor]:
    """One action for each host."""
    indices = [action.to_indices(SLOTS) for action in actions]
    return FactoredActions(*(torch.tensor(head) for head in zip(*indices, strict=True)))


def same_for_all(action: FactoredAction, num_hosts: int) -> FactoredActions[Tensor]:
    return together([action] * num_hosts)


def germinate(slot_id: str, blueprint: BlueprintAction) -> FactoredAction:
    return FactoredAction(LifecycleOp.GERMINATE, slot_id, blueprint=blueprint, tempo=TempoAction.FAST)


def growing(epoch: int) -> FactoredAction:
    """Germinates in r0c1, then asks to advance every epoch."""
    return germinate("r0c1", BlueprintAction.NORM) if epoch == 0 else advance("r0c1")


def advance(slot_id: str) -> FactoredAction:
    return FactoredAction(LifecycleOp.ADVANCE, slot_id)


def waiting(epoch: int = 0) -> FactoredAction:
    return FactoredAction(LifecycleOp.WAIT, "r0c0")


def make(task: Task, **options: object) -> HostPopulation:
    return HostPopulation(task, HostConfig(max_epochs=EPOCHS), **options)  # type: ignore[arg-type]


def play(
    population: HostPopulation, seeds: Sequence[int], script: Script = growing, epochs: int = EPOCHS
) -> list[Observation[Tensor]]:
    seen = [population.reset(seeds)]
    for epoch in range(epochs):
        seen.append(population.step(same_for_all(script(epoch), len(seeds))).observation)
    return seen


def assert_equal(a: Observation[Tensor], b: Observation[Tensor], hosts: slice = slice(None)) -> None:
    """Bit for bit in every column."""
    for names, block_a, block_b in (
        (SignalColumns._fields, a.signals, b.signals),
        (SlotColumns._fields, a.slots, b.slots),
    ):
        for name, x, y in zip(names, block_a, block_b, strict=True):
            torch.testing.assert_close(x[hosts], y[hosts], equal_nan=True, rtol=0, atol=0, msg=name)


def suspect(
    monkeypatch: pytest.MonkeyPatch, population: HostPopulation, host: int, bad: Collection[int]
) -> None:
    """Have a host's validation loss read 50 after these epochs; all else is as it is."""
    pending = set(bad)

    def measured(*args: object, **options: object) -> Evaluation:
        result = evaluate(*args, **options)  # type: ignore[arg-type]
        if population.epoch not in pending:
            return result
        pending.remove(population.epoch)  # once: it is measured again after the host was rolled back
        loss = result.score.loss.clone()
        loss[host] = 50.0
        return result._replace(score=result.score._replace(loss=loss))

    monkeypatch.setattr(population_module, "evaluate", measured)
