"""Rollouts on their way between processes."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from kasmina_hosts import GrownSeed
from leyline_types import AlphaAlgorithm, BlueprintAction, FactoredActions
from simic_training.growth.draws import HostGroup
from simic_training.growth.episodes import Episodes
from simic_training.growth.reward import RewardTerms
from simic_training.ppo.trajectory import Trajectory, Transitions
from simic_training.runs.rollout import Rollout
from simic_training.runs.tensor_bytes import tensors_from_bytes, tensors_to_bytes
from tamiyo_masks import ActionMasks
from tamiyo_policies import HiddenState


def rollout_to_bytes(rollout: Rollout) -> bytes:
    """All of a rollout but the data of its hosts' tasks, which are drawn again where it is read."""
    steps, hidden, last_value = rollout.trajectory
    episodes = rollout.episodes
    tensors = {
        **_named("steps", steps),
        **_named("masks", steps.masks),
        **_named("actions", steps.actions),
        **_named("hidden", hidden),
        **_named("episodes", episodes),
        **_named("done", episodes.actions),
        **_named("reward", episodes.reward),
        "last_value": last_value,
    }
    note = {
        "seconds": rollout.seconds,
        "grown": [{slot: list(_seed(seed)) for slot, seed in host.items()} for host in episodes.grown],
    }
    return tensors_to_bytes(tensors, note)


def rollout_from_bytes(content: bytes, groups: Sequence[HostGroup]) -> Rollout:
    """The rollout that `rollout_to_bytes` wrote.

    Args:
        content: the bytes.
        groups: its hosts.
    """
    tensors, note = tensors_from_bytes(content)
    steps = Transitions(
        masks=ActionMasks(**_fields("masks", ActionMasks._fields, tensors)),
        actions=FactoredActions(**_fields("actions", FactoredActions._fields, tensors)),
        **_fields("steps", _without(Transitions._fields, "masks", "actions"), tensors),
    )
    episodes = Episodes(
        groups=tuple(groups),
        actions=FactoredActions(**_fields("done", FactoredActions._fields, tensors)),
        reward=RewardTerms(**_fields("reward", RewardTerms._fields, tensors)),
        grown=tuple({slot: _grown(*seed) for slot, seed in host.items()} for host in note["grown"]),
        **_fields("episodes", _without(Episodes._fields, "groups", "actions", "reward", "grown"), tensors),
    )
    hidden = HiddenState(**_fields("hidden", HiddenState._fields, tensors))
    return Rollout(Trajectory(steps, hidden, tensors["last_value"]), episodes, note["seconds"])


def _named(prefix: str, parts: NamedTuple) -> dict[str, Tensor]:
    """The tensors among some fields by name; those further down are named on their own."""
    fields: dict[str, Any] = parts._asdict()
    return {f"{prefix}.{name}": value for name, value in fields.items() if isinstance(value, Tensor)}


def _fields(prefix: str, names: Iterable[str], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensors[f"{prefix}.{name}"] for name in names}


def _without(names: Iterable[str], *others: str) -> list[str]:
    return [name for name in names if name not in others]


def _seed(seed: GrownSeed) -> tuple[int, int, float]:
    return int(seed.blueprint), int(seed.algorithm), seed.alpha


def _grown(blueprint: int, algorithm: int, alpha: float) -> GrownSeed:
    return GrownSeed(BlueprintAction(blueprint), AlphaAlgorithm(algorithm), alpha)
