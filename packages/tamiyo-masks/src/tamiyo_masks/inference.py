"""Tensors of inference mode among those that autograd works with."""

from typing import overload

import torch
from torch import Tensor


@overload
def ordinary(tensor: Tensor) -> Tensor: ...
@overload
def ordinary(tensor: Tensor | None) -> Tensor | None: ...
def ordinary(tensor: Tensor | None) -> Tensor | None:
    """The tensor itself, or, where it was made in inference mode and that is over, a copy that autograd can save.

    What a rollout made (actions, masks, floors) meets logits with gradients in learning, and the backward pass keeps
    indices and conditions: of inference tensors it says "Inference tensors cannot be saved for backward". In compiled
    code, where a tensor cannot be asked, it is the tensor itself.

    >>> with torch.inference_mode():
    ...     index = torch.tensor([[1]])
    >>> torch.zeros(1, 2, requires_grad=True).gather(-1, ordinary(index)).requires_grad
    True
    """
    if tensor is None or torch.compiler.is_compiling():
        return tensor
    if not tensor.is_inference() or torch.is_inference_mode_enabled():
        return tensor
    return tensor.clone()
