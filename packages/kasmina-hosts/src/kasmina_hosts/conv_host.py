"""The convolutional host: three stages, each followed by a slot, and a pooled head."""

from typing import ClassVar, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kasmina_hosts.config import HostConfig


@final
class ConvStage(nn.Module):
    """relu(norm(conv(x))), the norm over all channels and positions of a sample.

    Args:
        in_channels, out_channels: of the activations.
        stride: 2 halves height and width.
        kernel: side of the convolution's kernel, odd.
        inner: channels that the convolution is squeezed through before a 1x1 convolution widens it again; 0: none.
        norm: whether there is a norm.
    """

    IN_A_ROW: ClassVar = (("conv", "widen"),)
    """Layers with nothing between them, which stacked hosts compute as one; see `stacked_layers`."""

    def __init__(
        self, in_channels: int, out_channels: int, *, stride: int, kernel: int, inner: int, norm: bool
    ) -> None:
        super().__init__()
        self.conv = _conv(in_channels, inner or out_channels, kernel, stride)
        self.widen = _conv(inner, out_channels, 1, 1) if inner else nn.Identity()
        self.norm = nn.GroupNorm(1, out_channels) if norm else nn.Identity()

    def forward(
        self, x: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch out_c rows columns"]:
        """From activations [batch, in_channels, H, W]."""
        activation: Tensor = self.norm(self.widen(self.conv(x))).relu()
        return activation


@final
class PooledHead(nn.Module):
    """Class logits from each channel's mean, normalised: the narrow host has little to go by, so there is room to grow.

    Without the norm any badly scaled activation is repaired by a norm in whatever slot, and there is nothing to decide.
    """

    def __init__(self, channels: int, num_classes: int, *, norm: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels) if norm else nn.Identity()
        self.linear = nn.Linear(channels, num_classes)

    def forward(self, x: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch num_classes"]:
        """From activations [batch, C, H, W]."""
        logits: Tensor = self.linear(self.norm(x.mean(dim=(-2, -1))))
        return logits


def conv_parts(in_channels: int, config: HostConfig, num_classes: int) -> list[nn.Module]:
    """The parts in order: three stages, each followed by a slot, and the head. The first stage halves the sides."""
    stages = [
        ConvStage(
            config.width if index else in_channels,
            config.width,
            stride=1 if index else 2,
            kernel=kernel,
            inner=inner,
            norm=norm,
        )
        for index, (kernel, inner, norm) in enumerate(
            zip(config.kernels, config.inner_widths, config.norms, strict=True)
        )
    ]
    return [*stages, PooledHead(config.width, num_classes, norm=config.head_norm)]


def _conv(in_channels: int, out_channels: int, kernel: int, stride: int) -> nn.Conv2d:
    conv = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, stride=stride)
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    conv.bias = nn.Parameter(torch.zeros(out_channels))
    return conv
