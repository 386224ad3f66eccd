"""What a run goes on from after any end: files of which the two newest are kept, and which prove themselves."""

import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import torch
from torch import Tensor

from leyline_types import MAX_FILE_BYTES, FileRefusedError, brief, read_file
from simic_training.growth.draws import GIB
from simic_training.runs.config import TrainConfig
from simic_training.runs.folder import EPISODES, METRICS, RunFolder, RunStorageError
from simic_training.runs.tensor_bytes import (
    DamagedBytesError,
    seal,
    tensors_from_bytes,
    tensors_to_bytes,
    unseal,
)
from tamiyo_features import NormalizerError, NormalizerState, normalizer_from_tensors, normalizer_to_tensors
from tamiyo_policies import CheckpointError, PolicyBundle, PolicyInputError, checkpoint_from_bytes

KEPT: Final = 2
_FORMAT: Final = "tamiyo-training-2"
_NAME: Final = re.compile(r"(\d{6})\.state")
_PARTS: Final = ("policy", "optimizer", "normalizer", "earlier")
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
    """A file that holds no state, one of another run, or one that says what cannot be."""


class _Note(NamedTuple):
    """What stands in a state beside its tensors.

    Args:
        update: updates done.
        lengths: bytes of metrics and episodes at that time, by the name of the file.
    """

    update: int
    lengths: dict[str, int]


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
    tensors = {name: tensor.detach().cpu() for name, tensor in tensors.items()}
    lengths = {name: run.length(name) for name in (METRICS, EPISODES)}
    content = seal(tensors_to_bytes(tensors, {"format": _FORMAT, "update": state.update, "lengths": lengths}))
    path = run.states / f"{state.update:06d}.state"
    draft = path.with_suffix(".draft")
    try:
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if path.is_dir():  # passed over as what it is, but in the way now
            path.rename(path.with_suffix(".folder"))
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    mine = [each for each in state_files(run) if int(each.stem) <= state.update]
    for old in {*state_files(run)} - {*mine[:KEPT]}:  # of a later update: one that was refused
        old.unlink()


def state_files(run: RunFolder) -> list[Path]:
    """The states of a run, newest first."""
    return sorted((path for path in run.states.glob("*") if _NAME.fullmatch(path.name)), reverse=True)


def load_newest(run: RunFolder, config: TrainConfig, fresh: TrainingState) -> TrainingState:
    """`newest_state`, with metrics and episodes cut to where it was written, so that the run can go on.

    Args:
        run, config, fresh: see `newest_state`.

    Raises:
        RunStorageError: there are states and none can be used.
    """
    state, lengths = newest_state(run, config, fresh)
    for name, length in lengths.items():
        run.cut(name, length)
    return state


def newest_state(
    run: RunFolder, config: TrainConfig, fresh: TrainingState
) -> tuple[TrainingState, dict[str, int]]:
    """The newest state that can be used, put into `fresh`, and how long metrics and episodes were then.

    A state that is damaged, or that says what does not fit the run's settings and files, is passed over with a
    warning, and the one before is taken. Nothing is changed before a state has proved itself whole. A run that was
    ended before it wrote its first state starts again.

    Args:
        run: its folder.
        config: its settings.
        fresh: a state of these settings before the first update.

    Raises:
        RunStorageError: there are states and none can be used, and says what is wrong with the newest; or there are
            updates and no states.
    """
    refused: list[DamagedStateError] = []
    for path in state_files(run):
        try:
            tensors, note = _read(path, config)
            _check_note(note, path, run, config)
            return _restore(tensors, note.update, config, fresh), note.lengths
        except DamagedStateError as error:
            refused.append(error)
            _log.warning("%s cannot be used (%s); going back to the state before it", path, error)
    if refused:
        raise RunStorageError(
            f"{run.path} cannot go on: none of its {len(refused)} states can be used; of the newest: {refused[0]}"
        )
    if run.length(METRICS) or run.length(EPISODES):  # the first state is written before them
        raise RunStorageError(
            f"{run.path} cannot go on: {METRICS} holds {run.whole_lines()} updates, and {run.states} holds no state"
        )
    return fresh, dict.fromkeys((METRICS, EPISODES), 0)


def _read(path: Path, config: TrainConfig) -> tuple[dict[str, Tensor], _Note]:
    """What a file holds: nothing of it has changed, and its note is of the right types."""
    # Of weights a state holds three copies, and those of updates before; a run that fits its limit has none larger.
    most = max(MAX_FILE_BYTES, int((1 + config.stale_updates) * config.memory_limit * GIB))
    try:
        tensors, note = tensors_from_bytes(unseal(read_file(path, max_bytes=most)))
    except (DamagedBytesError, FileRefusedError) as error:
        raise DamagedStateError(f"it is damaged: {error}") from None
    except OSError as error:
        raise DamagedStateError(f"it cannot be read: {error.strerror}") from None
    if not isinstance(note, dict) or note.keys() != {"format", "update", "lengths"}:
        raise DamagedStateError(f"its note is {brief(repr(note))}, expected format, update and lengths")
    if note["format"] != _FORMAT:
        raise DamagedStateError(f"its format is {brief(repr(note['format']))}, not {_FORMAT!r}")
    lengths = note["lengths"]
    if not isinstance(lengths, dict) or lengths.keys() != {METRICS, EPISODES}:
        raise DamagedStateError(
            f"its `lengths` are {brief(repr(lengths))}, expected {METRICS} and {EPISODES}"
        )
    for name, value in {"update": note["update"], **lengths}.items():
        if type(value) is not int or value < 0:
            raise DamagedStateError(
                f"its {name!r} is {brief(repr(value))}, expected an integer of at least 0"
            )
    return tensors, _Note(note["update"], lengths)


