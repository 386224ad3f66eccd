"""Layers of many networks at once: what stands in for a layer of one network where its parameters are stacked.

Activations have the host axis in front, [host, sample, ...], and so have parameters. What computes without parameters
serves as it is. Samples lie last in memory, see `dense_convolution`: tokens are [host, sample, token, feature] for
everyone to see, and lie as [host, feature, token, sample].
"""

from copy import deepcopy
from typing import Any, Final, final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

from kasmina_hosts.dense_convolution import MAPS_DIM, Maps, StackedConv2d


@final
class StackedLinear(nn.Module):
    """The linear layers of many hosts.

    Attributes:
        weight: [host, out, in]; set from outside.
        bias: [host, out], or None.
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(self) -> None:
        super().__init__()
        self.bias = None

    def forward(self, x: Float[Tensor, "host *batch in"]) -> Float[Tensor, "host *batch out"]:
        """As `nn.Linear`, each host with its own."""
        inner = as_in_memory(x)
        rows = inner.flatten(2)
        if self.bias is None:
            found = torch.bmm(self.weight, rows)
        else:
            found = torch.baddbmm(self.bias[:, :, None], self.weight, rows)
        return as_seen(found.unflatten(2, inner.shape[2:]))


@final
class StackedLayerNorm(nn.Module):
    """The layer norms of many hosts, over the last axis.

    Attributes:
        weight, bias: [host, width]; set from outside.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, norm: nn.LayerNorm) -> None:
        super().__init__()
        self.eps = norm.eps

    def forward(
        self, x: Float[Tensor, "host sample *token width"]
    ) -> Float[Tensor, "host sample *token width"]:
        """As `nn.LayerNorm`, each host with its own."""
        inner = as_in_memory(x)
        normed: Tensor = _Norm.apply(inner.flatten(2)[:, :, None], self.weight, self.bias, self.eps)
        return as_seen(normed.view(inner.shape))


@final
class StackedSampleNorm(nn.Module):
    """The group norms of many hosts, each of one group: over all channels and positions of a sample.

    Attributes:
        weight, bias: [host, channel]; set from outside.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        self.eps = norm.eps

    def forward(self, x: Maps) -> Maps:
        """As `nn.GroupNorm`, each host with its own."""
        inner = as_in_memory(x)
        normed: Tensor = _Norm.apply(inner.flatten(2, 3), self.weight, self.bias, self.eps)
        return as_seen(normed.view(inner.shape))


class _Norm(torch.autograd.Function):
    """(x - mean) / sqrt(variance + eps) * weight + bias, the samples last in memory.

    The backward pass by hand takes half as many passes over the activations as that of the formula.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        x: Float[Tensor, "host channel place sample"],
        weight: Float[Tensor, "host channel"],
        bias: Float[Tensor, "host channel"],
        eps: float,
    ) -> Tensor:
        flat = x.flatten(1, 2)
        normed = flat - flat.mean(1, keepdim=True)
        scale = normed.square().mean(1, keepdim=True).add_(eps).rsqrt_()
        normed = normed.mul_(scale).view(x.shape)
        ctx.save_for_backward(normed, scale, weight)
        return (normed * weight[:, :, None, None]).add_(bias[:, :, None, None])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        normed, scale, weight = ctx.saved_tensors
        by_channel = gradient.sum(2)  # [host, channel, sample]
        scaled_by_channel = (gradient * normed).sum(2)
        # What the mean and the variance take back, of each sample.
        share = scale / (normed.shape[1] * normed.shape[2])
        mean = (weight[:, None] @ by_channel * share)[:, :, None]
        along = (weight[:, None] @ scaled_by_channel * share)[:, :, None]
        back = gradient * (weight[:, :, None] * scale)[:, :, None]
        back.addcmul_(normed, along, value=-1).sub_(mean)
        return back, scaled_by_channel.sum(2), by_channel.sum(2), None


def as_in_memory(x: Float[Tensor, "host sample *shape"]) -> Float[Tensor, "host *shape_sample"]:
    """Activations with their axes in the order in which they lie in memory.

    Maps, [host, sample, channel, row, column], as [host, channel, row, column, sample]; tokens and what is pooled,
    [host, sample, ..., feature], as [host, feature, ..., sample].
    """
    return x.movedim(1, -1) if x.dim() == MAPS_DIM else x.transpose(1, -1)


def as_seen(x: Float[Tensor, "host *shape_sample"]) -> Float[Tensor, "host sample *shape"]:
    """The inverse of `as_in_memory`."""
    return x.movedim(-1, 1) if x.dim() == MAPS_DIM else x.transpose(1, -1)


STACKED_LAYERS: Final = (StackedConv2d, StackedLinear, StackedLayerNorm, StackedSampleNorm)
"""What has stacked parameters in its attributes."""


def with_stacked_layers(module: nn.Module) -> tuple[nn.Module, dict[str, nn.Module]]:
    """A copy of a module with stacked layers in place of its own.

    Convolutions that a module's `IN_A_ROW` names, (first, second), become one layer.

    Returns:
        The copy, and its modules by name. Those of `STACKED_LAYERS`, and others that held parameters of their own, lack
        those parameters: they are to be set as attributes.

    Raises:
        ValueError: a layer of `torch.nn` with parameters that has no stacked form.
    """
    root = nn.ModuleDict({"module": deepcopy(module)})
    for parent in list(root.modules()):
        for name, child in parent.named_children():
            parent.add_module(name, _stacked(child))
    found = root["module"]
    holders = dict(found.named_modules())
    for holder in holders.values():
        for name, _ in list(holder.named_parameters(recurse=False)):
            if type(holder).__module__.startswith("torch.nn."):
                raise ValueError(f"there is no stacked form of {holder}, which has parameters")
            delattr(holder, name)
        for first, second in getattr(holder, "IN_A_ROW", ()):
            _join(holder, first, second)
    return found, holders


def _stacked(layer: nn.Module) -> nn.Module:
    match layer:
        case nn.Conv2d():
            return StackedConv2d(layer)
        case nn.Linear():
            return StackedLinear()
        case nn.LayerNorm() if len(layer.normalized_shape) == 1 and layer.bias is not None:
            return StackedLayerNorm(layer)
        case nn.GroupNorm() if layer.num_groups == 1 and layer.affine:
            return StackedSampleNorm(layer)
    return layer


def _join(module: nn.Module, first: str, second: str) -> None:
    """Have the second of two convolutions computed by the first, if there is a second."""
    convolution, after = getattr(module, first), getattr(module, second)
    if isinstance(convolution, StackedConv2d) and isinstance(after, StackedConv2d):
        convolution.after = after
        setattr(module, second, nn.Identity())
