"""The JSON string in a checkpoint: what the policy is, what it was made for, and a digest of the whole."""

import ctypes
import hashlib
import json
from collections.abc import Mapping
from typing import Final, NamedTuple, TypeVar

from torch import Tensor

from leyline_types import SlotConfig, action_space_hash, brief
from tamiyo_policies.config import DTYPES, PolicyConfig
from tamiyo_policies.errors import CheckpointError, TensorFileError
from tamiyo_policies.tensor_files import parse_object

FORMAT: Final = 2
"""Raised with every change of this string's layout."""

_DTYPES: Final = {str(dtype).removeprefix("torch."): dtype for dtype in DTYPES}

MAX_SLOTS: Final = 1024
MAX_NAME: Final = 100
"""Bound what a hostile checkpoint can make a loader work through: slots, and letters of a name."""

_FieldT = TypeVar("_FieldT")


class Description(NamedTuple):
    """What the string of a checkpoint says.

    Args:
        config: of the policy, on the CPU, uncompiled.
        content: all of it but the digest.
        sha256: the digest.
    """

    config: PolicyConfig
    content: dict[str, object]
    sha256: str


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


def parse(text: str) -> Description:
    """What the string of a checkpoint says; `check_digest` holds it against the tensors once they are read.

    Raises:
        CheckpointError: the string is malformed or of another format, or the policy was made for other features or
            actions than these packages have; names both sides.
    """
    try:
        content = parse_object(text, "its metadata")
    except TensorFileError as error:
        raise CheckpointError(str(error)) from None
    if (found := _take(content, "format", int)) != FORMAT:
        raise CheckpointError(f"it has format {brief(repr(found))}, this version reads format {FORMAT}")
    recorded = _take(content, "sha256", str)
    dtype = _take(content, "dtype", str)
    if dtype not in _DTYPES:
        raise CheckpointError(f"its dtype is {brief(repr(dtype))}, policies have {', '.join(_DTYPES)}")
    policy, slot_ids = _take(content, "policy", str), _take(content, "slot_ids", list)
    if len(slot_ids) > MAX_SLOTS:
        raise CheckpointError(f"it has {len(slot_ids)} slots, more than {MAX_SLOTS}")
    for name in (policy, *slot_ids):
        if not isinstance(name, str) or len(name) > MAX_NAME:
            raise CheckpointError(f"{brief(repr(name))} is no name of a policy or a slot")
    try:
        config = PolicyConfig(
            policy=policy,
            slot_config=SlotConfig(tuple(slot_ids)),
            hidden_dim=_take(content, "hidden_dim", int),
            frame_stack=_take(content, "frame_stack", int),
            telemetry=_take(content, "telemetry", bool),
            dtype=_DTYPES[dtype],
            seed=_take(content, "seed", int),
        )
    except CheckpointError:
        raise
    except ValueError as error:
        raise CheckpointError(f"its configuration is impossible: {brief(str(error))}") from None
    _same("observation schema", _take(content, "schema", str), config.schema.hash)
    _same("action space", _take(content, "action_space", str), action_space_hash(config.slot_config))
    return Description(config, {key: value for key, value in content.items() if key != "sha256"}, recorded)


def check_digest(description: Description, tensors: Mapping[str, Tensor]) -> None:
    """That string and tensors belong together, as they were saved.

    Raises:
        CheckpointError: they do not.
    """
    actual = digest(description.content, tensors)
    if description.sha256 != actual:
        raise CheckpointError(
            f"it is damaged: its SHA-256 is {actual[:12]}, {brief(description.sha256[:12])} was recorded"
        )


def digest(content: Mapping[str, object], tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over the metadata and over every tensor's name, dtype, shape and bytes."""
    total = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        total.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        # The tensor's own memory: not through numpy, which torch can do without, and not a copy.
        total.update((ctypes.c_char * tensor.nbytes).from_address(tensor.data_ptr()))
    return total.hexdigest()


def _take(content: Mapping[str, object], key: str, kind: type[_FieldT]) -> _FieldT:
    if key not in content:
        raise CheckpointError(f"its metadata lacks {key!r}")
    value = content[key]
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise CheckpointError(f"its {key!r} is {brief(repr(value))}, not of type {kind.__name__}")
    return value


def _same(what: str, theirs: str, ours: str) -> None:
    if theirs != ours:
        raise CheckpointError(f"it was made for {what} {brief(theirs[:12])}, this version has {ours[:12]}")
