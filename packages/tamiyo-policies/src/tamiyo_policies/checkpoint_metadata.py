"""The JSON string in a checkpoint: what the policy is, what it was made for, and a digest of the whole."""

import ctypes
import hashlib
import json
from collections.abc import Mapping
from typing import Final, TypeVar

from torch import Tensor

from leyline_types import SlotConfig, action_space_hash
from tamiyo_policies.config import DTYPES, PolicyConfig
from tamiyo_policies.errors import CheckpointError

FORMAT: Final = 2
"""Raised with every change of this string's layout."""

_DTYPES: Final = {str(dtype).removeprefix("torch."): dtype for dtype in DTYPES}

MAX_SLOTS: Final = 1024
"""Bounds what a hostile checkpoint can make a loader work through."""

_FieldT = TypeVar("_FieldT")


def render(config: PolicyConfig, tensors: Mapping[str, Tensor]) -> str:
    """The string for a policy with this configuration and these weights (contiguous, on the CPU)."""
    content = {
        "format": FORMAT,
        "policy": config.policy,
        "slot_ids": list(config.slot_config),
        "hidden_dim": config.hidden_dim,
        "frame_stack": config.frame_stack,
        "telemetry": config.telemetry,
        "dtype": str(config.dtype).removeprefix("torch."),
        "seed": config.seed,
        "schema": config.schema.hash,
        "action_space": action_space_hash(config.slot_config),
    }
    return json.dumps(content | {"sha256": digest(content, tensors)})


def parse(text: str, tensors: Mapping[str, Tensor]) -> PolicyConfig:
    """The configuration in the string of a checkpoint with these weights: on the CPU, uncompiled.

    Raises:
        CheckpointError: the string is malformed or of another format, string and weights do not belong together, or
            the policy was made for other features or actions than these packages have; names both sides.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"its metadata is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"its metadata is a JSON {type(content).__name__}, not an object")
    if (found := _take(content, "format", int)) != FORMAT:
        raise CheckpointError(f"it has format {found}, this version reads format {FORMAT}")
    recorded = _take(content, "sha256", str)
    actual = digest({key: value for key, value in content.items() if key != "sha256"}, tensors)
    if recorded != actual:
        raise CheckpointError(f"it is damaged: its SHA-256 is {actual[:12]}, {recorded[:12]} was recorded")
    dtype = _take(content, "dtype", str)
    if dtype not in _DTYPES:
        raise CheckpointError(f"its dtype is {_short(dtype)}, policies have {', '.join(_DTYPES)}")
    slot_ids = _take(content, "slot_ids", list)
    if len(slot_ids) > MAX_SLOTS:
        raise CheckpointError(f"it has {len(slot_ids)} slots, more than {MAX_SLOTS}")
    try:
        config = PolicyConfig(
            policy=_take(content, "policy", str),
            slot_config=SlotConfig(tuple(map(str, slot_ids))),
            hidden_dim=_take(content, "hidden_dim", int),
            frame_stack=_take(content, "frame_stack", int),
            telemetry=_take(content, "telemetry", bool),
            dtype=_DTYPES[dtype],
            seed=_take(content, "seed", int),
        )
    except CheckpointError:
        raise
    except ValueError as error:
        raise CheckpointError(f"its configuration is impossible: {_cut(str(error))}") from None
    _same("observation schema", _take(content, "schema", str), config.schema.hash)
    _same("action space", _take(content, "action_space", str), action_space_hash(config.slot_config))
    return config


def digest(content: Mapping[str, object], tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over the metadata and over every tensor's name, dtype, shape and bytes."""
    total = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        total.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        # Not through numpy, which torch can do without.
        total.update(ctypes.string_at(tensor.data_ptr(), tensor.nbytes))
    return total.hexdigest()


def _take(content: Mapping[str, object], key: str, kind: type[_FieldT]) -> _FieldT:
    if key not in content:
        raise CheckpointError(f"its metadata lacks {key!r}")
    value = content[key]
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise CheckpointError(f"its {key!r} is {_short(value)}, not of type {kind.__name__}")
    return value


def _same(what: str, theirs: str, ours: str) -> None:
    if theirs != ours:
        raise CheckpointError(f"it was made for {what} {theirs[:12]}, this version has {ours[:12]}")


def _short(value: object) -> str:
    """The value as Python writes it, as far as it is of use in a message."""
    return _cut(repr(value))


def _cut(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:200]} ... ({len(text)} characters)"
