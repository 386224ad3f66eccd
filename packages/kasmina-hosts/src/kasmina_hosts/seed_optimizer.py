"""Seeds in a user's optimiser: their parameters join and leave it, and their gradients are measured at its steps."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import compress
from typing import Any, final

import torch
from jaxtyping import Float
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
        self.steps, self._measured = 0, 0
        self.learning = [False] * len(self._slots)
        self._last_host = torch.zeros(())
        self._host_sum = torch.zeros(())
        self._seed_sums = [torch.zeros(()) for _ in self._slots]

    def before_step(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        """Count a step, without waiting for a device. A hook of the optimiser."""
        if self.steps % IDLE_STEPS == 0 or not all(slot.idle for slot in self._slots):
            self._measured += 1
            self._last_host = _norm(self._host)
            self._host_sum = self._host_sum + self._last_host
            for index, slot in enumerate(self._slots):
                self._seed_sums[index] = self._seed_sums[index] + _norm(slot.parameters())
                self.learning[index] |= any(each.grad is not None for each in slot.parameters())
        self.steps += 1

    def means(self) -> tuple[Float[Tensor, ""], Float[Tensor, ""], Float[Tensor, " slot"]]:
        """The host's last norm, and the means of the host's and each slot's; on the CPU."""
        seeds = torch.stack([total.cpu() for total in self._seed_sums])
        return self._last_host.cpu(), self._host_sum.cpu() / self._measured, seeds / self._measured


def _norm(parameters: Iterable[nn.Parameter]) -> Float[Tensor, ""]:
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    return torch.nn.utils.get_total_norm(gradients).detach().float()
