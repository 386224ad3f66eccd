"""How much memory a run needs, found from its settings alone: nothing is built to find that it is too large."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import torch

from kasmina_hosts import Lack, host_bytes
from leyline_types import observation_schema
from simic_training.growth.draws import GIB, draw_member, slots_of
from simic_training.runs.config import TrainConfig
from tamiyo_policies import PolicyConfig, get_policy

_COPIES: Final = 4
"""Of a policy's weights: themselves, their gradients and both of Adam's moments."""
_FLOAT: Final = 4


class TooLargeError(ValueError):
    """Settings that ask for more memory than `memory_limit` allows."""


def check_size(config: TrainConfig) -> None:
    """See that a run fits into `config.memory_limit`.

    What is counted: weights, gradients and moments of the policy; the hosts that one worker grows at once, of the
    largest width, as the family draws one that lacks nothing; and the features of an update of the longest episodes.
    Seeds, activations and masks come on top: this is a lower bound.

    Weights and batches of earlier updates that `stale_updates` keeps are counted too.

    Raises:
        TooLargeError: it does not fit; names the settings that count most.
        UnknownPolicyError: no policy is registered under the name.
        FileNotFoundError, ValueError: `config.env.data` cannot be read as data, or patches do not tile it.
    """
    slot_config, epochs = slots_of(config.env.host), config.env.family.max_epochs[1]
    policy = PolicyConfig(policy=config.policy, slot_config=slot_config, hidden_dim=config.hidden_dim)
    at_once = config.env.group_size // config.units
    batches = 1 + config.stale_updates
    features = batches * config.batch * epochs * observation_schema(slot_config).dim * _FLOAT
    _compare(
        {
            f"the policy (`hidden_dim` {config.hidden_dim})": batches * _policy_bytes(policy),
            f"{at_once} hosts at once (`env.group_size`, {_widths(config)})": _hosts_bytes(config, at_once),
            f"what {config.batch} hosts observe in an update (`env.family.max_epochs` up to {epochs})": features,
        },
        config.memory_limit,
    )


def check_hosts(config: TrainConfig, at_once: int) -> None:
    """See that so many hosts, of the largest width, fit into `config.memory_limit`.

    Raises:
        TooLargeError: they do not.
        FileNotFoundError, ValueError: see `check_size`.
    """
    told = f"{at_once} hosts at once (`hosts_per_member`, {_widths(config)})"
    _compare({told: _hosts_bytes(config, at_once)}, config.memory_limit)


def _hosts_bytes(config: TrainConfig, at_once: int) -> int:
    family = config.env.family
    widest = replace(config.env, family=replace(family, widths=(family.widths[1],) * 2))
    task, host, _ = draw_member(widest, config.seed, lack=Lack.NOTHING)
    channels, height, width = task.train.images.shape[1:]
    return at_once * host_bytes(host, (channels, height, width), task.num_classes)


def _widths(config: TrainConfig) -> str:
    return f"`env.family.widths` up to {config.env.family.widths[1]}"


def _compare(parts: Mapping[str, int], memory_limit: float) -> None:
    needed = sum(parts.values())
    if needed > memory_limit * GIB:
        most = max(parts, key=lambda part: parts[part])
        raise TooLargeError(
            f"these settings need at least {needed / GIB:.3g} GiB, more than `memory_limit` {memory_limit:g}; "
            f"most of it for {most}"
        )


def _policy_bytes(config: PolicyConfig) -> int:
    """What learning takes for the weights of a policy, which is built without memory."""
    kind = get_policy(config.policy)
    try:
        with torch.device("meta"):
            weights = kind(config).state_dict()
    except RuntimeError as error:  # torch cannot even count that many bytes
        raise TooLargeError(
            f"`hidden_dim` {config.hidden_dim} is more than any memory holds: {error}"
        ) from None
    return _COPIES * sum(weight.nbytes for weight in weights.values())
