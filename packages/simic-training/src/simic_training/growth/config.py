"""What hosts an environment draws, and what growing them pays."""

from dataclasses import dataclass, field
from typing import Final

from kasmina_hosts import LACKS, HostConfig, HostFamily
from kasmina_hosts.config import MAX_PRICE
from leyline_types import LegalityRules

DIGITS = "digits"
"""The `data` that every installation has: scikit-learn's handwritten digits."""
MAX_GIB = 1e6
"""Of any limit of memory: more than machines have, and bytes that 64 bits count."""

_DRAWN: Final = {
    "max_epochs": "family.max_epochs",
    "width": "family.widths",
    "kernels": "family.lacks",
    "inner_widths": "family.lacks",
    "norms": "family.lacks",
    "attention": "family.lacks",
    "parameter_price": "prices",
}
"""Of `HostConfig`: what is drawn, and from what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GrowthConfig:
    """Settings of an environment.

    >>> GrowthConfig(prices=(0.1, 1.0), family=HostFamily(max_epochs=(25, 25))).host.learning_rate
    0.01

    Args:
        data: "digits", or the path of an .npz file (`kasmina_hosts.ArrayTask.from_npz`), from which `family` draws in
            the same way.
        data_digest: what the data must be (`kasmina_hosts.data_digest`); none takes whatever is there. A run records
            what it found, so that it never goes on with other data.
        data_limit: GiB that the arrays of the file may take as float32 and int64, at most `MAX_GIB`; more is refused
            before it is read.
        family: what is drawn for every group of hosts: its data, what its hosts lack, their width, and how many epochs
            their episodes have.
        host: what is the same for all hosts. Length of episodes, width, kernels, inner widths, norms, attention and
            price are drawn; they must keep their defaults here. Hosts that lack norms learn by SGD in any case.
        group_size: hosts in a row that share what was drawn, and are trained as one population.
        replicas: hosts in a row that share price, first weights and order of data too, so that only actions tell them
            apart; divides `group_size`; 0 stands for the whole group.
        prices: bounds, both above 0, of the price that is drawn log-uniformly for every set of replicas: the reward
            lost per host's worth of added parameters, see `growth_reward`.
        rules: slots and blueprints that are enabled, and what else is legal.

    Raises:
        ValueError: a field outside its range.
    """

    data: str = DIGITS
    data_digest: str | None = None
    data_limit: float = 2.0
    family: HostFamily = field(default_factory=HostFamily)
    host: HostConfig = field(default_factory=HostConfig)
    group_size: int = 8
    replicas: int = 1
    prices: tuple[float, float] = (0.08, 1.25)
    rules: LegalityRules = field(default_factory=LegalityRules)

    def __post_init__(self) -> None:
        for name, least in (("group_size", 1), ("replicas", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"`{name}` must be at least {least}, not {getattr(self, name)}")
        if self.group_size % self.hosts_alike:
            raise ValueError(f"`replicas` ({self.replicas}) must divide `group_size` ({self.group_size})")
        if not 0 < self.data_limit <= MAX_GIB:
            raise ValueError(f"`data_limit` must be above 0 and at most {MAX_GIB:g}, not {self.data_limit}")
        if len(self.prices) != 2:
            raise ValueError(f"`prices` must be a pair, the least and the greatest, not {self.prices}")
        if not 0 < self.prices[0] <= self.prices[1] <= MAX_PRICE:
            raise ValueError(
                f"`prices` must be above 0 and at most {MAX_PRICE:g}, the least first, not {self.prices}"
            )
        for name, drawn_from in _DRAWN.items():
            if getattr(self.host, name) != getattr(HostConfig(), name):
                raise ValueError(
                    f"`host.{name}` is drawn from `{drawn_from}`, which is what to set, and not to "
                    f"{getattr(self.host, name)}"
                )
        if not set(self.family.lacks) & set(LACKS[self.host.topology]):
            raise ValueError(
                f"`family.lacks` must hold some of {', '.join(LACKS[self.host.topology])}, which hosts of topology "
                f"{self.host.topology} can lack, not only {', '.join(self.family.lacks)}"
            )

    @property
    def hosts_alike(self) -> int:
        """Hosts in a row that only actions tell apart."""
        return self.replicas or self.group_size
