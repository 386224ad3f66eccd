"""What a population was made with, to be saved with its state and compared when that is loaded."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict

import torch
from torch import Tensor

from kasmina_hosts.config import HostConfig
from kasmina_hosts.gates import Gates
from kasmina_hosts.saving import StateError, check_arguments
from kasmina_hosts.tasks import Split, Task
from leyline_types import LegalityRules


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
    check_arguments(saved, settings, "population")


def _digest(part: Split) -> str:
    digest = hashlib.sha256()
    for tensor in part:
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
