"""What a run goes on from after any end, as safetensors files of which the two newest are kept."""

import json
import logging
import os
import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from simic_training.runs.folder import EPISODES, METRICS, RunFolder, RunStorageError
from tamiyo_features import NormalizerError, NormalizerState, normalizer_from_tensors, normalizer_to_tensors
from tamiyo_policies import PolicyBundle, PolicyInputError

KEPT: Final = 2
_FORMAT: Final = "tamiyo-training-1"
_NAME: Final = re.compile(r"(\d{6})\.safetensors")
_log = logging.getLogger(__name__)


class TrainingState(NamedTuple):
    """All that the rest of a run depends on besides its settings: every random number is drawn from them and `update`.

    Args:
        policy, optimizer: loaded and saved in place.
        normalizer: of the features, or None.
        update: updates done.
        earlier: weights after the updates before (`runs.units.weights_of`), the newest last, as far as they are needed.
    """

    policy: PolicyBundle
    optimizer: torch.optim.Optimizer
    normalizer: NormalizerState | None
    update: int
    earlier: tuple[bytes, ...] = ()


class DamagedStateError(RunStorageError):
    """A file that holds no state, or one of another run."""


def save_state(run: RunFolder, state: TrainingState) -> None:
    """Write the state whole, note how far metrics and episodes are written, and drop all but the `KEPT` newest.

    Raises:
        OSError: it cannot be written; the states before are as they were.
    """
    tensors = {f"policy.{name}": tensor for name, tensor in state.policy.state_dict().items()}
    for index, moments in state.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": torch.as_tensor(value) for name, value in moments.items()}
    if state.normalizer is not None:
        saved = normalizer_to_tensors(state.normalizer)
        tensors |= {f"normalizer.{name}": tensor for name, tensor in saved.items()}
    tensors |= {
        f"earlier.{index}": torch.frombuffer(bytearray(weights), dtype=torch.uint8)
        for index, weights in enumerate(state.earlier)
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    note = {
        "format": _FORMAT,
        "update": state.update,
        "lengths": {name: run.length(name) for name in (METRICS, EPISODES)},
        "checksum": _checksum(tensors),
    }
    content = save(tensors, metadata={"note": json.dumps(note)})
    path = run.states / f"{state.update:06d}.safetensors"
    draft = path.with_suffix(".draft")
    try:
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    for old in state_files(run)[KEPT:]:
        old.unlink()


def state_files(run: RunFolder) -> list[Path]:
    """The states of a run, newest first."""
    return sorted((path for path in run.states.glob("*") if _NAME.fullmatch(path.name)), reverse=True)


def load_newest(run: RunFolder, fresh: TrainingState) -> TrainingState:
    """`newest_state`, with metrics and episodes cut to where it was written, so that the run can go on.

    Args:
        run, fresh: see `newest_state`.

    Raises:
        RunStorageError: there are states and none can be read, or the logs are shorter than when it was written.
    """
    state, lengths = newest_state(run, fresh)
    for name, length in lengths.items():
        run.cut(name, length)
    return state


def newest_state(run: RunFolder, fresh: TrainingState) -> tuple[TrainingState, dict[str, int]]:
    """The newest state that can be read, put into `fresh`, and how long metrics and episodes were then.

    A state that cannot be read is passed over with a warning, and the one before is taken. A run that was ended before
    it wrote its first state starts again.

    Args:
        run: its folder.
        fresh: a state of the run's settings before its first update.

    Raises:
        RunStorageError: there are states and none can be read.
    """
    files = state_files(run)
    for path in files:
        try:
            tensors, note = _read(path)
            return _restore(tensors, note["update"], fresh), note["lengths"]
        except DamagedStateError as error:
            _log.warning("%s cannot be used (%s); going back to the state before it", path, error)
    if files:
        raise RunStorageError(f"{run.path} cannot go on: none of its {len(files)} states can be read")
    return fresh, dict.fromkeys((METRICS, EPISODES), 0)


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
            note = json.loads((file.metadata() or {})["note"])
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise DamagedStateError(f"it is damaged: {error}") from None
    if note.get("format") != _FORMAT:
        raise DamagedStateError(f"its format is {note.get('format')!r}, not {_FORMAT!r}")
    if note["checksum"] != _checksum(tensors):
        raise DamagedStateError("it is damaged: its checksum is another one")
    return tensors, note


def _checksum(tensors: Mapping[str, Tensor]) -> int:
    """Of all bytes, in order of name."""
    total = 0
    for name in sorted(tensors):
        total = zlib.crc32(tensors[name].reshape(-1).view(torch.uint8).numpy().tobytes(), total)
    return total


def _restore(tensors: Mapping[str, Tensor], update: int, fresh: TrainingState) -> TrainingState:
    parts: dict[str, dict[str, Tensor]] = {"policy": {}, "optimizer": {}, "normalizer": {}, "earlier": {}}
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        if part not in parts:
            raise DamagedStateError(f"it holds an unknown {name!r}")
        parts[part][rest] = tensor
    policy, optimizer, normalizer = fresh.policy, fresh.optimizer, fresh.normalizer
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in parts["optimizer"].items():
        index, _, kind = name.partition(".")
        moments.setdefault(int(index), {})[kind] = tensor
    try:
        if normalizer is not None:
            normalizer = normalizer_from_tensors(parts["normalizer"], policy.slot_config)
        elif parts["normalizer"]:
            raise DamagedStateError("it holds a normaliser, the run has none")
        policy.load_state_dict(parts["policy"])
        optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
    except (PolicyInputError, NormalizerError, ValueError) as error:
        raise DamagedStateError(f"it is of another run: {error}") from None
    earlier = [parts["earlier"][str(index)].numpy().tobytes() for index in range(len(parts["earlier"]))]
    return TrainingState(policy, optimizer, normalizer, update, tuple(earlier))
