"""The default host: a small convolutional network with a slot after each of its three stages."""

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn


@final
class ConvStage(nn.Module):
    """relu(conv3x3(x) + b); with stride 2 at half the height and width."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1, stride=stride)
        nn.init.kaiming_normal_(self.conv.weight, nonlinearity="relu")
        self.conv.bias = nn.Parameter(torch.zeros(out_channels))

    def forward(
        self, x: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch out_c rows columns"]:
        """From activations [batch, in_channels, H, W]."""
        activation: Tensor = self.conv(x).relu()
        return activation


@final
class PooledHead(nn.Module):
    """Class logits from each channel's mean: the narrow host has little to go by, which leaves room to grow."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, num_classes)

    def forward(self, x: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch num_classes"]:
        """From activations [batch, C, H, W]."""
        logits: Tensor = self.linear(x.mean(dim=(-2, -1)))
        return logits


def conv_parts(in_channels: int, width: int, num_classes: int) -> list[nn.Module]:
    """The parts in order: three stages, each followed by a slot, and the head."""
    return [
        ConvStage(in_channels, width, stride=2),
        ConvStage(width, width, stride=1),
        ConvStage(width, width, stride=1),
        PooledHead(width, num_classes),
    ]


def conv_size(in_channels: int, width: int, num_classes: int) -> int:
    """Parameters of `conv_parts`, counted without building them: 18W^2 + (9C + 3 + K)W + K."""
    stages = (9 * in_channels + 1) * width + 2 * (9 * width + 1) * width
    return stages + (width + 1) * num_classes
