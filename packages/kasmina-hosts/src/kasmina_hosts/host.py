"""The hosts' own networks: a chain of parts, with a slot after each but the last."""

from torch import nn

from kasmina_hosts.config import HostConfig
from kasmina_hosts.conv_host import conv_parts
from kasmina_hosts.vit_host import vit_parts
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
