"""What tells a lacking network from a sound one: three numbers per slot, all of them free of scale.

One implementation for populations and for `Grower`. None depends on units: neither on those of the loss nor on how
large weights and activations are, which a norm behind them takes away.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.linalg import vector_norm

from leyline_types import Topology

DIAGNOSED_SAMPLES: Final = 32
"""Validation samples that a population measures with: more cost more than a twentieth of an epoch."""


class Diagnostics(NamedTuple):
    """What is measured at each slot, with a seed in it or without, [host, slot]; each 0 to 1, NaN where unknown.

    Args:
        host_gradient_share: see `shares`, of the layers before the slots.
        activation_rank, within_map_variance: of the activation before the slot, see `ActivationShape`.
    """

    host_gradient_share: Float[Tensor, "host slot"]
    activation_rank: Float[Tensor, "host slot"]
    within_map_variance: Float[Tensor, "host slot"]


def unknown_diagnostics(num_hosts: int, num_slots: int) -> Diagnostics:
    """Nothing has been measured."""
    unknown = torch.full((num_hosts, num_slots), torch.nan)
    return Diagnostics(unknown, unknown, unknown)


def slot_diagnostics(
    activations: Sequence[Float[Tensor, "host sample *place"]],
    effects: Sequence[Float[Tensor, " host"]],
    topology: Topology,
) -> Diagnostics:
    """The diagnostics of networks with so many slots.

    Args:
        activations: before each slot, as of `activation_shape` with hosts in front.
        effects: of the layer before each slot, see `gradient_effect`; NaN where it is unknown.
        topology: of all of them.
    """
    shapes = [activation_shape(activation.detach(), topology) for activation in activations]
    return Diagnostics(
        shares(torch.stack(list(effects), dim=1)),
        torch.stack([shape.rank for shape in shapes], dim=1),
        torch.stack([shape.within_map for shape in shapes], dim=1),
    )


class ActivationShape(NamedTuple):
    """How the activations before a slot are spread; NaN where they do not vary.

    Args:
        rank: participation ratio of the channels' covariance over the number of channels: 1 / C if one direction
            holds all of the variance, 1 if all hold as much. (sum of l)^2 / sum of l^2 of the eigenvalues l, which is
            tr(S)^2 / tr(S S) and needs no eigenvalues.
        within_map: share of the variance that lies within maps, between the positions of one sample's channel; the
            rest lies between samples. 0 for maps of one position, to rounding.
    """

    rank: Float[Tensor, "*batch"]
    within_map: Float[Tensor, "*batch"]


def activation_shape(
    activations: Float[Tensor, "*batch first second"], topology: Topology
) -> ActivationShape:
    """The shape of activations, each of the batch by itself.

    P. Gao et al., A theory of multineuronal dimensionality, dynamics and measurement, https://doi.org/10.1101/214262,
    has the participation ratio.

    >>> maps = torch.tensor([[1.0], [-1.0]]) * torch.ones(2, 3)  # two samples, three equal channels
    >>> activation_shape(maps[:, :, None, None], Topology.CNN)
    ActivationShape(rank=tensor(0.3333), within_map=tensor(0.))

    Args:
        activations: cnn: [*batch, sample, channel, row, column]; transformer: [*batch, sample, token, width]. Some ten
            samples at least: fewer than channels cannot show a full rank.
        topology: which of the two.
    """
    # [*batch, channel, position, sample], as stacked hosts have them in memory.
    maps = topology is Topology.CNN
    spread = activations.flatten(-2).movedim(-3, -1) if maps else activations.transpose(-3, -1)
    largest = spread.abs().amax((-3, -2, -1)).double()
    spread = spread.double()  # variances of many numbers about a large mean
    centred = spread - spread.mean((-2, -1), keepdim=True)
    flat = centred.flatten(-2)
    covariance = flat @ flat.mT / flat.shape[-1]
    total = covariance.diagonal(dim1=-2, dim2=-1).sum(-1)
    between = centred.mean(-2).square().mean(-1).sum(-1)
    rank = total.square() / covariance.square().sum((-2, -1)) / flat.shape[-2]
    # Rounding of the mean gives what is constant a tiny variance.
    rounding = torch.finfo(spread.dtype).eps * largest
    varies = total > spread.shape[-3] * rounding.square() * spread.shape[-1]
    unknown = torch.full_like(total, torch.nan)
    return ActivationShape(
        torch.where(varies, rank, unknown).clamp(max=1).float(),
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
        vector_norm(weight.reshape(len(weight), -1), dim=1)
        * vector_norm(gradient.reshape(len(gradient), -1), dim=1)
        for weight, gradient in parameters
    ]
    effect: Tensor = vector_norm(torch.stack(products), dim=0)
    return effect


def shares(effects: Float[Tensor, "*batch slot"]) -> Float[Tensor, "*batch slot"]:
    """Each slot's layer's share of what the loss hangs on, among the layers before slots whose effect is known.

    NaN where the effect is unknown, and where the loss hangs on none of them.
    """
    total = effects.nansum(-1, keepdim=True)
    return torch.where((total > 0) & total.isfinite(), effects / total, torch.nan)
