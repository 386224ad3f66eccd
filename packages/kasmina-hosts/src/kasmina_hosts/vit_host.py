"""The transformer host: a small vision transformer with a slot after each of its three blocks.

A. Dosovitskiy et al., An Image is Worth 16x16 Words, https://arxiv.org/abs/2010.11929; the mean over the tokens stands
for the class token.
"""

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import gelu

from kasmina_hosts.config import HostConfig
from kasmina_hosts.token_seeds import AttentionSeed, Tokens


@final
class PatchEmbedding(nn.Module):
    """Each patch of pixels as one token, with a learned vector for its position."""

    def __init__(self, image_shape: tuple[int, int, int], patch_size: int, width: int) -> None:
        super().__init__()
        channels, height, image_width = image_shape
        self.patch_size = patch_size
        self.linear = nn.Linear(channels * patch_size**2, width)
        self.position = nn.Parameter(torch.randn(height * image_width // patch_size**2, width) / width**0.5)

    def forward(self, x: Float[Tensor, "batch channel rows columns"]) -> Tokens:
        """From images to [batch, patch, width], row by row."""
        size = self.patch_size
        patches = x.unflatten(-1, (-1, size)).unflatten(-3, (-1, size))  # [..., C, row, size, column, size]
        tokens = patches.movedim((-4, -2), (-5, -4)).flatten(-3).flatten(-3, -2)
        embedded: Tensor = self.linear(tokens) + self.position
        return embedded


@final
class EncoderBlock(nn.Module):
    """Attention, then an MLP, each on normalised tokens and added to them.

    Args:
        width: of the tokens.
        attends: whether there is attention.
        hidden: units of the MLP.
    """

    def __init__(self, width: int, *, attends: bool, hidden: int) -> None:
        super().__init__()
        self.attention = AttentionSeed(width) if attends else nn.Identity()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)

    def forward(self, x: Tokens) -> Tokens:
        """Same shape in and out."""
        x = self.attention(x)
        changed: Tensor = x + self.down(gelu(self.up(self.norm(x))))
        return changed


@final
class TokenHead(nn.Module):
    """Class logits from the mean token, normalised; see `conv_host.PooledHead`."""

    def __init__(self, width: int, num_classes: int, *, norm: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width) if norm else nn.Identity()
        self.linear = nn.Linear(width, num_classes)

    def forward(self, x: Tokens) -> Float[Tensor, "batch num_classes"]:
        """From tokens [batch, token, width]."""
        logits: Tensor = self.linear(self.norm(x.mean(dim=-2)))
        return logits


def check_patches(image_shape: tuple[int, int, int], size: int) -> None:
    """That patches of this size tile the image.

    Raises:
        ValueError: they do not.
    """
    _, height, width = image_shape
    if height % size or width % size:
        raise ValueError(
            f"patches of {size} x {size} pixels (`patch_size`) do not tile images of {height} x {width}"
        )


def vit_parts(image_shape: tuple[int, int, int], config: HostConfig, num_classes: int) -> list[nn.Module]:
    """The parts in order: embedding and first block, two more blocks, each followed by a slot, and the head.

    Raises:
        ValueError: patches of this size do not tile the image.
    """
    check_patches(image_shape, config.patch_size)
    size, width = config.patch_size, config.width
    first, *others = (
        EncoderBlock(width, attends=attends, hidden=inner or width)
        for attends, inner in zip(config.attention, config.inner_widths, strict=True)
    )
    return [
        nn.Sequential(PatchEmbedding(image_shape, size, width), first),
        *others,
        TokenHead(width, num_classes, norm=config.head_norm),
    ]
