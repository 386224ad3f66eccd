"""What a population was made with, to be saved with its state and compared when that is loaded."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict

import torch
from torch import Tensor

from kasmina_hosts.config import HostConfig
from kasmina_hosts.gates import Gates
from kasmina_hosts.saving import StateError, check_arguments, dense
from kasmina_hosts.tasks import Split, Task
from leyline_types import LegalityRules, brief

_MOST_BYTES = 2**16
"""Far more than settings take as JSON."""


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
    found = dense(state["settings"], "'settings' of the state")
    if found.dtype != torch.uint8 or found.dim() != 1 or len(found) > _MOST_BYTES:
        raise StateError(
            f"'settings' of the state cannot be read: it is {found.dtype} of shape {tuple(found.shape)}, expected "
            f"torch.uint8 of at most ({_MOST_BYTES},)"
        )
    try:
        saved = json.loads(bytes(found.tolist()).decode())
    except (ValueError, RecursionError) as error:
        raise StateError(f"'settings' of the state cannot be read: {brief(str(error))}") from None
    if not isinstance(saved, dict):
        raise StateError("'settings' of the state cannot be read: no table")
    check_arguments(saved, settings, "population")


def _digest(part: Split) -> str:
    digest = hashlib.sha256()
    for tensor in part:
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
