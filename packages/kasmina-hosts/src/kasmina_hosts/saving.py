"""The state of a population as a flat dictionary of tensors, and back, bit for bit."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any, TypeVar

import torch
from torch import Tensor

from kasmina_hosts.config import HostConfig
from kasmina_hosts.gates import Gates
from kasmina_hosts.tasks import Split, Task
from leyline_types import LegalityRules

TupleT = TypeVar("TupleT", bound=tuple[Any, ...])


class StateError(ValueError):
    """A state that is not one of this population's."""


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


def describe(
    task: Task, config: HostConfig, rules: LegalityRules, gates: Gates, dtype: torch.dtype
) -> dict[str, str]:
    """All that a population was made with, as text."""
    settings = {
        **asdict(config),
        **asdict(rules),
        **asdict(gates),
        "task": task.name,
        "num_classes": task.num_classes,
        "dtype": dtype,
    }
    data = {f"{part} data": _digest(getattr(task, part)) for part in ("train", "validation", "test")}
    return {name: str(value) for name, value in (settings | data).items()}


def encode(settings: Mapping[str, str]) -> Tensor:
    """As a tensor of bytes."""
    return torch.frombuffer(bytearray(json.dumps(settings).encode()), dtype=torch.uint8)


def check_settings(state: Mapping[str, Tensor], settings: Mapping[str, str]) -> None:
    """That the state was saved by a population made with the same settings.

    Raises:
        StateError: it names every setting that differs, with both values.
    """
    if "settings" not in state:
        raise StateError("the state has no 'settings'")
    try:
        saved = json.loads(bytes(state["settings"].tolist()))
    except (ValueError, TypeError) as error:
        raise StateError(f"'settings' of the state cannot be read: {error}") from None
    if not isinstance(saved, dict):
        raise StateError("'settings' of the state cannot be read: no table")
    differing = [
        f"{name}: {saved.get(name)} in the state, {settings.get(name)} here"
        for name in sorted(saved.keys() | settings.keys())
        if saved.get(name) != settings.get(name)
    ]
    if differing:
        raise StateError(f"the state is another population's: {'; '.join(differing)}")


def _digest(part: Split) -> str:
    digest = hashlib.sha256()
    for tensor in part:
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
