"""From a configuration to a policy ready for use: first weights, then device and dtype, then compiled functions."""

from collections.abc import Mapping

import torch
from torch import Tensor

from tamiyo_policies.config import PolicyConfig
from tamiyo_policies.protocol import PolicyBundle
from tamiyo_policies.registry import get_policy


def create_policy(config: PolicyConfig, *, weights: Mapping[str, Tensor] | None = None) -> PolicyBundle:
    """The policy that this configuration describes. torch's global random state is left as it was.

    Args:
        config: see `PolicyConfig`.
        weights: taken over in place of first weights drawn from `config.seed`.

    Raises:
        UnknownPolicyError: no policy has the name.
        PolicyInputError: the weights do not fit.
    """
    policy_class = get_policy(config.policy)
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        # Not torch.manual_seed: it would also seed every accelerator, whose states are not restored.
        torch.default_generator.manual_seed(config.seed)
        policy = policy_class(config)
    policy.to(device=config.device, dtype=config.dtype)
    if weights is not None:
        policy.load_state_dict(weights)
    # Last: a compiled policy no longer moves.
    policy.compile(config.compile_mode)
    return policy
