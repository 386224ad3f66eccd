"""The loss and the advantages once more, element by element, as slow and as plain as they are defined.

Scalars are tensors of no dimensions, so that autograd gives the reference's gradients too.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from simic_training.ppo.config import Ratio


class LossInputs(NamedTuple):
    """The tensors that `ppo_loss` takes, in its order."""

    head_log_probs: Tensor
    old_head_log_probs: Tensor
    advantage: Tensor
    value: Tensor
    value_target: Tensor
    entropy: Tensor
    free_heads: Tensor


def plain_loss(
    inputs: LossInputs, *, ratio: Ratio, clip: float, value_weight: float, entropy_weight: float
) -> tuple[Tensor, ...]:
    """Total, actor, critic, entropy, approx_kl, clip_fraction."""
    actor = critic = entropy = kl = torch.zeros((), dtype=torch.float64)
    free_steps = far = ratios = 0
    num_envs, num_steps, num_heads = inputs.head_log_probs.shape
    for env in range(num_envs):
        for time in range(num_steps):
            critic = critic + (inputs.value[env, time] - inputs.value_target[env, time]) ** 2 / 2
            free = [head for head in range(num_heads) if inputs.free_heads[env, time, head]]
            if not free:
                continue
            free_steps += 1
            entropy = entropy + inputs.entropy[env, time]
            now, then = inputs.head_log_probs[env, time], inputs.old_head_log_probs[env, time]
            of_heads = [(now[head] - then[head]).exp() for head in free]
            of_action = torch.stack(of_heads).prod()
            kl = kl + of_action - 1 - of_action.log()
            for r in of_heads if ratio is Ratio.HEAD else [of_action]:
                number, gain = float(r.detach()), float(inputs.advantage[env, time])
                bounded = min(max(number, 1 - clip), 1 + clip)
                # Where the bound holds nothing is learnt: it is a number.
                actor = actor - (r * gain if number * gain <= bounded * gain else bounded * gain)
                ratios += 1
                far += bounded != number
    steps = max(free_steps, 1)
    actor, critic, entropy = actor / steps, critic / (num_envs * num_steps), entropy / steps
    total = actor + value_weight * critic - entropy_weight * entropy
    return total, actor, critic, entropy, kl / steps, torch.tensor(far / max(ratios, 1))


class Stretch(NamedTuple):
    """The tensors that `generalized_advantages` takes, in its order."""

    rewards: Tensor
    values: Tensor
    terminated: Tensor
    truncated: Tensor
    cut_value: Tensor
    last_value: Tensor


def plain_advantage(stretch: Stretch, env: int, time: int, *, gamma: float, lam: float) -> float:
    """The advantage of one step, by recursion over the steps after it."""
    reward, value = float(stretch.rewards[env, time]), float(stretch.values[env, time])
    last = time == stretch.rewards.shape[1] - 1
    if stretch.terminated[env, time]:
        return reward - value
    if stretch.truncated[env, time]:
        return reward + gamma * float(stretch.cut_value[env, time]) - value
    if last:
        return reward + gamma * float(stretch.last_value[env]) - value
    delta = reward + gamma * float(stretch.values[env, time + 1]) - value
    return delta + gamma * lam * plain_advantage(stretch, env, time + 1, gamma=gamma, lam=lam)
