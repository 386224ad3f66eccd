"""Convolutions of many networks at once, as batched products of matrices.

For E hosts with weights of their own the library has grouped convolutions, which are slow with few channels per group.
One batched product is near the processor's peak, if the samples come last in memory: activations are
[host, sample, channel, row, column] for everyone to see, and lie as [host, channel, row, column, sample]. Then every
row of a matrix is long, and the output of one product is the input of the next without a copy.
"""

from functools import lru_cache
from typing import Final, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

MAX_ENTRIES: Final = 40_000
"""Of T. Measured, 32 hosts of 64 samples, forward and backward, against the grouped convolution: 4 channels of 4 x 4 in
2.1 ms, not 14; 12 channels in 15, not 28; 16 channels (65 536 entries), for which there is a faster grouped kernel, in
28, not 16; 4 channels of 14 x 14 would be slower still."""
MAX_ROWS: Final = 32
"""Most taps that an output sees, over all channels, for a strided convolution to lay them out. Those are of the images,
whither no gradient goes: 1 channel of 8 x 8 in 0.8 ms, by T in 1.3, grouped in 8.7; 28 x 28 in 15, not 33."""

Maps = Float[Tensor, "host sample channel row column"]
MAPS_DIM: Final = 5


@final
class StackedConv2d(nn.Module):
    """The convolutions of many hosts.

    Three products, each where it is fastest: that of 1x1 kernels as it is; small maps, x T with a doubly blocked
    Toeplitz matrix T whose entries are weights or zero; few channels, with what each output sees laid out beside each
    other (im2col). All else is a grouped convolution.

    Args:
        conv: one of them: zeros for padding, no dilation, equal sides.

    Raises:
        ValueError: it is not as described.

    Attributes:
        weight: [host, out_c, in_c / groups, kernel, kernel]; set from outside.
        bias: [host, out_c], or None.
        after: a 1x1 convolution that nothing but this one's output goes into: both are one product.
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        pairs = (conv.kernel_size, conv.stride, conv.padding)
        plain = conv.padding_mode == "zeros" and conv.dilation == (1, 1)
        if not plain or any(isinstance(pair, str) or pair[0] != pair[1] for pair in pairs):
            raise ValueError(
                f"a host's convolution must have equal sides, zeros around and no dilation, not {conv}"
            )
        self.groups = conv.groups
        self.kernel, self.stride, self.padding = conv.kernel_size[0], conv.stride[0], int(conv.padding[0])
        self.after: StackedConv2d | None = None
        self.bias = None

    @property
    def pointwise(self) -> bool:
        """Whether each position of the output sees that of the input alone."""
        return self.kernel == self.stride == 1 and not self.padding

    def forward(self, x: Maps) -> Maps:
        """As `nn.Conv2d`, each host with its own."""
        weight, bias = self.weight, self.bias
        if self.after is not None:
            weight, bias = _composed(weight, bias, self.after)
        hosts, samples, channels, height, width = x.shape
        rows, columns = (
            (size + 2 * self.padding - self.kernel) // self.stride + 1 for size in (height, width)
        )
        parts, taps = hosts * self.groups, self.kernel**2
        repeats, matrix = 1, weight.reshape(parts, -1, channels // self.groups, taps)
        inner = x.movedim(1, -1)
        entries = matrix.shape[1] * rows * columns * matrix.shape[2] * height * width
        if self.pointwise:
            matrix, seen = matrix.flatten(2), inner.reshape(parts, matrix.shape[2], -1)
        elif self.stride > 1 and matrix.shape[2] * taps <= MAX_ROWS:
            matrix, seen = matrix.flatten(2), self._columns(inner).reshape(parts, matrix.shape[2] * taps, -1)
        elif entries <= MAX_ENTRIES:
            places = _places(height, width, self.kernel, self.stride, self.padding).to(x)
            repeats = rows * columns
            matrix, seen = _toeplitz(matrix, places, repeats), inner.reshape(parts, -1, samples)
        else:
            return self._grouped(x, weight, bias)
        if bias is None:
            found = torch.bmm(matrix, seen)
        else:
            each = bias.reshape(parts, -1, 1).expand(-1, -1, repeats).reshape(parts, -1, 1)
            found = torch.baddbmm(each, matrix, seen)
        return found.view(hosts, -1, rows, columns, samples).movedim(-1, 1)

    def _columns(
        self, x: Float[Tensor, "host channel row column sample"]
    ) -> Float[Tensor, "host channel tap place"]:
        """What each output sees."""
        edge, kernel, stride = self.padding, self.kernel, self.stride
        seen = x[:1] if x.stride(0) == 0 else x  # all hosts see the same samples
        if edge:
            seen = nn.functional.pad(seen, (0, 0, edge, edge, edge, edge))
        seen = seen.unfold(2, kernel, stride).unfold(3, kernel, stride).permute(0, 1, 5, 6, 2, 3, 4)
        return seen.reshape(len(seen), seen.shape[1], kernel**2, -1).expand(len(x), -1, -1, -1)

    def _grouped(self, x: Maps, weight: Tensor, bias: Tensor | None) -> Maps:
        found = nn.functional.conv2d(
            x.transpose(0, 1).flatten(1, 2),
            weight.flatten(0, 1),
            None if bias is None else bias.flatten(),
            self.stride,
            self.padding,
            groups=len(x) * self.groups,
        )
        maps: Tensor = found.unflatten(1, (len(x), -1)).transpose(0, 1)
        return maps


def _composed(
    weight: Tensor, bias: Tensor | None, after: StackedConv2d
) -> tuple[Float[Tensor, "host out_c in_c height width"], Float[Tensor, "host out_c"] | None]:
    """Weight and bias of two convolutions in a row, the second 1x1, as one."""
    second = after.weight.flatten(2)
    total = after.bias
    if bias is not None:
        carried = (second @ bias[:, :, None])[..., 0]
        total = carried if total is None else total + carried
    return (second @ weight.flatten(2)).view(*second.shape[:2], *weight.shape[2:]), total


def _toeplitz(
    weight: Float[Tensor, "part out_c in_c tap"], places: Float[Tensor, "tap pair"], outputs: int
) -> Float[Tensor, "part output input"]:
    """T, with the positions of each channel beside each other."""
    spread = (weight.flatten(0, 2) @ places).view(*weight.shape[:3], outputs, -1)
    return spread.transpose(2, 3).flatten(3).flatten(1, 2)


@lru_cache(maxsize=256)
def _places(height: int, width: int, kernel: int, stride: int, padding: int) -> Float[Tensor, "tap pair"]:
    """1 where a tap of the kernel carries a position of the input to one of the output; pairs (output, input)."""
    # It is kept: a first call in inference mode must not make it unfit to train with.
    with torch.inference_mode(False):
        taps = torch.eye(kernel**2).reshape(-1, 1, kernel, kernel)
        inputs = torch.eye(height * width).reshape(-1, 1, height, width)
        carried = nn.functional.conv2d(inputs, taps, stride=stride, padding=padding)  # [input, tap, ...]
        return carried.flatten(2).permute(1, 2, 0).flatten(1).contiguous()
