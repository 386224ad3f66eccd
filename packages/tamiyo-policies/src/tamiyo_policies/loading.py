"""Any controller by one string: a checkpoint, a run's folder or a name."""

import os
from pathlib import Path
from stat import S_ISDIR
from typing import Any, Final

import torch
from torch import Tensor

from leyline_types import MAX_FILE_BYTES, Controller, LegalityRules, SlotConfig, printable
from tamiyo_policies.checkpoint import load_checkpoint
from tamiyo_policies.controllers import PolicyController, RandomController, WaitController
from tamiyo_policies.errors import CheckpointError, UnknownPolicyError
from tamiyo_policies.heuristic import HeuristicController

CHECKPOINT_NAME: Final = "checkpoint.safetensors"
"""The policy's file in a run's folder."""

CONTROLLER_NAMES: Final = ("heuristic", "random", "wait")

_DEFAULT_RULES = LegalityRules()


def load_controller(
    path_or_name: str | os.PathLike[str],
    *,
    slot_config: SlotConfig | None = None,
    deterministic: bool = False,
    seed: int = 0,
    rules: LegalityRules = _DEFAULT_RULES,
    device: torch.device | str = "cpu",
    max_bytes: int = MAX_FILE_BYTES,
) -> Controller[Tensor, Any]:
    """The controller that a checkpoint, the folder of a run or one of `CONTROLLER_NAMES` stands for.

    A name wins over a file of the same name; write "./random" for the file. The type of a controller's memory depends
    on what was loaded, which only the caller's string decides: hence the `Any`.

    Args:
        path_or_name: a file that `save_policy` wrote, a folder with such a file named `CHECKPOINT_NAME`, or a name.
        slot_config: the slots to act on; None takes a checkpoint's own, and `SlotConfig.default()` for a name.
        deterministic: a policy takes the most probable legal action instead of a sample.
        seed: of samples.
        rules: what is legal.
        device: where a policy lives.
        max_bytes: the largest checkpoint that is read.

    Raises:
        UnknownPolicyError: neither a name nor a path that exists.
        CheckpointError: the checkpoint cannot be used, or is for other slots than `slot_config`.
    """
    if path_or_name in CONTROLLER_NAMES:
        slots = SlotConfig.default() if slot_config is None else slot_config
        match path_or_name:
            case "heuristic":
                return HeuristicController(slots, rules=rules)
            case "random":
                return RandomController(slots, seed=seed, rules=rules)
            case _:
                return WaitController()
    path = _checkpoint_of(path_or_name)
    bundle, normalizer = load_checkpoint(path, device=device, max_bytes=max_bytes)
    if slot_config is not None and slot_config != bundle.slot_config:
        raise CheckpointError(
            f"the policy in {printable(path_or_name)} acts on slots {', '.join(bundle.slot_config)}, "
            f"not on {', '.join(slot_config)}"
        )
    return PolicyController(
        bundle, deterministic=deterministic, seed=seed, rules=rules, normalizer=normalizer
    )


def _checkpoint_of(path_or_name: str | os.PathLike[str]) -> Path:
    """The file that a path stands for: itself, or that of a run's folder."""
    path = Path(path_or_name)
    try:
        is_folder = S_ISDIR(path.stat().st_mode)
    except (OSError, ValueError) as error:  # ValueError: a NUL or a lone surrogate, which no path can hold
        why = "" if isinstance(error, FileNotFoundError) else f" ({getattr(error, 'strerror', error)})"
        raise UnknownPolicyError(
            f"{os.fspath(path_or_name)!r} is no file or folder{why}, and no controller; "
            f"controllers are {', '.join(CONTROLLER_NAMES)}"
        ) from None
    return path / CHECKPOINT_NAME if is_folder else path
