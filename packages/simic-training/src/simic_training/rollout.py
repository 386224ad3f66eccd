"""Episodes: a policy grows a population of fresh hosts from seed to last epoch."""

from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from kasmina_hosts import HostPopulation
from leyline_types import LifecycleOp, Observation
from simic_training.reward import HostState, growth_reward
from simic_training.trajectory import Trajectory, stack_steps
from tamiyo_features import extract_features
from tamiyo_masks import ActionMasks, action_masks
from tamiyo_policies import PolicyBundle


def collect_episodes(
    population: HostPopulation,
    policy: PolicyBundle,
    host_seeds: Sequence[int],
    *,
    generator: torch.Generator,
    rent_rate: float,
    held_back: Collection[LifecycleOp] = (),
) -> Trajectory:
    """One episode on each of the hosts with these seeds, actions sampled from the policy.

    A function of its arguments: equal weights, seeds and generator states give equal trajectories.

    Args:
        population: where the hosts are grown; it is reset first.
        policy: the policy whose actions, log-probabilities and values are recorded.
        host_seeds: one per host; they set its first weights and the order of its data.
        generator: the source of the actions' randomness.
        rent_rate: see `growth_reward`.
        held_back: ops that are treated as illegal although they are not.

    Returns:
        Trajectory [env, time, ...] with time = epochs of an episode.
    """
    observation = population.reset(host_seeds)
    hidden = policy.initial_hidden(len(host_seeds))
    steps = []
    for _ in range(population.task_config.max_epochs):
        features = extract_features(observation, population.slot_config)
        masks = hold_back(action_masks(observation, population.slot_config, population.rules), held_back)
        result = policy.get_action(features, masks, hidden, generator=generator)
        outcome = population.step(result.actions)
        rewards = growth_reward(host_state(observation), host_state(outcome.observation), rent_rate=rent_rate)
        steps.append(
            Trajectory(
                features, masks, result.actions, result.log_prob, result.value, rewards, outcome.took_effect
            )
        )
        observation, hidden = outcome.observation, result.hidden
    return stack_steps(steps)


def host_state(observation: Observation[Tensor]) -> HostState:
    """What the reward looks at in an observation."""
    signals = observation.signals
    return HostState(signals.val_accuracy, signals.total_params, signals.host_params)


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
