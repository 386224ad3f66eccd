"""Where the growth of a user's network stands, and that as plain values to save."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from kasmina_hosts.blueprints import built_blueprints
from kasmina_hosts.diagnostics import Diagnostics, unknown_diagnostics
from kasmina_hosts.evaluation import Score
from kasmina_hosts.lifecycle import Lifecycle, empty_lifecycle
from kasmina_hosts.measures import HostMeasures, SeedMeasures, first_measures, no_seed_measures
from kasmina_hosts.observing import LastAction, no_action
from kasmina_hosts.saving import StateError, check_names, dense, flatten, unflatten
from kasmina_hosts.state_checks import check_diagnostics, check_hosts, check_last, check_life, check_seeds
from leyline_types import TaskConfig, brief


class Growth(NamedTuple):
    """Where the growth of a network stands.

    Args:
        life, hosts, seeds, diagnostics, last: as in a population of one host.
        epoch, steps: epochs reported, optimiser steps taken.
        memory: the controller's.
    """

    life: Lifecycle
    hosts: HostMeasures
    seeds: SeedMeasures
    diagnostics: Diagnostics
    last: LastAction
    epoch: int
    steps: int
    memory: Any


def no_growth(num_slots: int, memory: Any, task: TaskConfig) -> Growth:
    """Before the first epoch, as if the network guessed."""
    guess = Score(torch.tensor([task.baseline_loss]), torch.tensor([100 / task.num_classes]))
    return Growth(
        life=empty_lifecycle(1, num_slots),
        hosts=first_measures(guess, guess),
        seeds=no_seed_measures(1, num_slots),
        diagnostics=unknown_diagnostics(1, num_slots),
        last=no_action(1),
        epoch=0,
        steps=0,
        memory=memory,
    )


def growth_state(growth: Growth) -> dict[str, Any]:
    """Copies, as tensors and numbers by name; the memory as a list of its leaves."""
    columns = {
        name: tensor.clone() for part in _COLUMNS for name, tensor in flatten(part, getattr(growth, part))
    }
    leaves, _ = tree_flatten(growth.memory)
    memory = [leaf.clone() if isinstance(leaf, Tensor) else leaf for leaf in leaves]
    return {"columns": columns, "epoch": growth.epoch, "steps": growth.steps, "memory": memory}


def restore_growth(state: Mapping[str, Any], like: Growth, task: TaskConfig) -> Growth:
    """The growth that was saved.

    Args:
        state: what `growth_state` gave, perhaps with more.
        like: one of as many slots, with a memory of the same controller.
        task: what the network is.

    Raises:
        StateError: something is missing, of another shape or type, or cannot be.
    """
    for name, kind in (("columns", dict), ("epoch", int), ("steps", int), ("memory", list)):
        if not isinstance(state.get(name), kind) or isinstance(state[name], bool):
            raise StateError(f"the state holds no {kind.__name__} {name!r}")
    epoch, steps, saved = state["epoch"], state["steps"], state["columns"]
    # Every epoch has a step; and their number, relative to the epochs, is a column of 64 bits.
    if not (
        0 <= epoch <= task.max_epochs and epoch <= steps < 2**63 // task.max_epochs and (epoch or not steps)
    ):
        raise StateError(f"the state is of epoch {brief(str(epoch))} and step {brief(str(steps))}")
    columns = {part: unflatten(part, getattr(like, part), saved) for part in _COLUMNS}
    check_names(saved, {name for part in _COLUMNS for name, _ in flatten(part, columns[part])}, "grower")
    life: Lifecycle = columns["life"]
    check_life(life, built_blueprints(task.topology), epoch)
    check_hosts(columns["hosts"], epoch)
    check_seeds(columns["seeds"], life, measured_from=2)  # a seed is planted after an epoch was measured
    check_diagnostics(columns["diagnostics"])
    check_last(columns["last"])
    memory = _restore_memory(state["memory"], like.memory)
    return Growth(**columns, epoch=epoch, steps=steps, memory=memory)


def _restore_memory(saved: list[Any], like: Any) -> Any:
    """What a controller remembered, where that of `like` is; whether its values can be, only the controller knows."""
    leaves, shape = tree_flatten(like)
    if [type(leaf) for leaf in saved] != [type(leaf) for leaf in leaves]:
        raise StateError("the state holds what another kind of controller remembered")
    restored = []
    for index, (leaf, expected) in enumerate(zip(saved, leaves, strict=True)):
        if isinstance(leaf, Tensor):
            what = f"value {index} of the state's 'memory'"
            if dense(leaf, what).dtype != expected.dtype:
                raise StateError(f"{what} is {leaf.dtype}, expected {expected.dtype}")
            leaf = leaf.detach().to(expected.device, copy=True)
        restored.append(leaf)
    return tree_unflatten(restored, shape)


_COLUMNS = ("life", "hosts", "seeds", "diagnostics", "last")
