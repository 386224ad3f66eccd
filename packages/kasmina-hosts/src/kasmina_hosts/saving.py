"""Columns as a flat dictionary of tensors, and back, bit for bit."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from kasmina_hosts.lifecycle import Lifecycle
from leyline_types import AlphaAlgorithm, AlphaCurveAction, AlphaMode, BlueprintAction, SeedStage

TupleT = TypeVar("TupleT", bound=tuple[Any, ...])


class StateError(ValueError):
    """A saved state that cannot be gone on from here: another's, or damaged."""


def flatten(prefix: str, columns: tuple[Any, ...]) -> Iterator[tuple[str, Tensor]]:
    """Each tensor of nested NamedTuples with its path: ("life.stage", ...)."""
    names = columns._fields  # type: ignore[attr-defined]
    for name, value in zip(names, columns, strict=True):
        if isinstance(value, Tensor):
            yield f"{prefix}.{name}", value
        else:
            yield from flatten(f"{prefix}.{name}", value)


def unflatten(prefix: str, like: TupleT, state: Mapping[str, Tensor]) -> TupleT:
    """The nested NamedTuples that `flatten` took apart, shaped as `like`.

    Raises:
        StateError: a tensor is missing or has another shape or dtype.
    """
    names = like._fields  # type: ignore[attr-defined]
    values = [
        take(state, f"{prefix}.{name}", value)
        if isinstance(value, Tensor)
        else unflatten(f"{prefix}.{name}", value, state)
        for name, value in zip(names, like, strict=True)
    ]
    return type(like)(*values)


def take(state: Mapping[str, Tensor], name: str, like: Tensor) -> Tensor:
    """A copy of one tensor of the state.

    Raises:
        StateError: it is missing or has another shape or dtype than `like`.
    """
    if name not in state:
        raise StateError(f"the state has no {name!r}")
    found = state[name]
    if found.shape != like.shape or found.dtype != like.dtype:
        raise StateError(
            f"{name!r} of the state is {found.dtype} of shape {tuple(found.shape)}, "
            f"expected {like.dtype} of {tuple(like.shape)}"
        )
    return found.detach().clone()


def check_arguments(saved: Mapping[str, Any], here: Mapping[str, Any], owner: str) -> None:
    """That a state was saved with the same arguments as it is loaded with.

    Args:
        owner: what has these arguments, in a word.

    Raises:
        StateError: it names every argument that differs, with both values.
    """
    differing = [
        f"{name}: {saved.get(name)} in the state, {here.get(name)} here"
        for name in sorted(saved.keys() | here.keys())
        if saved.get(name) != here.get(name)
    ]
    if differing:
        raise StateError(f"the state is another {owner}'s: {'; '.join(differing)}")


def check_life(life: Lifecycle, blueprints: Sequence[BlueprintAction]) -> None:
    """That a saved lifecycle is one that can be.

    Args:
        blueprints: what there are modules for.

    Raises:
        StateError: a stage, blueprint, mode, curve, algorithm or alpha that is none.
    """
    known = {
        "stage": tuple(stage for stage in SeedStage if stage is not SeedStage.UNKNOWN),
        "alpha_mode": tuple(AlphaMode),
        "curve": tuple(AlphaCurveAction),
        "blueprint": (BlueprintAction.NOOP, *blueprints),
        "algorithm": (0, *AlphaAlgorithm),
    }
    for name, values in known.items():
        column = getattr(life, name)
        strange = column[~torch.isin(column, torch.tensor(values))]
        if len(strange):
            raise StateError(f"'life.{name}' of the state holds {strange[0]}, which is none")
    bare = life.live & ((life.blueprint == BlueprintAction.NOOP) | (life.algorithm == 0))
    if bare.any():
        raise StateError("the lifecycle of the state has a live seed without blueprint or algorithm")
    if not ((life.alpha >= 0) & (life.alpha <= 1)).all():
        raise StateError("'life.alpha' of the state does not lie in 0 to 1")
