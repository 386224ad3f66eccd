"""Everything that a training run is set by."""

from dataclasses import dataclass, field
from math import inf

from kasmina_hosts import HostConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class PPOConfig:
    """Settings of proximal policy optimisation.

    Args:
        gamma, lam: discount and trace decay of the advantages.
        clip: how far a probability ratio may move, as a fraction.
        value_weight: weight of the value error.
        entropy_start, entropy_end: weight of the entropy bonus, linear over the run.
        learning_rate: of Adam.
        grad_clip: largest L2 norm of a gradient.
        epochs: passes over each batch of trajectories; ended early when the KL divergence passes `target_kl`.
        minibatches: parts that a pass is cut into, by environment.
        target_kl: nats.

    Raises:
        ValueError: a field outside its range.
    """

    gamma: float = 0.995
    lam: float = 0.98
    clip: float = 0.2
    value_weight: float = 0.5
    entropy_start: float = 0.05
    entropy_end: float = 0.005
    learning_rate: float = 1e-3
    grad_clip: float = 5.0
    epochs: int = 8
    minibatches: int = 4
    target_kl: float = 0.03

    def __post_init__(self) -> None:
        _check_fractions(self, "gamma", "lam")
        _check_positive(self, "clip", "learning_rate", "grad_clip", "epochs", "minibatches", "target_kl")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """Settings of a run.

    Args:
        seed: of policy, sampling and hosts; equal seeds give equal runs on one machine.
        policy: registered name of the policy (`tamiyo_policies.list_policies`).
        episodes: networks grown over the whole run, rounded up to whole batches.
        hosts: different hosts in a batch.
        replicas: episodes on each host of a batch; they share first weights and order of data, so that only the
            policy's choices tell them apart.
        hidden_dim: width of the policy's layers.
        rent_rate: reward lost per host's worth of added parameters.
        prune_from: fraction of the run before which PRUNE is held back: while nothing has been learnt, pruning
            undoes growth at random and teaches the policy to wait.
        host, ppo: the rest.

    Raises:
        ValueError: a field outside its range.
    """

    seed: int = 0
    policy: str = "lstm"
    episodes: int = 224
    hosts: int = 4
    replicas: int = 4
    hidden_dim: int = 64
    rent_rate: float = 0.2
    prune_from: float = 0.6
    host: HostConfig = field(default_factory=HostConfig)
    ppo: PPOConfig = field(default_factory=PPOConfig)

    def __post_init__(self) -> None:
        _check_positive(self, "episodes", "hosts", "replicas", "hidden_dim")
        _check_fractions(self, "prune_from")
        if not 0 <= self.seed < MAX_RUN_SEEDS:
            raise ValueError(f"`seed` must lie in [0, {MAX_RUN_SEEDS}), not {self.seed}")
        if not 0 <= self.rent_rate < inf:
            raise ValueError(f"`rent_rate` must be at least 0 and finite, not {self.rent_rate}")

    @property
    def envs(self) -> int:
        """Networks grown at once: a batch."""
        return self.hosts * self.replicas

    @property
    def updates(self) -> int:
        """Batches of episodes, each followed by one update of the policy."""
        return -(-self.episodes // self.envs)


MAX_RUN_SEEDS = 1_000_000


def _check_positive(config: object, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        if not 0 < value < inf:
            raise ValueError(f"`{name}` must be above 0 and finite, not {value}")


def _check_fractions(config: object, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        if not 0 <= value <= 1:
            raise ValueError(f"`{name}` must lie in [0, 1], not {value}")
