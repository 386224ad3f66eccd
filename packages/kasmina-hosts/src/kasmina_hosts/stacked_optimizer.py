"""Optimisers of stacked parameters: one step serves every host, and every row has a state of its own."""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from kasmina_hosts.blending import each
from kasmina_hosts.config import OptimizerKind

BETA_1: Final = 0.9
BETA_2: Final = 0.999
EPSILON: Final = 1e-8
"""Of Adam, all three as in the paper and in `torch.optim.Adam`."""


class Moments(NamedTuple):
    """What an optimiser remembers of one stacked parameter.

    Args:
        steps: taken with each row.
        first: mean gradient (Adam) or velocity (SGD). second: mean squared gradient, of Adam alone.
    """

    steps: Int[Tensor, " host"]
    first: Float[Tensor, "host *shape"]
    second: Float[Tensor, "host *shape"] | None


class Learning(NamedTuple):
    """A stacked parameter that takes part in a step.

    Args:
        name: of the parameter. tensor: the parameter, with its gradient.
        rows: hosts that learn; None for all.
    """

    name: str
    tensor: Float[Tensor, "host *shape"]
    rows: Bool[Tensor, " host"] | None


@final
class StackedOptimizer:
    """Adam or SGD with momentum over stacked parameters, as if each host had an optimiser of its own.

    Adam: D. P. Kingma and J. Ba, Adam: A Method for Stochastic Optimization, https://arxiv.org/abs/1412.6980. Of a row
    with gradient g and t steps, this one included:

        m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;  p -= lr / (1 - b1^t) m / (sqrt(v / (1 - b2^t)) + eps)

    SGD as `torch.optim.SGD` has it: m = momentum m + g;  p -= lr m. A row that does not learn keeps what it has.

    Args:
        kind: which of the two.
        learning_rate: lr.
        momentum: of SGD, in [0, 1).
    """

    def __init__(self, kind: OptimizerKind, *, learning_rate: float, momentum: float) -> None:
        self._kind, self._learning_rate, self._momentum = kind, learning_rate, momentum
        self.moments: dict[str, Moments] = {}

    @torch.no_grad()
    def step(self, learning: Sequence[Learning]) -> None:
        """Move every parameter that has a gradient, and remember it."""
        for name, tensor, rows in learning:
            if tensor.grad is None:
                continue
            before = self.moments[name]
            after, change = self._change(before, tensor.grad)
            if rows is not None:
                after = Moments(
                    torch.where(rows, after.steps, before.steps),
                    torch.where(each(rows, after.first), after.first, before.first),
                    None
                    if after.second is None or before.second is None
                    else torch.where(each(rows, after.second), after.second, before.second),
                )
                change = torch.where(each(rows, change), change, 0.0)
            self.moments[name] = after
            tensor.sub_(change)

    def join(self, name: str, tensor: Float[Tensor, "host *shape"]) -> None:
        """A new parameter, of which nothing is remembered."""
        zeros = torch.zeros_like(tensor, requires_grad=False)
        second = zeros.clone() if self._kind is OptimizerKind.ADAM else None
        self.moments[name] = Moments(torch.zeros(len(tensor), dtype=torch.long), zeros, second)

    def forget(self, host: int, prefix: str) -> None:
        """Drop what is remembered of one host's parameters whose names begin so: their seed is gone, or new."""
        for name, moments in self.moments.items():
            if name.startswith(prefix):
                for tensor in moments:
                    if tensor is not None:
                        tensor[host] = 0

    def named_tensors(self) -> Iterator[tuple[str, Tensor]]:
        """All that is remembered, by name: parts.0.conv.weight.first."""
        for name, moments in self.moments.items():
            for kind, tensor in zip(moments._fields, moments, strict=True):
                if tensor is not None:
                    yield f"{name}.{kind}", tensor

    def _change(self, moments: Moments, gradient: Tensor) -> tuple[Moments, Tensor]:
        steps = moments.steps + 1
        match self._kind:
            case OptimizerKind.SGD:
                velocity = moments.first.mul(self._momentum).add_(gradient)
                return Moments(steps, velocity, moments.second), self._learning_rate * velocity
            case OptimizerKind.ADAM:
                first = moments.first.lerp(gradient, 1 - BETA_1)
                assert moments.second is not None
                second = moments.second.mul(BETA_2).addcmul_(gradient, gradient, value=1 - BETA_2)
                # In double, as torch.optim.Adam computes them: 1 - b2^t is near 0 in the first steps.
                rate = (self._learning_rate / (1 - BETA_1 ** steps.double())).to(first.dtype)
                scale = (1 - BETA_2 ** steps.double()).sqrt().to(first.dtype)
                root = second.sqrt().div_(each(scale, second)).add_(EPSILON)
                return Moments(steps, first, second), first.div(root).mul_(each(rate, first))
