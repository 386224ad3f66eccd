"""Optimisers of stacked parameters: one step serves every host, and every row has a state of its own."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

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
    """A stacked parameter that takes part in steps.

    Args:
        name: of the parameter. tensor: the parameter.
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

    @contextmanager
    def stepping(self, learning: Sequence[Learning]) -> Iterator["Steps"]:
        """Steps with these parameters, which nothing else changes meanwhile; then all is remembered by name again."""
        steps = Steps(self._kind, self._learning_rate, self._momentum, learning, self.moments)
        yield steps
        self.moments |= steps.moments()

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


@final
class Steps:
    """Steps of an optimiser with the same parameters, which lie side by side: one operation serves all of them.

    Args:
        kind, learning_rate, momentum: see `StackedOptimizer`.
        learning: the parameters, at least one.
        moments: what is remembered of them, and of others.
    """

    def __init__(
        self,
        kind: OptimizerKind,
        learning_rate: float,
        momentum: float,
        learning: Sequence[Learning],
        moments: Mapping[str, Moments],
    ) -> None:
        self._kind, self._learning_rate, self._momentum = kind, learning_rate, momentum
        self._learning = learning
        self._tensors = [each.tensor for each in learning]
        known = [moments[each.name] for each in learning]
        self._steps = torch.stack([each.steps for each in known], dim=1)
        self._first = side_by_side([each.first for each in known])
        second = [each.second for each in known if each.second is not None]
        self._second = side_by_side(second) if second else None
        self._sizes = [tensor[0].numel() for tensor in self._tensors]
        self._columns = torch.arange(len(learning)).repeat_interleave(torch.tensor(self._sizes))
        some = [torch.ones_like(known[0].steps) == 1 if each.rows is None else each.rows for each in learning]
        self._learns = torch.stack(some, dim=1)
        every = all(each.rows is None for each in learning)
        self._rows = None if every else self._learns[:, self._columns]

    @torch.no_grad()
    def take(self, gradient: Float[Tensor, "host number"]) -> None:
        """Move every parameter, and remember the gradient.

        Args:
            gradient: of the parameters in their order, see `side_by_side`.
        """
        self._steps = self._steps + self._learns
        match self._kind:
            case OptimizerKind.SGD:
                first, second = self._first.mul(self._momentum).add_(gradient), None
                change = self._learning_rate * first
            case OptimizerKind.ADAM:
                assert self._second is not None
                first = self._first.lerp(gradient, 1 - BETA_1)
                second = self._second.mul(BETA_2).addcmul_(gradient, gradient, value=1 - BETA_2)
                # In double, as torch.optim.Adam computes them: 1 - b2^t is near 0 in the first steps.
                steps = self._steps.double()
                rate = (self._learning_rate / (1 - BETA_1**steps)).to(first.dtype)[:, self._columns]
                scale = (1 - BETA_2**steps).sqrt().to(first.dtype)[:, self._columns]
                change = first.div(second.sqrt().div_(scale).add_(EPSILON)).mul_(rate)
        if self._rows is not None:
            first = torch.where(self._rows, first, self._first)
            if second is not None and self._second is not None:
                second = torch.where(self._rows, second, self._second)
            change = torch.where(self._rows, change, 0.0)
        self._first, self._second = first, second
        parts = change.split(self._sizes, dim=1)
        torch._foreach_sub_(
            self._tensors,
            [part.view(tensor.shape) for part, tensor in zip(parts, self._tensors, strict=True)],
        )

    def moments(self) -> dict[str, Moments]:
        """What is remembered now, by name."""
        firsts = self._first.split(self._sizes, dim=1)
        seconds = [None] * len(firsts) if self._second is None else self._second.split(self._sizes, dim=1)
        return {
            name: Moments(
                steps.clone(),
                _of_shape(first, tensor),
                None if second is None else _of_shape(second, tensor),
            )
            for (name, tensor, _), steps, first, second in zip(
                self._learning, self._steps.unbind(1), firsts, seconds, strict=True
            )
        }


def side_by_side(tensors: Sequence[Float[Tensor, "host *shape"]]) -> Float[Tensor, "host number"]:
    """What each host has in all of these, in one row."""
    return torch.cat([tensor.reshape(len(tensor), -1) for tensor in tensors], dim=1)


def _of_shape(part: Float[Tensor, "host number"], like: Tensor) -> Tensor:
    return part.clone(memory_format=torch.contiguous_format).view(like.shape)
