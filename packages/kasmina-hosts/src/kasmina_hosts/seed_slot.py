"""A slot in a user's own network, and the layer that a grown slot becomes in an exported one."""

from typing import Any, NamedTuple, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kasmina_hosts.blending import blend, incubate
from kasmina_hosts.lifecycle import ALTERS_HOST
from leyline_types import AlphaAlgorithm, SeedStage, Topology


class SlotError(ValueError):
    """A slot that a model cannot have."""


class Activation(NamedTuple):
    """What a layer puts out: the kind of tensor, and its channels or width."""

    topology: Topology
    channels: int


@final
class SeedSlot(nn.Module):
    """A place for a seed behind a layer, whose output it changes from a forward hook.

    Args:
        activation: what the layer puts out.
        co_adapt: whether the network learns through its seed once that blends in.

    Attributes:
        recorded: an empty list takes the layer's next output, as it is before the seed; None takes nothing.
    """

    alpha: Tensor
    seed: nn.Module | None
    gate: nn.Module | None

    def __init__(self, activation: Activation, *, co_adapt: bool = True) -> None:
        super().__init__()
        self.activation = activation
        self.co_adapt = co_adapt
        self.stage = SeedStage.DORMANT
        self.algorithm = AlphaAlgorithm.ADD
        self.idle = (
            True  # without a seed that computes; a plain attribute, as those of modules are slow to read
        )
        self.suppressed = False
        self.frozen = False
        self.recorded: list[Tensor] | None = None
        self.register_module("seed", None)
        self.register_module("gate", None)
        # A tensor, so that a compiled model need not be compiled anew whenever alpha moves.
        self.register_buffer("alpha", torch.zeros(()), persistent=False)

    @property
    def alters_output(self) -> bool:
        """Whether the seed is part of the network's function."""
        return self.seed is not None and self.stage in ALTERS_HOST

    def after_layer(self, layer: nn.Module, inputs: object, output: Tensor) -> Tensor | None:
        """The layer's output with the seed blended in; None: as it is. A forward hook."""
        if self.recorded is not None and not self.recorded:
            self.recorded.append(output.detach().clone())  # the next layer may compute in place
        if self.idle or self.suppressed or self.seed is None:
            return None
        # The slot's own mode, which is the model's: its layer may be kept in evaluation mode.
        if self.stage is SeedStage.TRAINING and self.training and torch.is_grad_enabled():
            return incubate(output, self.seed(output.detach())).to(output.dtype)
        if not self.alters_output:
            return None
        if output.is_nested:
            raise SlotError(
                "a slot's layer puts out a nested tensor; make the encoder with enable_nested_tensor=False"
            )
        seen = output if self.co_adapt else output.detach()
        return join(output, seen, self.seed, self.gate, self.alpha, self.algorithm)


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
        # PyTorch's transformer layers pass over their submodules in evaluation mode, unless one of these has a hook.
        self.register_forward_pre_hook(_nothing)

    def __getattr__(self, name: str) -> Any:
        """Of the layer, where this module has none: models read weights and sizes of their layers."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("layer"), name)

    def forward(self, *args: object, **kwargs: object) -> Tensor:
        """What the layer puts out, with the seed."""
        h = self.layer(*args, **kwargs)
        return join(h, h, self.seed, self.gate, self.alpha, self.algorithm)


def _nothing(module: nn.Module, inputs: object) -> None:
    """A hook that changes nothing."""


def join(
    h: Float[Tensor, "*shape"],
    seen: Float[Tensor, "*shape"],
    seed: nn.Module,
    gate: nn.Module | None,
    alpha: Tensor | float,
    algorithm: AlphaAlgorithm,
) -> Float[Tensor, "*shape"]:
    """`blend` of a layer's output h and its seed's, which sees the same values, in the precision of h."""
    share = h.new_ones(()) if gate is None else gate(seen)
    return blend(h, seed(seen), share, alpha, algorithm).to(h.dtype)
