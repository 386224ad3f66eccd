"""A trained policy against other controllers, on the same hosts that nobody trained on."""

from collections.abc import Callable, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from kasmina_hosts import DigitsTask, HostPopulation
from leyline_types import SlotConfig
from simic_training.config import TrainConfig
from simic_training.episodes import Episodes, play_episodes
from simic_training.seeding import evaluation_seeds
from simic_training.statistics import Estimate, estimate
from tamiyo_policies import (
    HeuristicController,
    PolicyController,
    RandomController,
    WaitController,
    load_checkpoint,
    register_builtin_policies,
)

POLICY, GREEDY, STATIC = "policy", "policy-greedy", "static"


class Row(NamedTuple):
    """One controller's line of the table.

    Args:
        controller: its name.
        test_accuracy, val_accuracy: percent, at the end of the episode.
        size: parameters at the end over the bare host's.
        episode_return: sum of rewards.
        policy_lead: test accuracy of the policy minus this controller's, host by host, points.
    """

    controller: str
    test_accuracy: Estimate
    val_accuracy: Estimate
    size: Estimate
    episode_return: Estimate
    policy_lead: Estimate


def _heuristic(slots: SlotConfig, population: HostPopulation, seeds: Sequence[int]) -> Episodes:
    return play_episodes(HeuristicController(slots, rules=population.rules), population, seeds)


def _random(slots: SlotConfig, population: HostPopulation, seeds: Sequence[int]) -> Episodes:
    return play_episodes(RandomController(slots, rules=population.rules), population, seeds)


def _none(slots: SlotConfig, population: HostPopulation, seeds: Sequence[int]) -> Episodes:
    return play_episodes(WaitController(), population, seeds)


Rival = Callable[[SlotConfig, HostPopulation, Sequence[int]], Episodes]
RIVALS: MappingProxyType[str, Rival] = MappingProxyType(
    {"heuristic": _heuristic, "random": _random, "none": _none}
)
"""Controllers that need nothing but a host; `static` needs the policy's grown networks and is played after it."""

RIVAL_NAMES = (*RIVALS, STATIC)


def evaluate_run(
    config: TrainConfig, checkpoint: Path, against: Sequence[str], *, num_hosts: int
) -> list[Row]:
    """Play the policy of a checkpoint, sampled and greedy, and its rivals on the same hosts.

    `static` is the network that the policy ended with, trained from the start with all its seeds in place and no
    growth: what growing, rather than the grown network, is worth.

    Args:
        config: settings of the run, for the hosts and the reward.
        checkpoint: of the policy.
        against: names from `RIVAL_NAMES`.
        num_hosts: hosts that each controller grows; at least 2.

    Raises:
        ValueError: an unknown rival, or too few hosts.
        CheckpointError: the checkpoint cannot be used.
    """
    unknown = sorted(set(against) - set(RIVAL_NAMES))
    if unknown:
        raise ValueError(f"no controller named {', '.join(unknown)}; choose from {', '.join(RIVAL_NAMES)}")
    if num_hosts < 2:
        raise ValueError(f"an interval needs at least 2 hosts, not {num_hosts}")
    register_builtin_policies()
    population = HostPopulation(DigitsTask(), config.host)
    policy, normalizer = load_checkpoint(checkpoint)
    seeds = evaluation_seeds(num_hosts)
    played = {
        POLICY: play_episodes(
            PolicyController(policy, seed=config.seed, rules=population.rules, normalizer=normalizer),
            population,
            seeds,
        ),
        GREEDY: play_episodes(
            PolicyController(policy, deterministic=True, rules=population.rules, normalizer=normalizer),
            population,
            seeds,
        ),
    }
    for name in against:
        if name == STATIC:
            played[name] = play_episodes(WaitController(), population, seeds, grown=played[POLICY].grown)
        else:
            played[name] = RIVALS[name](population.slot_config, population, seeds)
    return [make_row(name, episodes, played[POLICY], config.rent_rate) for name, episodes in played.items()]


def make_row(name: str, episodes: Episodes, policy: Episodes, rent_rate: float) -> Row:
    """The line of one controller beside the policy's episodes on the same hosts.

    Raises:
        ValueError: the two were played on different hosts.
    """
    if episodes.host_seeds != policy.host_seeds:
        raise ValueError(
            f"{name} was played on hosts {episodes.host_seeds}, the policy on {policy.host_seeds}"
        )
    return Row(
        controller=name,
        test_accuracy=estimate(episodes.test_accuracy),
        val_accuracy=estimate(episodes.val_accuracy[:, -1]),
        size=estimate(episodes.size),
        episode_return=estimate(episodes.episode_return(rent_rate)),
        policy_lead=estimate(policy.test_accuracy - episodes.test_accuracy),
    )
