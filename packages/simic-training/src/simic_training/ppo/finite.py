"""The gate before every gradient step: nothing that is NaN or infinite passes."""

import torch
from torch import Tensor


class NonFiniteLossError(ArithmeticError):
    """An input or the value of the loss is NaN or infinite; the step that it would have spoilt was not taken."""


def check_finite(**tensors: Tensor) -> None:
    """Check what a gradient step is about to use.

    Raises:
        NonFiniteLossError: naming every tensor with a NaN or infinite entry, and how many it has.
    """
    if torch.stack([tensor.isfinite().all() for tensor in tensors.values()]).all():
        return  # asked once for all of them: each answer would have to come from the device
    bad = {name: int((~tensor.isfinite()).sum()) for name, tensor in tensors.items()}
    found = [f"{name} ({count} of {tensors[name].numel()} entries)" for name, count in bad.items() if count]
    raise NonFiniteLossError(f"not finite: {', '.join(found)}")
