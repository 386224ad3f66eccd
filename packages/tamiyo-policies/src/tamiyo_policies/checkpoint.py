"""Policies on disk: safetensors with one JSON string of metadata. Nothing in a file is ever executed."""

import os
from collections.abc import Mapping
from dataclasses import replace
from io import BufferedIOBase, BytesIO
from pathlib import Path
from typing import Final, NamedTuple

import torch
from torch import Tensor

from leyline_types import MAX_FILE_BYTES, FileRefusedError, brief, open_file, printable
from tamiyo_features import (
    NormalizerError,
    NormalizerState,
    fits_schema,
    init_normalizer,
    normalizer_from_tensors,
    normalizer_to_tensors,
)
from tamiyo_policies.checkpoint_metadata import check_digest, parse, render
from tamiyo_policies.config import CompileMode, PolicyConfig
from tamiyo_policies.errors import (
    CheckpointError,
    PolicyContractError,
    TensorFileError,
    UnknownPolicyError,
)
from tamiyo_policies.factory import create_policy
from tamiyo_policies.protocol import PolicyBundle
from tamiyo_policies.registry import get_policy, registered_policy
from tamiyo_policies.tensor_files import DeclaredTensor, read_header, read_tensors, to_bytes

_METADATA: Final = "tamiyo"
_MAX_HEADER_BYTES: Final = 2**20
"""Far more than a policy of 1,024 slots has; parsed, JSON takes 20 times its length."""
_MAX_FAULTS: Final = 40
_NORMALIZER: Final = "normalizer:"  # before the names of its tensors, beside those of the policy


class Checkpoint(NamedTuple):
    """What a file holds: a policy, and the normaliser of its features if it was trained with one."""

    policy: PolicyBundle
    normalizer: NormalizerState | None


def save_policy(
    bundle: PolicyBundle, path: str | os.PathLike[str], *, normalizer: NormalizerState | None = None
) -> None:
    """Write a policy's weights and configuration. The file appears whole or, if anything fails, not at all.

    A compiled policy and an uncompiled one leave the same file.

    Args:
        bundle: the policy.
        path: the file; one that exists is replaced.
        normalizer: of the features that the policy was trained on, if they were normalised.

    Raises:
        CheckpointError: see `policy_to_bytes`.
        OSError: the folder is missing or cannot be written to.
    """
    _write_whole(Path(path), policy_to_bytes(bundle, normalizer=normalizer))


def policy_to_bytes(bundle: PolicyBundle, *, normalizer: NormalizerState | None = None) -> bytes:
    """What `save_policy` writes, for another process; `checkpoint_from_bytes` reads it.

    Args:
        bundle, normalizer: see `save_policy`.

    Raises:
        CheckpointError: the normaliser is for other features than the policy's, or frozen; or the policy is of another
            class than the one under its name, and would come back as that; or a tensor holds NaN or infinity, which no
            loader takes.
    """
    kind = bundle.config.policy
    if (due := registered_policy(kind)) not in (None, type(bundle)):
        raise CheckpointError(f"{type(bundle)} whose config names policy {kind!r} would come back as {due}")
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in bundle.state_dict().items()}
    if normalizer is not None:
        if not fits_schema(normalizer, bundle.config.schema):
            raise CheckpointError(
                f"`normalizer` ({len(normalizer.gate)} features) is for other features than the policy's "
                f"{bundle.feature_dim}, of slots {', '.join(bundle.slot_config)}"
            )
        try:
            saved = normalizer_to_tensors(normalizer)
        except NormalizerError as error:
            raise CheckpointError(f"`normalizer` cannot be saved: {error}") from None
        tensors |= {_NORMALIZER + name: each for name, each in saved.items()}
    _check_finite(tensors)
    return to_bytes(tensors, {_METADATA: render(bundle.config, tensors)})


def load_policy(
    path: str | os.PathLike[str],
    *,
    device: torch.device | str = "cpu",
    compile_mode: CompileMode = CompileMode.OFF,
    max_bytes: int = MAX_FILE_BYTES,
) -> PolicyBundle:
    """The policy in a file that `save_policy` wrote without a normaliser.

    Args and errors are those of `load_checkpoint`.

    Raises:
        CheckpointError: also where the file holds a normaliser, without which the policy is not what was trained.
    """
    policy, normalizer = load_checkpoint(path, device=device, compile_mode=compile_mode, max_bytes=max_bytes)
    if normalizer is not None:
        raise CheckpointError(
            f"checkpoint {printable(path)} holds a normaliser of the policy's features; "
            "load_checkpoint and load_controller give both"
        )
    return policy


def load_checkpoint(
    path: str | os.PathLike[str],
    *,
    device: torch.device | str = "cpu",
    compile_mode: CompileMode = CompileMode.OFF,
    max_bytes: int = MAX_FILE_BYTES,
) -> Checkpoint:
    """All that a file of `save_policy` holds; the policy is of the class that is registered under its name here.

    Names, dtypes and shapes that the file declares are held against the policy of its configuration, built without
    memory, before a tensor is read.

    Args:
        path: the file.
        device: where the policy is to live, wherever it lived when it was saved.
        compile_mode: whether and how to compile it.
        max_bytes: the largest file that is read.

    Raises:
        CheckpointError: the file is missing, no regular one, larger than `max_bytes`, damaged or made for something
            else, or holds NaN or infinity; names both sides. No policy is made.
    """
    try:
        with open_file(path, max_bytes=max_bytes) as file:
            size = os.fstat(file.fileno()).st_size
            return _load(file, size, device=device, compile_mode=compile_mode)
    except FileRefusedError as error:
        raise CheckpointError(f"checkpoint {error}") from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise CheckpointError(
            f"checkpoint {printable(path)} cannot be used: it cannot be read: {reason}"
        ) from error
    except CheckpointError as error:
        raise CheckpointError(f"checkpoint {printable(path)} cannot be used: {error}") from error.__cause__


