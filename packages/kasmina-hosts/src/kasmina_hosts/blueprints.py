"""The modules that seeds are built from. Each is written once, for one network."""

from collections.abc import Callable
from types import MappingProxyType
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from leyline_types import BlueprintAction, Topology


class UnbuiltBlueprintError(ValueError):
    """A blueprint that this version has no module for."""


@final
class NormSeed(nn.Module):
    """x + gain * norm(x), the normalisation being over all channels and positions of a sample: 2C + 1 parameters."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, channels)
        self.gain = nn.Parameter(torch.ones(()))

    def forward(
        self, x: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch channel height width"]:
        """Same shape in and out."""
        changed: Tensor = x + self.gain * self.norm(x)
        return changed


@final
class ConvLightSeed(nn.Module):
    """x + relu(norm(conv3x3(x))): 9C^2 + 2C parameters. Nothing starts at zero before the ReLU, so all of it learns."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.GroupNorm(1, channels)

    def forward(
        self, x: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch channel height width"]:
        """Same shape in and out."""
        changed: Tensor = x + self.norm(self.conv(x)).relu()
        return changed


_BUILDERS: MappingProxyType[Topology, MappingProxyType[BlueprintAction, Callable[[int], nn.Module]]] = (
    MappingProxyType(
        {
            Topology.CNN: MappingProxyType(
                {BlueprintAction.CONV_LIGHT: ConvLightSeed, BlueprintAction.NORM: NormSeed},
            ),
            Topology.TRANSFORMER: MappingProxyType({}),
        }
    )
)


def built_blueprints(topology: Topology) -> tuple[BlueprintAction, ...]:
    """The blueprints that there are modules for, in order of value."""
    return tuple(sorted(_BUILDERS[topology]))


def buildable(blueprints: tuple[BlueprintAction, ...], topology: Topology) -> tuple[BlueprintAction, ...]:
    """Those of the blueprints that there are modules for, in the order given."""
    return tuple(blueprint for blueprint in blueprints if blueprint in _BUILDERS[topology])


def build_blueprint(blueprint: BlueprintAction, topology: Topology, channels: int) -> nn.Module:
    """A fresh module for an activation with so many channels.

    Raises:
        UnbuiltBlueprintError: there is none for this blueprint and topology.
    """
    if blueprint not in _BUILDERS[topology]:
        known = ", ".join(each.blueprint_id for each in built_blueprints(topology)) or "none"
        raise UnbuiltBlueprintError(
            f"no module for blueprint {blueprint.blueprint_id!r} in a {topology} network; there are: {known}"
        )
    return _BUILDERS[topology][blueprint](channels)