def _check_note(note: _Note, path: Path, run: RunFolder, config: TrainConfig) -> None:
    """Hold a note against the name of its file, the settings, and what metrics and episodes really hold."""
    if note.update != int(path.stem):
        raise DamagedStateError(f"it says update {note.update}, its name says {int(path.stem)}")
    if note.update > config.updates:
        raise DamagedStateError(f"it says update {note.update}, the run has {config.updates}")
    for name, lines in ((METRICS, note.update), (EPISODES, note.update * config.batch)):
        length, found = note.lengths[name], run.length(name)
        if length > found:
            raise DamagedStateError(f"it says {length} bytes of {name}, which has {found}")
        written, last = run.lines_within(name, length)
        if written != lines or not last:
            raise DamagedStateError(
                f"it says update {note.update} and {length} bytes of {name}: these hold {written} whole lines"
                f"{'' if last else ' and a part of one'}, expected {lines}"
            )


def _restore(
    tensors: Mapping[str, Tensor], update: int, config: TrainConfig, fresh: TrainingState
) -> TrainingState:
    """The state of these tensors; all are looked at before the first of them is put anywhere."""
    parts: dict[str, dict[str, Tensor]] = {part: {} for part in _PARTS}
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        if part not in parts:
            raise DamagedStateError(f"it holds an unknown {name!r}")
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise DamagedStateError(f"its {name!r} holds NaN or inf")
        parts[part][rest] = tensor
    moments = _moments(parts["optimizer"], fresh.optimizer, update)
    earlier = _earlier(parts["earlier"], min(update, config.stale_updates))
    policy, optimizer, normalizer = fresh.policy, fresh.optimizer, fresh.normalizer
    if normalizer is None and parts["normalizer"]:
        raise DamagedStateError("it holds a normaliser, the run has none")
    own = policy.state_dict()
    for name, tensor in parts["policy"].items():
        if name in own and tensor.dtype != own[name].dtype:
            raise DamagedStateError(f"its 'policy.{name}' is {tensor.dtype}, expected {own[name].dtype}")
    try:
        if normalizer is not None:
            normalizer = normalizer_from_tensors(parts["normalizer"], policy.slot_config)
        policy.load_state_dict(parts["policy"])  # which changes nothing unless all of it fits
    except (PolicyInputError, NormalizerError) as error:
        raise DamagedStateError(f"it is of another run: {error}") from None
    optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
    return TrainingState(policy, optimizer, normalizer, update, earlier)


def _moments(
    tensors: Mapping[str, Tensor], optimizer: torch.optim.Optimizer, update: int
) -> dict[int, dict[str, Tensor]]:
    """What Adam remembers of each parameter that has had a gradient, by its number."""
    parameters = [each for group in optimizer.param_groups for each in group["params"]]
    shapes = {
        f"{index}.{name}": shape
        for index, parameter in enumerate(parameters)
        for name, shape in (("step", ()), ("exp_avg", parameter.shape), ("exp_avg_sq", parameter.shape))
    }
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name not in shapes:
            raise DamagedStateError(f"it holds an unknown 'optimizer.{name}'")
        if tensor.shape != shapes[name] or tensor.dtype != torch.float32:
            raise DamagedStateError(
                f"its 'optimizer.{name}' is {tensor.dtype} {tuple(tensor.shape)}, "
                f"expected {torch.float32} {tuple(shapes[name])}"
            )
        if name.endswith(("step", "exp_avg_sq")) and bool((tensor < 0).any()):
            raise DamagedStateError(f"its 'optimizer.{name}' holds values below 0")
        number, _, kind = name.partition(".")
        moments.setdefault(int(number), {})[kind] = tensor
    for index, found in moments.items():
        if len(found) < 3:
            raise DamagedStateError(f"of 'optimizer.{index}' it holds {', '.join(sorted(found))} alone")
    if moments and not update:
        raise DamagedStateError(f"it holds moments of {len(moments)} weights after update {update}")
    return moments


def _earlier(tensors: Mapping[str, Tensor], count: int) -> tuple[bytes, ...]:
    """The weights after earlier updates, each of which can be acted by."""
    names = [str(index) for index in range(count)]
    if tensors.keys() != set(names):
        found = ", ".join(sorted(f"'earlier.{name}'" for name in tensors)) or "none"
        raise DamagedStateError(f"it holds earlier weights {found}, expected {count}, numbered from 0")
    weights = []
    for name in names:
        if tensors[name].dtype != torch.uint8 or tensors[name].dim() != 1:
            raise DamagedStateError(f"its 'earlier.{name}' is not a row of bytes")
        weights.append(tensors[name].numpy().tobytes())
        try:
            checkpoint_from_bytes(weights[-1])
        except CheckpointError as error:
            raise DamagedStateError(f"its 'earlier.{name}' cannot be used: {error}") from None
    return tuple(weights)
