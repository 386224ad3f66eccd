"""The list of all actions as wrappers use it: numbers to indices, masks of heads to masks of the list."""

from typing import Any, final

import numpy as np
import numpy.typing as npt

from leyline_types import SlotConfig
from simic_training.envs.flat_actions import canonical_actions, joint_mask
from simic_training.envs.infos import Info, masks_of
from simic_training.envs.spaces import ACTION_MASK, Array, EnvObservation
from tamiyo_masks import ActionMasks


@final
class ActionList:
    """`canonical_actions` of some slots.

    Args:
        slot_config: the slots.
    """

    def __init__(self, slot_config: SlotConfig) -> None:
        self._slot_config = slot_config
        self._actions = canonical_actions(slot_config)

    def __len__(self) -> int:
        return len(self._actions)

    def indices(self, places: Any, shape: tuple[int, ...]) -> Array:
        """The actions at these places of the list, [*shape, head].

        Raises:
            ValueError: places of another shape or outside the list, or no whole numbers.
        """
        places = np.asarray(places)
        if places.shape != shape or not np.issubdtype(places.dtype, np.integer):
            raise ValueError(f"actions must be integers of shape {shape}, not {places.dtype} {places.shape}")
        if places.min() < 0 or places.max() >= len(self):
            raise ValueError(
                f"actions must lie in 0 to {len(self) - 1}, not from {places.min()} to {places.max()}"
            )
        actions: Array = self._actions.numpy()[places]
        return actions

    def mask(self, masks: ActionMasks) -> npt.NDArray[np.bool_]:
        """Which actions are legal, [*batch, action]."""
        return joint_mask(masks, self._actions).numpy()

    def flattened(self, observation: EnvObservation, info: Info) -> tuple[EnvObservation, Info]:
        """The same with masks of the list in place of masks of the heads, final states included."""
        mask, info = self._masked(info)
        if "final_info" in info:
            final_mask, info["final_info"] = self._masked(info["final_info"])
            finals = info["final_obs"]
            info["final_obs"] = np.empty_like(finals)
            for host, final_observation in enumerate(finals):
                info["final_obs"][host] = _with_mask(final_observation, final_mask[host])
        return _with_mask(observation, mask), info

    def _masked(self, info: Info) -> tuple[npt.NDArray[np.bool_], Info]:
        mask = self.mask(masks_of(info, self._slot_config))
        return mask, {**info, "action_mask": mask}


def _with_mask(observation: EnvObservation, mask: npt.NDArray[np.bool_]) -> EnvObservation:
    if isinstance(observation, dict):
        return {**observation, ACTION_MASK: mask.astype(np.int8)}
    return observation
