"""The unit of work of a run: fresh hosts are grown from first to last epoch, as a pure function of its arguments."""

from collections.abc import Collection, Sequence
from typing import NamedTuple, final

import numpy as np
import torch
from torch import Tensor

from leyline_types import FactoredActions, LifecycleOp, Observation
from simic_training.growth.config import GrowthConfig
from simic_training.growth.draws import HostGroup, draw_groups
from simic_training.growth.episodes import EpisodeRecorder, Episodes
from simic_training.growth.world import GrowthWorld
from simic_training.ppo.collect import collect, first_carry
from simic_training.ppo.config import PPOConfig
from simic_training.ppo.environments import EnvStep, Seen
from simic_training.ppo.stopwatch import Stopwatch
from simic_training.ppo.trajectory import Trajectory
from tamiyo_features import FrozenNormalizer, extract_features
from tamiyo_masks import ActionMasks, action_masks
from tamiyo_policies import PolicyBundle


class Rollout(NamedTuple):
    """What a unit leaves behind: for the update, for the log, and seconds by part of the work."""

    trajectory: Trajectory
    episodes: Episodes
    seconds: dict[str, float]


def roll_out(
    policy: PolicyBundle,
    config: GrowthConfig,
    num_hosts: int,
    seed: int,
    *,
    ppo: PPOConfig,
    normalizer: FrozenNormalizer | None,
    held_back: Collection[LifecycleOp] = (),
    part: int = 0,
    parts: int = 1,
) -> Rollout:
    """One episode on each of `num_hosts` fresh hosts, or on a part of them, actions sampled from the policy.

    A function of its arguments: equal weights, settings and seeds give equal results, in any process.

    Args:
        policy: whose weights are used, and not changed.
        config: of the hosts.
        num_hosts: how many.
        seed: of hosts and actions.
        ppo: for the exploration floors.
        normalizer: of the features, frozen.
        held_back: ops that are treated as illegal although they are not.
        part: which of so many equal `parts` of the hosts is grown, counted from 0.

    Raises:
        ValueError: see `draw_groups` and `part_of_groups`.
    """
    groups = part_of_groups(draw_groups(config, num_hosts, seed), part, parts)
    world = GrowthWorld(rules=config.rules)
    stopwatch = Stopwatch()
    with stopwatch.time("host"):
        world.reset(groups)
    hosts = _OneEpisode(world, held_back, stopwatch)
    trajectory, _ = collect(
        hosts,
        policy,
        first_carry(hosts, policy),
        world.max_epochs,
        generator=torch.Generator().manual_seed(actions_seed(seed, part)),
        floors=ppo.floors,
        normalizer=normalizer,
        stopwatch=stopwatch,
    )
    seconds = {name: stopwatch.seconds[name] for name in ("host", "features", "masks", "policy")}
    return Rollout(trajectory, hosts.recorder.episodes(), seconds)


def actions_seed(seed: int, part: int) -> int:
    """Of what a part of the hosts does: torch's generator looks at the lowest 32 bits of a seed alone."""
    return int(np.random.SeedSequence((seed, part)).generate_state(1)[0]) if part else seed


def part_of_groups(groups: Sequence[HostGroup], part: int, parts: int) -> tuple[HostGroup, ...]:
    """Of every group one of so many equal parts, counted from 0.

    Raises:
        ValueError: there is no such part, or a group cannot be cut into so many.
    """
    if not 0 <= part < parts:
        raise ValueError(f"`part` must lie in [0, {parts}), not {part}")
    taken = []
    for group in groups:
        size, rest = divmod(len(group.host_seeds), parts)
        if rest:
            raise ValueError(f"{len(group.host_seeds)} hosts cannot be cut into {parts} equal parts")
        rows = slice(part * size, (part + 1) * size)
        taken.append(group._replace(host_seeds=group.host_seeds[rows], prices=group.prices[rows]))
    return tuple(taken)


@final
class _OneEpisode:
    """A world as `collect` takes it, for one episode: what is seen after its end is the last state."""

    def __init__(self, world: GrowthWorld, held_back: Collection[LifecycleOp], stopwatch: Stopwatch) -> None:
        self._world, self._held_back, self._stopwatch = world, held_back, stopwatch
        self.recorder = EpisodeRecorder(world)

    @property
    def num_envs(self) -> int:
        return self._world.num_hosts

    def reset(self) -> Seen:
        return self._look(self._world.observe())

    def step(self, actions: FactoredActions[Tensor]) -> EnvStep:
        with self._stopwatch.time("host"):
            outcome = self._world.step(actions)
        self.recorder.add(actions, outcome)
        ended = torch.full_like(outcome.legal, self._world.epoch == self._world.max_epochs)
        return EnvStep(self._look(outcome.observation), outcome.reward.total, ended, torch.zeros_like(ended))

    def _look(self, observation: Observation[Tensor]) -> Seen:
        with self._stopwatch.time("features"):
            features = extract_features(observation, self._world.slot_config)
        with self._stopwatch.time("masks"):
            masks = action_masks(observation, self._world.slot_config, self._world.rules)
            masks = hold_back(masks, self._held_back)
        return Seen(features, masks)


def hold_back(masks: ActionMasks, ops: Collection[LifecycleOp]) -> ActionMasks:
    """The masks with these ops taken out. WAIT always stays.

    Raises:
        ValueError: WAIT is among the ops.
    """
    indices = [int(op) for op in ops]
    if int(LifecycleOp.WAIT) in indices:
        raise ValueError("WAIT cannot be held back: it may be the only legal op")
    if not indices:
        return masks
    allowed = torch.ones_like(masks.op)
    allowed[..., indices] = False
    return masks._replace(op=masks.op & allowed)
