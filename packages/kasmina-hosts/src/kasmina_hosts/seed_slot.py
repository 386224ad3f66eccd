"""A slot in a user's own network, and the layer that a grown slot becomes in an exported one."""

from typing import NamedTuple, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kasmina_hosts.blending import blend, incubate
from kasmina_hosts.lifecycle import ALTERS_HOST
from leyline_types import AlphaAlgorithm, SeedStage, Topology


class Activation(NamedTuple):
    """What a layer puts out: the kind of tensor, its channels or width, where and in which precision."""

    topology: Topology
    channels: int
    device: torch.device
    dtype: torch.dtype


@final
class SeedSlot(nn.Module):
    """A place for a seed behind a layer, whose output it changes from a forward hook.

    Args:
        activation: what the layer puts out.
    """

    alpha: Tensor
    seed: nn.Module | None
    gate: nn.Module | None

    def __init__(self, activation: Activation) -> None:
        super().__init__()
        self.activation = activation
        self.stage = SeedStage.DORMANT
        self.algorithm = AlphaAlgorithm.ADD
        self.suppressed = False
        self.register_module("seed", None)
        self.register_module("gate", None)
        # A tensor, so that a compiled model need not be compiled anew whenever alpha moves.
        self.register_buffer("alpha", torch.zeros((), device=activation.device), persistent=False)

    @property
    def alters_output(self) -> bool:
        """Whether the seed is part of the network's function."""
        return self.seed is not None and self.stage in ALTERS_HOST

    def after_layer(self, layer: nn.Module, inputs: object, output: Tensor) -> Tensor | None:
        """The layer's output with the seed blended in; None: as it is. A forward hook."""
        if self.seed is None or self.suppressed:
            return None
        if self.stage is SeedStage.TRAINING and layer.training and torch.is_grad_enabled():
            return incubate(output, self.seed(output.detach())).to(output.dtype)
        return join(output, self.seed, self.gate, self.alpha, self.algorithm) if self.alters_output else None


@final
class GrownLayer(nn.Module):
    """A layer followed by a seed that is blended in for good.

    Args:
        layer: the network's own.
        seed, gate: the seed's modules; no gate unless the algorithm is GATE.
        alpha: amplitude.
        algorithm: how the seed joins.
    """

    def __init__(
        self,
        layer: nn.Module,
        seed: nn.Module,
        gate: nn.Module | None,
        alpha: float,
        algorithm: AlphaAlgorithm,
    ) -> None:
        super().__init__()
        self.layer, self.seed, self.gate = layer, seed, gate
        self.alpha, self.algorithm = alpha, algorithm

    def forward(self, *args: object, **kwargs: object) -> Tensor:
        """What the layer puts out, with the seed."""
        return join(self.layer(*args, **kwargs), self.seed, self.gate, self.alpha, self.algorithm)


def join(
    h: Float[Tensor, "*shape"],
    seed: nn.Module,
    gate: nn.Module | None,
    alpha: Tensor | float,
    algorithm: AlphaAlgorithm,
) -> Float[Tensor, "*shape"]:
    """`blend` of a layer's output and its seed's, in the precision of the layer's: autocast may have changed it."""
    share = h.new_ones(()) if gate is None else gate(h)
    return blend(h, seed(h), share, alpha, algorithm).to(h.dtype)