def checkpoint_from_bytes(
    content: bytes,
    *,
    device: torch.device | str = "cpu",
    compile_mode: CompileMode = CompileMode.OFF,
    max_bytes: int = MAX_FILE_BYTES,
) -> Checkpoint:
    """All that `policy_to_bytes` or a file of `save_policy` holds.

    Args:
        content: of the file.
        device, compile_mode, max_bytes: see `load_checkpoint`.

    Raises:
        CheckpointError: it is larger than `max_bytes`, damaged or made for something else, or holds NaN or infinity;
            names both sides. No policy is made.
    """
    if len(content) > max_bytes:
        raise CheckpointError(f"it has {len(content)} bytes, more than the limit of {max_bytes}")
    return _load(BytesIO(content), len(content), device=device, compile_mode=compile_mode)


def _load(
    file: BufferedIOBase, size: int, *, device: torch.device | str, compile_mode: CompileMode
) -> Checkpoint:
    try:
        header = read_header(file, size, max_header_bytes=_MAX_HEADER_BYTES)
        if _METADATA not in header.metadata:
            raise TensorFileError(f"its metadata lacks {_METADATA!r}")
        description = parse(header.metadata[_METADATA])
        _check_fit(description.config, header.tensors)
        tensors = read_tensors(file, header)
    except (TensorFileError, RecursionError) as error:  # the latter of a value too nested to be quoted
        raise CheckpointError(f"it is damaged or no policy ({error})") from None
    check_digest(description, tensors)
    _check_finite(tensors)
    config = replace(description.config, device=str(device), compile_mode=compile_mode)
    weights = {name: each for name, each in tensors.items() if not name.startswith(_NORMALIZER)}
    saved = {name.removeprefix(_NORMALIZER): tensors[name] for name in tensors.keys() - weights.keys()}
    normalizer = _read_normalizer(saved, config) if saved else None
    return Checkpoint(create_policy(config, weights=weights), normalizer)


def _check_fit(config: PolicyConfig, declared: Mapping[str, DeclaredTensor]) -> None:
    """Hold what a file declares against what it must hold, which is built without memory: absurd sizes cost nothing."""
    try:
        policy_class = get_policy(config.policy)
    except (UnknownPolicyError, PolicyContractError) as error:
        raise CheckpointError(" ".join(str(error).split())) from error
    except (ImportError, AttributeError) as error:
        raise CheckpointError(f"policy {config.policy!r} cannot be imported: {error}") from error
    try:
        with torch.device("meta"):
            due = policy_class(config).state_dict()
    except ValueError as error:
        raise CheckpointError(f"its configuration is impossible: {error}") from error
    dtypes = {name: config.dtype if each.is_floating_point() else each.dtype for name, each in due.items()}
    if any(name.startswith(_NORMALIZER) for name in declared):
        fresh = normalizer_to_tensors(init_normalizer(config.slot_config, telemetry=config.telemetry))
        due |= {_NORMALIZER + name: each for name, each in fresh.items()}
        dtypes |= {_NORMALIZER + name: each.dtype for name, each in fresh.items()}
    faults = [f"{name} is missing" for name in due.keys() - declared.keys()]
    faults += [f"{brief(name)} is unknown" for name in declared.keys() - due.keys()]
    for name in due.keys() & declared.keys():
        found, dtype, shape = declared[name], dtypes[name], tuple(due[name].shape)
        if (found.shape, found.dtype) != (shape, dtype):
            faults.append(f"{name} is {found.dtype} {found.shape}, the policy's is {dtype} {shape}")
    if faults:
        more = f"; and {len(faults) - _MAX_FAULTS} more" if len(faults) > _MAX_FAULTS else ""
        raise CheckpointError(f"its weights do not fit: {'; '.join(sorted(faults)[:_MAX_FAULTS])}{more}")


def _check_finite(tensors: Mapping[str, Tensor]) -> None:
    for name in sorted(tensors):
        tensor = tensors[name]
        if tensor.is_floating_point() and tensor.numel() > 0:
            lowest, highest = tensor.aminmax()  # both NaN if one value is
            if not lowest.isfinite() or not highest.isfinite():
                bad = int((~tensor.isfinite()).sum())
                raise CheckpointError(
                    f"its {name} holds {bad} values of {tensor.numel()} that are NaN or infinite"
                )


def _read_normalizer(tensors: Mapping[str, Tensor], config: PolicyConfig) -> NormalizerState:
    try:
        return normalizer_from_tensors(
            tensors, config.slot_config, telemetry=config.telemetry, device=config.device
        )
    except NormalizerError as error:
        raise CheckpointError(str(error)) from None


def _write_whole(path: Path, content: bytes) -> None:
    """Replace the file in one step that a crash cannot halve."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
