"""What tells a lacking network from a sound one: three numbers per slot, all of them free of scale.

One implementation for populations and for `Grower`. None depends on units: neither on those of the loss nor on how large
weights and activations are, which a norm behind them takes away.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from leyline_types import Topology


class ActivationShape(NamedTuple):
    """How the activations before a slot are spread; NaN where they do not vary.

    Args:
        rank: participation ratio of the channels' covariance over the number of channels: 1 / C if one direction
            holds all of the variance, 1 if all hold as much. (sum of l)^2 / sum of l^2 of the eigenvalues l, which is
            tr(S)^2 / tr(S S) and needs no eigenvalues.
        within_map: share of the variance that lies within maps, between the positions of one sample's channel; the
            rest lies between samples. 0 for maps of one position.
    """

    rank: Float[Tensor, "*batch"]
    within_map: Float[Tensor, "*batch"]


def activation_shape(
    activations: Float[Tensor, "*batch first second"], topology: Topology
) -> ActivationShape:
    """The shape of activations, each of the batch by itself.

    P. Gao et al., A theory of multineuronal dimensionality, dynamics and measurement, https://doi.org/10.1101/214262, has
    the participation ratio.

    >>> maps = torch.tensor([[1.0], [-1.0]]) * torch.ones(2, 3)  # two samples, three equal channels
    >>> activation_shape(maps[:, :, None, None], Topology.CNN)
    ActivationShape(rank=tensor(0.3333), within_map=tensor(0.))

    Args:
        activations: cnn: [*batch, sample, channel, row, column]; transformer: [*batch, sample, token, width]. Some ten
            samples at least: fewer than channels cannot show a full rank.
        topology: which of the two.
    """
    # [*batch, sample, position, channel]
    spread = activations.flatten(-2).mT if topology is Topology.CNN else activations
    spread = spread.double()  # variances of many numbers about a large mean
    centred = spread - spread.mean((-3, -2), keepdim=True)
    total = centred.square().mean((-3, -2)).sum(-1)
    between = centred.mean(-2).square().mean(-2).sum(-1)
    flat = centred.flatten(-3, -2)
    covariance = flat.mT @ flat / flat.shape[-2]
    rank = total.square() / covariance.square().sum((-2, -1)) / flat.shape[-1]
    varies = total > 0
    unknown = torch.full_like(total, torch.nan)
    return ActivationShape(
        torch.where(varies, rank, unknown).float(),
        torch.where(varies, 1 - between / total, unknown).clamp(min=0).float(),
    )


def gradient_effect(
    parameters: Sequence[tuple[Float[Tensor, "host *shape"], Float[Tensor, "host *shape"]]],
) -> Float[Tensor, " host"]:
    """How much the loss hangs on a layer: root of the sum of (norm of weight x norm of gradient)^2 over its parameters.

    Ten times the weights in front of a norm have a tenth of the gradient, and change nothing in the product.

    Args:
        parameters: weight and gradient of each, with a row per host.
    """
    products = [
        weight.reshape(len(weight), -1).norm(dim=1) * gradient.reshape(len(gradient), -1).norm(dim=1)
        for weight, gradient in parameters
    ]
    effect: Tensor = torch.stack(products).norm(dim=0)
    return effect


def shares(effects: Float[Tensor, "*batch slot"]) -> Float[Tensor, "*batch slot"]:
    """Each slot's layer's share of what the loss hangs on, among the layers before slots; NaN where it hangs on none."""
    total = effects.sum(-1, keepdim=True)
    return torch.where(total > 0, effects / total, torch.nan)
