"""Columns as a flat dictionary of tensors, and back, bit for bit."""

from collections.abc import Container, Iterator, Mapping
from typing import Any, TypeVar

from torch import Tensor, strided

from leyline_types import brief

_MOST = 40
"""Arguments that one message names."""

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
        StateError: it is missing, no dense tensor on the CPU, or has another shape or dtype than `like`.
    """
    if name not in state:
        raise StateError(f"the state has no {name!r}")
    found = dense(state[name], f"{name!r} of the state")
    if found.device.type != "cpu":
        raise StateError(f"{name!r} of the state is on {found.device}, expected the CPU")
    if found.shape != like.shape or found.dtype != like.dtype:
        raise StateError(
            f"{name!r} of the state is {found.dtype} of shape {tuple(found.shape)}, "
            f"expected {like.dtype} of {tuple(like.shape)}"
        )
    return found.detach().clone()


def dense(value: object, what: str) -> Tensor:
    """The value, a tensor that has its numbers one after another.

    Raises:
        StateError: no tensor, or a sparse, nested, quantised or complex one, or one without values; names `what`.
    """
    if not isinstance(value, Tensor):
        raise StateError(f"{what} is of type {type(value).__name__}, expected a tensor")
    faults = {
        "nested": value.is_nested,
        "sparse": value.layout is not strided,
        "quantised": value.is_quantized,
        "complex": value.is_complex(),
        "without values": value.is_meta,
    }
    if any(faults.values()):
        raise StateError(
            f"{what} is a tensor that is {next(name for name, has in faults.items() if has)}, expected a dense one"
        )
    return value


def check_mapping(state: object) -> None:
    """That a state holds its entries by name.

    Raises:
        StateError: it does not.
    """
    if not isinstance(state, Mapping) or not all(isinstance(name, str) for name in state):
        raise StateError(
            f"the state is of type {type(state).__name__}, expected a mapping with names as keys"
        )


def check_names(state: Mapping[str, Any], known: Container[str], owner: str) -> None:
    """That all that a state holds is known.

    Args:
        state: checked by `check_mapping`.
        known: names.
        owner: whose state it is, in a word.

    Raises:
        StateError: it holds something else; names that.
    """
    unknown = sorted(str(name) for name in state if name not in known)
    if unknown:
        raise StateError(f"the state holds what this {owner} does not: {brief(', '.join(unknown))}")


def check_arguments(saved: Mapping[Any, Any], here: Mapping[str, Any], owner: str) -> None:
    """That a state was saved with the same arguments as it is loaded with.

    Args:
        saved: as they are in the state, which may be anything.
        here: plain values, or dicts of them.
        owner: what has these arguments, in a word.

    Raises:
        StateError: it names every argument that differs, with both values.
    """
    differing = [
        f"{name}: {brief(str(saved.get(name)))} in the state, {brief(str(here.get(name)))} here"
        for name in sorted(saved.keys() | here.keys(), key=str)
        if name not in here or not _equal(saved.get(name), here[name])
    ]
    if differing:
        raise StateError(f"the state is another {owner}'s: {'; '.join(differing[:_MOST])}")


def _equal(saved: object, here: object) -> bool:
    """Whether two values are of one type and equal; tensors, which compare number by number, never are."""
    if isinstance(here, dict):
        return (
            isinstance(saved, dict)
            and saved.keys() == here.keys()
            and all(_equal(saved[name], value) for name, value in here.items())
        )
    return type(saved) is type(here) and bool(saved == here)
