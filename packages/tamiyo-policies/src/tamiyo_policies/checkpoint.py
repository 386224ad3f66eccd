"""Policies on disk: safetensors with one JSON string of metadata. Nothing in a file is ever executed."""

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

import torch
from safetensors import SafetensorError, TensorSpec, serialize
from safetensors.torch import load as load_tensors
from torch import Tensor

from leyline_types import SlotConfig
from tamiyo_features import (
    NormalizerError,
    NormalizerState,
    fits_schema,
    normalizer_from_tensors,
    normalizer_to_tensors,
)
from tamiyo_policies.checkpoint_metadata import parse, render
from tamiyo_policies.config import CompileMode, PolicyConfig
from tamiyo_policies.errors import CheckpointError, PolicyContractError, UnknownPolicyError
from tamiyo_policies.factory import create_policy
from tamiyo_policies.protocol import PolicyBundle
from tamiyo_policies.registry import get_policy, registered_policy

_METADATA: Final = "tamiyo"
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
            class than the one under its name, and would come back as that.
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
    return to_bytes(tensors, {_METADATA: render(bundle.config, tensors)})


def load_policy(
    path: str | os.PathLike[str],
    *,
    device: torch.device | str = "cpu",
    compile_mode: CompileMode = CompileMode.OFF,
) -> PolicyBundle:
    """The policy in a file that `save_policy` wrote without a normaliser.

    Args and errors are those of `load_checkpoint`.

    Raises:
        CheckpointError: also where the file holds a normaliser, without which the policy is not what was trained.
    """
    policy, normalizer = load_checkpoint(path, device=device, compile_mode=compile_mode)
    if normalizer is not None:
        raise CheckpointError(
            f"checkpoint {os.fspath(path)} holds a normaliser of the policy's features; "
            "load_checkpoint and load_controller give both"
        )
    return policy


def load_checkpoint(
    path: str | os.PathLike[str],
    *,
    device: torch.device | str = "cpu",
    compile_mode: CompileMode = CompileMode.OFF,
) -> Checkpoint:
    """All that a file of `save_policy` holds; the policy is of the class that is registered under its name here.

    Args:
        path: the file.
        device: where the policy is to live, wherever it lived when it was saved.
        compile_mode: whether and how to compile it.

    Raises:
        CheckpointError: the file is missing, damaged or made for something else; names both sides. No policy is made.
    """
    try:
        return checkpoint_from_bytes(_read(Path(path)), device=device, compile_mode=compile_mode)
    except CheckpointError as error:
        raise CheckpointError(f"checkpoint {os.fspath(path)} cannot be used: {error}") from error.__cause__


def checkpoint_from_bytes(
    content: bytes, *, device: torch.device | str = "cpu", compile_mode: CompileMode = CompileMode.OFF
) -> Checkpoint:
    """All that `policy_to_bytes` or a file of `save_policy` holds.

    Args:
        content: of the file.
        device, compile_mode: see `load_checkpoint`.

    Raises:
        CheckpointError: it is damaged or made for something else; names both sides. No policy is made.
    """
    tensors, text = _parse(content)
    config = parse(text, tensors)
    weights = {name: each for name, each in tensors.items() if not name.startswith(_NORMALIZER)}
    _check_fit(config, weights)
    saved = {name.removeprefix(_NORMALIZER): tensors[name] for name in tensors.keys() - weights.keys()}
    normalizer = _read_normalizer(saved, config.slot_config, config.telemetry, device)
    policy = create_policy(replace(config, device=str(device), compile_mode=compile_mode), weights=weights)
    return Checkpoint(policy, normalizer)


def to_bytes(tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> bytes:
    """A safetensors file of these tensors (contiguous, on the CPU). `safetensors.torch.save` would need numpy."""
    specs = {
        name: TensorSpec(
            dtype=str(tensor.dtype).removeprefix("torch."),
            shape=tensor.shape,
            data_ptr=tensor.data_ptr(),
            data_len=tensor.nbytes,
        )
        for name, tensor in tensors.items()
    }
    return serialize(specs, metadata)


def _read(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():  # reading a pipe might never end
            raise CheckpointError("it cannot be read: it is no regular file")
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"it cannot be read: {error.strerror}") from error


def _parse(content: bytes) -> tuple[dict[str, Tensor], str]:
    """The tensors and the metadata string."""
    try:
        tensors = load_tensors(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        return tensors, header["__metadata__"][_METADATA]
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"it is damaged or no policy ({error})") from error


def _check_fit(config: PolicyConfig, tensors: dict[str, Tensor]) -> None:
    """Hold the weights against the policy's, built without memory: an absurd width costs nothing."""
    try:
        policy_class = get_policy(config.policy)
    except (UnknownPolicyError, PolicyContractError) as error:
        raise CheckpointError(str(error)) from error
    except ImportError as error:
        raise CheckpointError(f"policy {config.policy!r} cannot be imported: {error}") from error
    try:
        with torch.device("meta"):
            due = policy_class(config).state_dict()
    except ValueError as error:
        raise CheckpointError(f"its configuration is impossible: {error}") from error
    faults = [f"{name} is missing" for name in due.keys() - tensors.keys()]
    faults += [f"{name} is unknown" for name in tensors.keys() - due.keys()]
    for name in due.keys() & tensors.keys():
        found = tensors[name]
        dtype = config.dtype if due[name].is_floating_point() else due[name].dtype
        if (found.shape, found.dtype) != (due[name].shape, dtype):
            faults.append(
                f"{name} is {found.dtype} {tuple(found.shape)}, the policy's is {dtype} {tuple(due[name].shape)}"
            )
    if faults:
        raise CheckpointError(f"its weights do not fit: {'; '.join(sorted(faults))}")


def _read_normalizer(
    tensors: Mapping[str, Tensor], slot_config: SlotConfig, telemetry: bool, device: torch.device | str
) -> NormalizerState | None:
    if not tensors:
        return None
    try:
        return normalizer_from_tensors(tensors, slot_config, telemetry=telemetry, device=device)
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
