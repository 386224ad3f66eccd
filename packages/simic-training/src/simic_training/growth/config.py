"""What hosts an environment draws, and what growing them pays."""

from dataclasses import dataclass, field
from math import inf

from kasmina_hosts import DigitsFamily, HostConfig
from leyline_types import LegalityRules

DIGITS = "digits"
"""The `data` that every installation has: scikit-learn's handwritten digits."""
MAX_GIB = 1e6
"""Of any limit of memory: more than machines have, and bytes that 64 bits count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GrowthConfig:
    """Settings of an environment.

    Args:
        data: "digits", or the path of an .npz file (`kasmina_hosts.ArrayTask.from_npz`). Such data is taken whole: of
            `family` only widths and learning rates apply then.
        data_digest: what the data must be (`kasmina_hosts.data_digest`); none takes whatever is there. A run records
            what it found, so that it never goes on with other data.
        data_limit: GiB that the arrays of the file may take as float32 and int64, at most `MAX_GIB`; more is refused
            before it is read.
        family: what is drawn for every group of hosts.
        host: what is the same for all hosts; `family` draws their width and learning rate.
        group_size: hosts in a row that share what was drawn, and are trained as one population.
        replicas: hosts in a row that share first weights and order of data too, so that only actions tell them apart;
            divides `group_size`; 0 stands for the whole group.
        rent_rate: reward lost per host's worth of added parameters, see `growth_reward`.
        rules: slots and blueprints that are enabled, and what else is legal.

    Raises:
        ValueError: a field outside its range.
    """

    data: str = DIGITS
    data_digest: str | None = None
    data_limit: float = 2.0
    family: DigitsFamily = field(default_factory=DigitsFamily)
    host: HostConfig = field(default_factory=HostConfig)
    group_size: int = 8
    replicas: int = 1
    rent_rate: float = 0.3
    rules: LegalityRules = field(default_factory=LegalityRules)

    def __post_init__(self) -> None:
        for name, least in (("group_size", 1), ("replicas", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"`{name}` must be at least {least}, not {getattr(self, name)}")
        if self.group_size % self.hosts_alike:
            raise ValueError(f"`replicas` ({self.replicas}) must divide `group_size` ({self.group_size})")
        if not 0 < self.data_limit <= MAX_GIB:
            raise ValueError(f"`data_limit` must be above 0 and at most {MAX_GIB:g}, not {self.data_limit}")
        if not 0 <= self.rent_rate < inf:
            raise ValueError(f"`rent_rate` must be at least 0 and finite, not {self.rent_rate}")

    @property
    def hosts_alike(self) -> int:
        """Hosts in a row that only actions tell apart."""
        return self.replicas or self.group_size
