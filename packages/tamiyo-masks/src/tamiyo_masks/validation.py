"""Opt-in checks of masks and logits: they read values back from the device, so that hot paths leave them off."""

import os

import torch
from jaxtyping import Bool, Float
from torch import Tensor

VARIABLE = "TAMIYO_VALIDATE"


class InvalidStateMachineError(ValueError):
    """A state without a legal choice, or logits from which none can be made."""


def should_validate(wanted: bool | None) -> bool:
    """Whether to check: what was asked for, else the environment variable TAMIYO_VALIDATE; never while compiling.

    Raises:
        ValueError: the variable is neither 0 nor 1.
    """
    if torch.compiler.is_compiling():
        return False
    if wanted is not None:
        return wanted
    setting = os.environ.get(VARIABLE, "0")
    if setting not in ("0", "1"):
        raise ValueError(f"environment variable {VARIABLE} must be 0 or 1, not {setting!r}")
    return setting == "1"


def check_rows(
    what: str, logits: Float[Tensor, "*batch choice"], mask: Bool[Tensor, "*batch choice"]
) -> None:
    """Check that every row of a mask, which messages call `what`, can be drawn from.

    Raises:
        InvalidStateMachineError: naming the first row without a legal choice or with a legal logit that is not finite.
    """
    empty = ~mask.any(-1)
    if empty.any():
        raise InvalidStateMachineError(f"row {empty.nonzero()[0].tolist()} of `{what}` has no legal choice")
    broken = mask & ~logits.isfinite()
    if broken.any():
        place = broken.nonzero()[0].tolist()
        raise InvalidStateMachineError(
            f"legal logit of `{what}` at {place} is {float(logits[tuple(place)])}, not finite"
        )
