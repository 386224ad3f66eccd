"""Which module each blueprint stands for. Each is written once, for one network."""

from collections.abc import Callable
from functools import lru_cache, partial
from types import MappingProxyType

import torch
from torch import nn

from kasmina_hosts.conv_seeds import (
    BottleneckSeed,
    ConvHeavySeed,
    ConvSeed,
    DepthwiseSeed,
    NormSeed,
    SqueezeExciteSeed,
)
from kasmina_hosts.token_seeds import AttentionSeed, LoRASeed, MLPSeed, TokenNormSeed
from leyline_types import BlueprintAction, Topology

WINDOW = 8
"""Of FLEX_ATTENTION, tokens."""

_BUILDERS: MappingProxyType[Topology, MappingProxyType[BlueprintAction, Callable[[int], nn.Module]]] = (
    MappingProxyType(
        {
            Topology.CNN: MappingProxyType(
                {
                    BlueprintAction.CONV_LIGHT: partial(ConvSeed, kernel=3),
                    BlueprintAction.ATTENTION: SqueezeExciteSeed,
                    BlueprintAction.NORM: NormSeed,
                    BlueprintAction.DEPTHWISE: DepthwiseSeed,
                    BlueprintAction.BOTTLENECK: BottleneckSeed,
                    BlueprintAction.CONV_SMALL: partial(ConvSeed, kernel=1),
                    BlueprintAction.CONV_HEAVY: ConvHeavySeed,
                },
            ),
            Topology.TRANSFORMER: MappingProxyType(
                {
                    BlueprintAction.ATTENTION: AttentionSeed,
                    BlueprintAction.NORM: TokenNormSeed,
                    BlueprintAction.LORA: partial(LoRASeed, rank=8),
                    BlueprintAction.LORA_LARGE: partial(LoRASeed, rank=32),
                    BlueprintAction.MLP_SMALL: partial(MLPSeed, expansion=2),
                    BlueprintAction.MLP: partial(MLPSeed, expansion=4),
                    BlueprintAction.FLEX_ATTENTION: partial(AttentionSeed, window=WINDOW),
                }
            ),
        }
    )
)


def built_blueprints(topology: Topology) -> tuple[BlueprintAction, ...]:
    """The blueprints that there are modules for, in order of value: all that leyline_types germinates."""
    return tuple(sorted(_BUILDERS[topology]))


def build_blueprint(blueprint: BlueprintAction, topology: Topology, channels: int) -> nn.Module:
    """A fresh module for activations with so many channels ([batch, C, H, W]) or of such width ([batch, token, D]).

    Raises:
        ValueError: the blueprint cannot germinate in a network of this topology.
    """
    if blueprint not in _BUILDERS[topology]:
        known = ", ".join(each.blueprint_id for each in built_blueprints(topology))
        raise ValueError(
            f"blueprint {blueprint.blueprint_id!r} does not fit a {topology} network; there are: {known}"
        )
    return _BUILDERS[topology][blueprint](channels)


@lru_cache(maxsize=1024)
def blueprint_size(blueprint: BlueprintAction, topology: Topology, channels: int) -> int:
    """Parameters of a blueprint's module; see `build_blueprint`. Every new population asks for all of them."""
    with torch.device("meta"):
        return sum(
            parameter.numel() for parameter in build_blueprint(blueprint, topology, channels).parameters()
        )
