"""Seeds of convolutional networks: each is one module, [batch, C, H, W] -> same shape."""

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

Maps = Float[Tensor, "batch channel height width"]


@final
class NormSeed(nn.Module):
    """x + gain * norm(x), the normalisation being over all channels and positions of a sample: 2C + 1 parameters."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, channels)
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, x: Maps) -> Maps:
        """Same shape in and out."""
        changed: Tensor = x + self.gain[..., None, None, None] * self.norm(x)
        return changed


@final
class ConvSeed(nn.Module):
    """x + relu(norm(conv(x))): k^2 C^2 + 2C parameters. Nothing starts at zero before the ReLU, so all of it learns."""

    def __init__(self, channels: int, *, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, bias=False)
        self.norm = nn.GroupNorm(1, channels)

    def forward(self, x: Maps) -> Maps:
        """Same shape in and out."""
        changed: Tensor = x + self.norm(self.conv(x)).relu()
        return changed


@final
class DepthwiseSeed(nn.Module):
    """x + relu(norm(conv1x1(depthwise3x3(x)))): C^2 + 11C parameters.

    F. Chollet, Xception: Deep Learning with Depthwise Separable Convolutions, https://arxiv.org/abs/1610.02357
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.pointwise = nn.Conv2d(channels, channels, 1, bias=False)
        self.norm = nn.GroupNorm(1, channels)

    def forward(self, x: Maps) -> Maps:
        """Same shape in and out."""
        changed: Tensor = x + self.norm(self.pointwise(self.depthwise(x))).relu()
        return changed


@final
class BottleneckSeed(nn.Module):
    """x + norm(conv1x1(silu(conv3x3(silu(conv1x1(x)))))) by way of b = max(8, C/4) channels.

    2bC + 9b^2 + 2C parameters.

    K. He et al., Deep Residual Learning for Image Recognition, https://arxiv.org/abs/1512.03385, with one normalisation
    only; the SiLU keeps a channel alive that a ReLU could shut for good.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        narrow = max(8, channels // 4)
        self.down = nn.Conv2d(channels, narrow, 1, bias=False)
        self.conv = nn.Conv2d(narrow, narrow, 3, padding=1, bias=False)
        self.up = nn.Conv2d(narrow, channels, 1, bias=False)
        self.norm = nn.GroupNorm(1, channels)

    def forward(self, x: Maps) -> Maps:
        """Same shape in and out."""
        inside = nn.functional.silu(self.conv(nn.functional.silu(self.down(x))))
        changed: Tensor = x + self.norm(self.up(inside))
        return changed


@final
class ConvHeavySeed(nn.Module):
    """x + relu(norm(conv3x3(relu(norm(conv3x3(x)))))): 18C^2 + 4C parameters."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.first_norm = nn.GroupNorm(1, channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.second_norm = nn.GroupNorm(1, channels)

    def forward(self, x: Maps) -> Maps:
        """Same shape in and out."""
        inside = self.first_norm(self.first(x)).relu()
        changed: Tensor = x + self.second_norm(self.second(inside)).relu()
        return changed


@final
class SqueezeExciteSeed(nn.Module):
    """2x sigmoid(W2 silu(W1 mean(x)) + b), each channel scaled by what all of them show: C^2/2 + C parameters if 4 | C.

    J. Hu et al., Squeeze-and-Excitation Networks, https://arxiv.org/abs/1709.01507, r = 4. The 2 makes it start as
    about the identity.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = max(1, channels // 4)
        self.squeeze = nn.Linear(channels, squeezed, bias=False)
        self.excite = nn.Linear(squeezed, channels)

    def forward(self, x: Maps) -> Maps:
        """Same shape in and out."""
        scale = self.excite(nn.functional.silu(self.squeeze(x.mean(dim=(-2, -1))))).sigmoid()
        changed: Tensor = 2 * x * scale[..., None, None]
        return changed
