"""What environments tell beside observation and reward, as Gymnasium lays it out for one host and for many."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from leyline_types import Observation, SlotConfig, head_sizes
from simic_training.growth.draws import HostGroup
from simic_training.growth.world import WorldStep
from tamiyo_masks import ActionMasks

Info = dict[str, Any]
"""Arrays [host, ...] by key; numbers and bools alone, since some learners keep infos as tensors."""


def state_info(observation: Observation[Tensor], groups: Sequence[HostGroup], masks: ActionMasks) -> Info:
    """What is true of each host now.

    Returns:
        action_mask: the legal choices of every head side by side, bool [host, choices] (`ActionMasks.flat`).
        slot_by_op: the slots open to each op, bool [host, op, slot], which `action_mask` does not tell.
        val_accuracy: percent. size: parameters over the bare host's.
        num_classes, width, max_epochs, price: what was drawn for the host, its episode and what growing it costs.
    """
    signals = observation.signals
    hosts = [group for group in groups for _ in group.host_seeds]
    return {
        "action_mask": masks.flat().numpy(),
        "slot_by_op": masks.slot_by_op.clone().numpy(),
        "val_accuracy": signals.val_accuracy.double().numpy(),
        "size": (signals.total_params.double() / signals.host_params).numpy(),
        "num_classes": np.array([host.task.num_classes for host in hosts]),
        "width": np.array([host.config.width for host in hosts]),
        "max_epochs": np.array([host.config.max_epochs for host in hosts]),
        "price": np.array([price for group in groups for price in group.prices]),
    }


def step_info(step: WorldStep) -> Info:
    """What the last action of each host led to.

    Returns:
        invalid_action: whether it was illegal, so that nothing was done.
        took_effect: whether it was neither illegal nor stopped by its gate.
        rolled_back: whether the host diverged and was set back.
        reward_accuracy, reward_rent: what the reward is the sum of.
    """
    return {
        "invalid_action": (~step.legal).numpy(),
        "took_effect": step.took_effect.numpy(),
        "rolled_back": step.rolled_back.numpy(),
        "reward_accuracy": step.reward.accuracy.double().numpy(),
        "reward_rent": step.reward.rent.double().numpy(),
    }


def marked(info: Info, num_hosts: int) -> Info:
    """With Gymnasium's `_key` beside every key, bool [host]: all of the hosts have it."""
    return {**info, **{f"_{key}": np.ones(num_hosts, dtype=np.bool_) for key in info}}


def of_host(info: Mapping[str, Any], host: int) -> Info:
    """One host's part, with numbers and bools of Python for single values; marks are left out."""
    rows = {key: column[host] for key, column in info.items() if not key.startswith("_")}
    return {key: row.item() if isinstance(row, np.generic) else row for key, row in rows.items()}


def masks_of(info: Mapping[str, Any], slot_config: SlotConfig) -> ActionMasks:
    """The masks that an info tells of, [host, choice] each, or [choice] for an info of one host."""
    heads = torch.from_numpy(info["action_mask"]).split(head_sizes(slot_config), dim=-1)
    return ActionMasks._make((*heads, torch.from_numpy(info["slot_by_op"])))
