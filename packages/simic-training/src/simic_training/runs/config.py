"""Everything that a training run is set by."""

from dataclasses import dataclass, field, replace

from leyline_types import LifecycleOp
from simic_training.growth.config import MAX_GIB, GrowthConfig
from simic_training.ppo.config import PPOConfig

MAX_RUN_SEEDS = 1_000_000
MAX_STALE_UPDATES = 100
"""So many batches are grown ahead at once, and so many weights are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """Settings of a run.

    Args:
        seed: of policy, sampling and hosts; equal seeds give equal runs on one machine.
        policy: registered name of the policy (`tamiyo_policies.list_policies`).
        hidden_dim: width of the policy's layers.
        episodes: networks grown over the whole run, rounded up to whole batches.
        groups: groups of hosts in a batch, each of `env.group_size` hosts that share a task. All episodes of a batch
            have one length, drawn from `env.family.max_epochs`.
        units: equal parts that each group is cut into; one worker grows one at a time, on one thread. Smaller ones keep
            more workers busy and cost more time in all. Runs that differ in it draw other actions.
        stale_updates: by how many updates the weights that networks are grown with may be older than those that learn
            from them. Workers then grow on while the policy learns, and none waits for the slowest; PPO's ratio, which
            divides by what the older weights thought, corrects for it. At 0 nothing is stale.
        normalize: whether features are shifted and scaled by what was seen before.
        prune_from: fraction of the run before which PRUNE is held back: while nothing has been learnt, pruning
            undoes growth at random and teaches the policy to wait. At 1 it is never learnt, yet legal afterwards.
        memory_limit: GiB that weights, hosts and features of an update may take, at most `growth.config.MAX_GIB`;
            settings that need more are refused before anything is built.
        env, ppo: the rest.

    Raises:
        ValueError: a field outside its range.
    """

    seed: int = 0
    policy: str = "lstm"
    hidden_dim: int = 64
    episodes: int = 2048
    groups: int = 4
    units: int = 1
    stale_updates: int = 0
    normalize: bool = True
    prune_from: float = 0.6
    memory_limit: float = 8.0
    env: GrowthConfig = field(default_factory=GrowthConfig)
    ppo: PPOConfig = field(default_factory=PPOConfig)

    def __post_init__(self) -> None:
        for name in ("hidden_dim", "episodes", "groups", "units"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, not {getattr(self, name)}")
        if not 0 <= self.stale_updates <= MAX_STALE_UPDATES:
            raise ValueError(
                f"`stale_updates` must be from 0 to {MAX_STALE_UPDATES}, not {self.stale_updates}"
            )
        if self.batch < 2:
            raise ValueError(
                f"`groups` ({self.groups}) times `group_size` of `env` ({self.env.group_size}) must be at least 2: a "
                "network is judged by others that are grown beside it"
            )
        if self.env.group_size % self.units:
            raise ValueError(
                f"`units` ({self.units}) must divide `group_size` ({self.env.group_size}) of `env`"
            )
        if not 0 <= self.prune_from <= 1:
            raise ValueError(f"`prune_from` must lie in [0, 1], not {self.prune_from}")
        if not 0 < self.memory_limit <= MAX_GIB:
            raise ValueError(
                f"`memory_limit` must be above 0 and at most {MAX_GIB:g}, not {self.memory_limit}"
            )
        if not 0 <= self.seed < MAX_RUN_SEEDS:
            raise ValueError(f"`seed` must lie in [0, {MAX_RUN_SEEDS}), not {self.seed}")

    @property
    def batch(self) -> int:
        """Networks grown for each update."""
        return self.groups * self.env.group_size

    @property
    def updates(self) -> int:
        """Batches of episodes, each followed by one update of the policy."""
        return -(-self.episodes // self.batch)

    def epochs_of(self, update: int) -> int:
        """Length of the episodes that this update, counted from 0, learns from."""
        return self.env.family.draw_max_epochs(self.rollout_seed(update, 0))

    def env_of(self, update: int) -> GrowthConfig:
        """What this update's hosts are drawn from: `env` with one length of episodes."""
        epochs = self.epochs_of(update)
        return replace(self.env, family=replace(self.env.family, max_epochs=(epochs, epochs)))

    def steps_until(self, update: int) -> int:
        """Environment steps of all updates before this one."""
        return self.batch * sum(self.epochs_of(before) for before in range(update))

    def progress(self, update: int) -> float:
        """Fraction of the run that is done before this update, counted from 0."""
        return update / self.updates

    def held_back(self, update: int) -> tuple[LifecycleOp, ...]:
        """The curriculum: ops that are treated as illegal in this update."""
        return (LifecycleOp.PRUNE,) if self.progress(update) < self.prune_from else ()

    def rollout_seed(self, update: int, group: int) -> int:
        """Of a group's hosts and actions: another one for every group of every update of every run."""
        return (update * self.groups + group) * MAX_RUN_SEEDS + self.seed
