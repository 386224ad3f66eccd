"""The units of work that an update's rollouts consist of, for any engine."""

from collections.abc import Iterator
from functools import lru_cache

from simic_training.engines.unit import Unit
from simic_training.growth.draws import HostGroup, draw_groups
from simic_training.runs.config import TrainConfig
from simic_training.runs.rollout import part_of_groups, roll_out
from simic_training.runs.rollout_bytes import rollout_to_bytes
from simic_training.runs.state import TrainingState
from tamiyo_features import FrozenNormalizer, freeze
from tamiyo_policies import PolicyBundle, checkpoint_from_bytes, policy_to_bytes, register_builtin_policies


def units_of(config: TrainConfig, update: int) -> list[Unit]:
    """What has to be grown for an update, counted from 0: every part of every group."""
    return list(_units(config, update))


def hosts_of(config: TrainConfig, update: int, group: int, part: int) -> tuple[HostGroup, ...]:
    """The hosts of a unit; arguments as those of `grow_unit`."""
    drawn = draw_groups(config.env_of(update), config.env.group_size, config.rollout_seed(update, group))
    return part_of_groups(drawn, part, config.units)


def weights_of(state: TrainingState) -> bytes:
    """What units need of a state: policy and normaliser."""
    return policy_to_bytes(state.policy, normalizer=state.normalizer)


def grow_unit(weights: bytes, config: TrainConfig, update: int, group: int, part: int) -> bytes:
    """Do one unit.

    Args:
        weights: from `weights_of`.
        config: of the run.
        update, group, part: which, counted from 0.

    Returns:
        The rollout, see `rollout_from_bytes`.
    """
    policy, normalizer = policy_of(weights)
    rollout = roll_out(
        policy,
        config.env_of(update),
        config.env.group_size,
        config.rollout_seed(update, group),
        ppo=config.ppo,
        normalizer=normalizer,
        held_back=config.held_back(update),
        part=part,
        parts=config.units,
    )
    return rollout_to_bytes(rollout)


def _units(config: TrainConfig, update: int) -> Iterator[Unit]:
    for group in range(config.groups):
        for part in range(config.units):
            name = f"update {update + 1}, group {group + 1}" + (
                f", part {part + 1}" if config.units > 1 else ""
            )
            yield Unit(name, (config, update, group, part))


@lru_cache(maxsize=1)
def policy_of(weights: bytes) -> tuple[PolicyBundle, FrozenNormalizer | None]:
    """The policy and its normaliser from `weights_of`, or a checkpoint's content.

    Raises:
        CheckpointError: they cannot be used.
    """
    register_builtin_policies()
    policy, normalizer = checkpoint_from_bytes(weights)
    return policy, None if normalizer is None else freeze(normalizer)
