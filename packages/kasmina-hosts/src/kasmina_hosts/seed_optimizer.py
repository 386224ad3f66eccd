"""Seeds in a user's optimiser: their parameters join and leave it, and their gradients are measured at its steps."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import compress
from typing import Any, NamedTuple, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from kasmina_hosts.seed_slot import SeedSlot


class OptimizerError(ValueError):
    """An optimiser that seeds cannot join."""


_REFUSED = {
    torch.optim.LBFGS: "it ties its state to a fixed list of parameters",
    torch.optim.Muon: "it takes matrices only",
    torch.optim.SparseAdam: "it takes sparse gradients only",
}


def check_optimizer(optimizer: torch.optim.Optimizer, model: nn.Module) -> None:
    """That the optimiser trains the model.

    Raises:
        OptimizerError: it holds none of the model's parameters, or is of a kind that seeds cannot join.
    """
    for kind, reason in _REFUSED.items():
        if isinstance(optimizer, kind):
            raise OptimizerError(f"seeds cannot join {kind.__name__}: {reason}")
    own = set(model.parameters())
    if not any(parameter in own for group in optimizer.param_groups for parameter in group["params"]):
        raise OptimizerError(
            f"the {type(optimizer).__name__} optimiser holds none of the model's "
            f"{sum(1 for _ in model.parameters())} parameters; make it with model.parameters()"
        )


def find_group(optimizer: torch.optim.Optimizer, layer: nn.Module, model: nn.Module) -> int:
    """Index of the parameter group whose settings and schedule a slot's seeds follow.

    The group that holds the layer's own parameters; for a layer without any, the first that holds some of the model's.
    """
    for wanted in (set(layer.parameters()), set(model.parameters())):
        for index, group in enumerate(optimizer.param_groups):
            if any(parameter in wanted for parameter in group["params"]):
                return index
    raise OptimizerError("the optimiser holds none of the model's parameters")


def join_group(
    optimizer: torch.optim.Optimizer, group: int, parameters: Iterable[tuple[str, nn.Parameter]]
) -> None:
    """Add named parameters to a group that exists: schedulers count the groups."""
    joined = optimizer.param_groups[group]
    for name, parameter in parameters:
        joined["params"].append(parameter)
        if "param_names" in joined:
            joined["param_names"].append(name)


def leave(optimizer: torch.optim.Optimizer, parameters: Sequence[nn.Parameter]) -> None:
    """Remove parameters, with what the optimiser remembers of them."""
    leaving = set(parameters)
    for group in optimizer.param_groups:
        stays = [parameter not in leaving for parameter in group["params"]]
        for key in ("params", "param_names"):
            if key in group:
                group[key] = list(compress(group[key], stays))
    for parameter in leaving:
        optimizer.state.pop(parameter, None)


IDLE_STEPS = 32
"""Without seeds that compute, gradients are measured at one step of so many: small networks would feel more."""


class _Norms(NamedTuple):
    """Norms of the host's gradients and of each slot's: the last ones, their sums, and how many were added up.

    Only finite ones count: a step with others is one that a `GradScaler` has the optimiser skip, or that overflows.
    """

    last: Float[Tensor, " part"]
    total: Float[Tensor, " part"]
    counted: Int[Tensor, " part"]


@final
class GradientTally:
    """Mean gradient norms over the steps of an epoch, as the optimiser sees the gradients.

    Attributes:
        steps: of the optimiser, since the epoch began.
        learning: whether each slot's seed has had a gradient.

    Args:
        host: the model's own parameters.
        slots: the model's slots.
    """

    def __init__(self, host: Iterable[nn.Parameter], slots: Mapping[str, SeedSlot]) -> None:
        self._host, self._slots = list(host), list(slots.values())
        self.clear()

    def clear(self) -> None:
        """A new epoch begins."""
        self.steps = 0
        self.learning = [False] * len(self._slots)
        zeros = torch.zeros(1 + len(self._slots), dtype=torch.float32)
        self._norms = _Norms(torch.full_like(zeros, torch.nan), zeros, zeros.long())

    def before_step(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        """Count a step, without waiting for a device. A hook of the optimiser."""
        if self.steps % IDLE_STEPS == 0 or not all(slot.idle for slot in self._slots):
            device = self._host[0].device
            parts = [self._host, *(list(slot.parameters()) for slot in self._slots)]
            norms = torch.stack([_norm(part, device) for part in parts])
            finite = norms.isfinite()
            last, total, counted = (each.to(device) for each in self._norms)
            self._norms = _Norms(
                torch.where(finite, norms, last), total + torch.where(finite, norms, 0.0), counted + finite
            )
            for index, part in enumerate(parts[1:]):
                self.learning[index] |= any(each.grad is not None for each in part)
        self.steps += 1

    def means(self) -> tuple[Float[Tensor, ""], Float[Tensor, ""], Float[Tensor, " slot"]]:
        """The host's last finite norm, and the means of the host's and each slot's; NaN of none. On the CPU."""
        last, total, counted = (each.cpu() for each in self._norms)
        means = total / counted
        return last[0], means[0], means[1:]


def _norm(parameters: Sequence[nn.Parameter], device: torch.device) -> Float[Tensor, ""]:
    """L2 norm of all their gradients; 0 of none."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not gradients:
        return torch.zeros((), dtype=torch.float32, device=device)
    return torch.nn.utils.get_total_norm(gradients).detach().to(device, torch.float32)
