"""The spaces of one host: what is observed and what is done, as Gymnasium describes them."""

from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium.spaces import Box, Dict, MultiBinary, MultiDiscrete, Space

from leyline_types import SlotConfig, head_sizes, observation_schema

Array = npt.NDArray[Any]

EnvObservation = npt.NDArray[np.float32] | dict[str, Array]
"""Features, or {"features": ..., "action_mask": ...}."""

FEATURES, ACTION_MASK = "features", "action_mask"


def feature_space(slot_config: SlotConfig) -> Box:
    """The features in the order and the ranges of `leyline_types.observation_schema`, float32."""
    schema = observation_schema(slot_config)
    low, high = (np.array(bound, dtype=np.float32) for bound in (schema.low, schema.high))
    return Box(low, high, dtype=np.float32)


def with_mask(features: Box, mask_size: int) -> Dict:
    """Features beside the mask of the action space, int8 of 0 and 1."""
    return Dict({FEATURES: features, ACTION_MASK: MultiBinary(mask_size)})


def resized_mask(space: Space[Any], mask_size: int) -> Space[Any]:
    """The space of observations with a mask of another action space, if they hold a mask."""
    if isinstance(space, Dict):
        return Dict({**space.spaces, ACTION_MASK: MultiBinary(mask_size)})
    return space


def factored_action_space(slot_config: SlotConfig) -> MultiDiscrete:
    """One index per action head, in head order."""
    return MultiDiscrete(list(head_sizes(slot_config)))


def observed(
    features: npt.NDArray[np.float32], mask: npt.NDArray[np.bool_], *, show_mask: bool
) -> EnvObservation:
    """An observation of `feature_space`, or with `show_mask` of `with_mask`."""
    return {FEATURES: features, ACTION_MASK: mask.astype(np.int8)} if show_mask else features


def rows_of(observation: EnvObservation, num_hosts: int) -> npt.NDArray[np.object_]:
    """Each host's observation by itself, [host] of objects, as Gymnasium keeps final observations."""
    rows = np.empty(num_hosts, dtype=np.object_)
    for host in range(num_hosts):
        rows[host] = row_of(observation, host)
    return rows


def row_of(observation: EnvObservation, host: int) -> EnvObservation:
    """One host's observation."""
    if isinstance(observation, dict):
        return {key: column[host] for key, column in observation.items()}
    row: npt.NDArray[np.float32] = observation[host]
    return row
