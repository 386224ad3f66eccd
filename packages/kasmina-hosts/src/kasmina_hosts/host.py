"""The hosts' own networks: a chain of parts, with a slot after each but the last."""

import torch
from torch import nn

from kasmina_hosts.config import HostConfig
from kasmina_hosts.conv_host import conv_parts, conv_size
from kasmina_hosts.vit_host import vit_parts, vit_size
from leyline_types import InjectionSpec, Topology

NUM_SLOTS = 3


def build_host(config: HostConfig, image_shape: tuple[int, int, int], num_classes: int) -> list[nn.Module]:
    """The parts of a host, in order; the slots follow the first three.

    Args:
        image_shape: (C, H, W).

    Raises:
        ValueError: a transformer's patches do not tile the image.
    """
    match config.topology:
        case Topology.CNN:
            return conv_parts(image_shape[0], config.width, num_classes)
        case Topology.TRANSFORMER:
            return vit_parts(image_shape, config.patch_size, config.width, num_classes)


def host_size(config: HostConfig, image_shape: tuple[int, int, int], num_classes: int) -> int:
    """Parameters of a host without seeds, counted without building it: whatever the width, it takes no time.

    >>> host_size(HostConfig(), (1, 8, 8), 10)
    386

    Args:
        config: its topology, width and patch size matter.
        image_shape: (C, H, W).
        num_classes: of the task.

    Raises:
        ValueError: a transformer's patches do not tile the image.
    """
    match config.topology:
        case Topology.CNN:
            return conv_size(image_shape[0], config.width, num_classes)
        case Topology.TRANSFORMER:
            return vit_size(image_shape, config.patch_size, config.width, num_classes)


def host_bytes(
    config: HostConfig,
    image_shape: tuple[int, int, int],
    num_classes: int,
    dtype: torch.dtype = torch.float32,
) -> int:
    """Memory that the parameters of a host without seeds take while it trains, found without building it.

    The parameters, those of the gates of its slots, the gradients of both, and the copy that a host goes back to when
    it diverges. SGD without momentum keeps nothing beside them. Activations and seeds come on top.

    >>> host_bytes(HostConfig(), (1, 8, 8), 10) / 2**10
    4.69921875
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
    return 3 * (host_size(config, image_shape, num_classes) + gates) * dtype.itemsize


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
