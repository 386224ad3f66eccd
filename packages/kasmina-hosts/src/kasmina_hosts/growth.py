"""Where the growth of a user's network stands, and that as plain values to save."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from kasmina_hosts.blueprints import built_blueprints
from kasmina_hosts.evaluation import Score
from kasmina_hosts.lifecycle import Lifecycle, empty_lifecycle
from kasmina_hosts.measures import HostMeasures, SeedMeasures, first_measures, no_seed_measures
from kasmina_hosts.observing import LastAction, no_action
from kasmina_hosts.saving import StateError, check_life, flatten, unflatten
from leyline_types import TaskConfig


class Growth(NamedTuple):
    """Where the growth of a network stands.

    Args:
        life, hosts, seeds, last: as in a population of one host.
        epoch, steps: epochs reported, optimiser steps taken.
        memory: the controller's.
    """

    life: Lifecycle
    hosts: HostMeasures
    seeds: SeedMeasures
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
        like: one of as many slots, with a memory of the same controller.
        task: what the network is.

    Raises:
        StateError: something is missing, of another shape or type, or cannot be.
    """
    for name, kind in (("columns", dict), ("epoch", int), ("steps", int), ("memory", list)):
        if not isinstance(state.get(name), kind):
            raise StateError(f"the state holds no {kind.__name__} {name!r}")
    columns = {part: unflatten(part, getattr(like, part), state["columns"]) for part in _COLUMNS}
    leaves, shape = tree_flatten(like.memory)
    saved = [leaf.clone() if isinstance(leaf, Tensor) else leaf for leaf in state["memory"]]
    if [type(leaf) for leaf in saved] != [type(leaf) for leaf in leaves]:
        raise StateError("the state holds what another kind of controller remembered")
    memory = tree_unflatten(saved, shape)
    check_life(columns["life"], built_blueprints(task.topology))
    if not (0 <= state["epoch"] <= task.max_epochs and state["steps"] >= 0):
        raise StateError(f"the state is of epoch {state['epoch']} and step {state['steps']}")
    return Growth(**columns, epoch=state["epoch"], steps=state["steps"], memory=memory)


_COLUMNS = ("life", "hosts", "seeds", "last")
