"""The hosts' own networks: a chain of parts, with a slot after each but the last."""

import torch
from torch import nn

from kasmina_hosts.config import NUM_SLOTS, HostConfig, OptimizerKind
from kasmina_hosts.conv_host import conv_parts
from kasmina_hosts.vit_host import check_patches, vit_parts
from leyline_types import InjectionSpec, Topology


def build_host(config: HostConfig, image_shape: tuple[int, int, int], num_classes: int) -> list[nn.Module]:
    """The parts of a host, in order; the slots follow the first three.

    Args:
        image_shape: (C, H, W).

    Raises:
        ValueError: a transformer's patches do not tile the image.
    """
    match config.topology:
        case Topology.CNN:
            return conv_parts(image_shape[0], config, num_classes)
        case Topology.TRANSFORMER:
            return vit_parts(image_shape, config, num_classes)


def host_size(config: HostConfig, image_shape: tuple[int, int, int], num_classes: int) -> int:
    """Parameters of a host without seeds, counted without building it: whatever the width, it takes no time.

    >>> host_size(HostConfig(), (1, 8, 8), 10)
    418

    Args:
        config: its topology, width, patch size and what its stages or blocks are made of matter.
        image_shape: (C, H, W).
        num_classes: of the task.

    Raises:
        ValueError: a transformer's patches do not tile the image.
    """
    channels, height, width = image_shape
    stages = sum(
        stage_size(config, stage, channels, inner) for stage, inner in enumerate(config.inner_widths)
    )
    size = stages + 2 * config.width * config.head_norm + (config.width + 1) * num_classes
    if config.topology is Topology.CNN:
        return size
    check_patches(image_shape, config.patch_size)
    patch = config.patch_size**2
    return size + (channels * patch + 1 + height * width // patch) * config.width


def stage_size(config: HostConfig, stage: int, in_channels: int, inner: int) -> int:
    """Parameters of one stage or block, of a transformer without the embedding in front of the first.

    Args:
        config: what the other stages are made of does not matter, nor does its own inner width.
        stage: which, counted from 0.
        in_channels: of the images.
        inner: channels that the stage is led through, or hidden units of the block's MLP; see `inner_widths`.
    """
    width = config.width
    if config.topology is Topology.TRANSFORMER:
        attention = 4 * width * (width + 1) * config.attention[stage]
        return attention + 3 * width + (inner or width) * (2 * width + 1)
    weights = config.kernels[stage] ** 2 * (width if stage else in_channels) + 1
    norm = 2 * width * config.norms[stage]
    return norm + (inner * (weights + width) + width if inner else weights * width)


def host_bytes(
    config: HostConfig,
    image_shape: tuple[int, int, int],
    num_classes: int,
    dtype: torch.dtype = torch.float32,
) -> int:
    """Memory that the parameters of a host without seeds take while it trains, found without building it.

    The parameters, those of the gates of its slots, the gradients of both, what the optimiser remembers of each (two
    numbers under Adam, one under SGD; the count of its steps is left out), and the copy of all but the gradients that a
    host goes back to when it diverges. Activations and seeds come on top.

    >>> host_bytes(HostConfig(), (1, 8, 8), 10) / 2**10
    11.83984375
    >>> host_bytes(HostConfig(width=100_000_000), (1, 8, 8), 10) > 2**40
    True

    Args:
        config, image_shape, num_classes: see `host_size`; a task has them as `task.train.images.shape[1:]` and
            `task.num_classes`.
        dtype: of the parameters.

    Returns:
        Bytes of one host; a population takes so many times the number of its hosts.

    Raises:
        ValueError: see `host_size`.
    """
    gates = NUM_SLOTS * (config.width + 1)
    moments = 2 if config.optimizer is OptimizerKind.ADAM else 1
    return (3 + 2 * moments) * (host_size(config, image_shape, num_classes) + gates) * dtype.itemsize


def host_slots(width: int) -> tuple[InjectionSpec, ...]:
    """The host's slots, from input to output."""
    return tuple(
        InjectionSpec(
            f"r0c{index}",
            channels=width,
            position=(index + 1) / (NUM_SLOTS + 1),
            layer_range=(index, index + 1),
        )
        for index in range(NUM_SLOTS)
    )
