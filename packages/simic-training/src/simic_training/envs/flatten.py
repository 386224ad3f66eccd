"""Wrappers that make every action one choice from a list: one `Discrete` space with its exact mask."""

from typing import Any, final

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.spaces import Discrete
from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector import AutoresetMode, VectorActionWrapper, VectorEnv
from gymnasium.vector.utils import batch_space

from simic_training.envs.action_list import ActionList
from simic_training.envs.infos import Info
from simic_training.envs.single import GrowthEnv
from simic_training.envs.spaces import Array, EnvObservation, resized_mask
from simic_training.envs.vector import GrowthVectorEnv, VectorStep


@final
class FlattenAction(
    gymnasium.ActionWrapper[EnvObservation, np.integer[Any] | int, Array], RecordConstructorArgs
):
    """A `GrowthEnv` whose action is one number: a place in `canonical_actions` of its slots.

    Its mask, in info, in the observation where the environment shows one there, and from `action_masks()`, is exact:
    what it allows is what the host accepts.

    Args:
        env: a `GrowthEnv`, perhaps in wrappers that change neither observation nor action.

    Raises:
        TypeError: another environment.
    """

    def __init__(self, env: gymnasium.Env[EnvObservation, Array]) -> None:
        RecordConstructorArgs.__init__(self)
        super().__init__(env)
        if not isinstance(env.unwrapped, GrowthEnv):
            raise TypeError(f"`env` must be a GrowthEnv, not {env.unwrapped}")
        self._growth = env.unwrapped
        self._list = ActionList(self._growth.slot_config)
        self.action_space = Discrete(len(self._list))
        self.observation_space = resized_mask(env.observation_space, len(self._list))

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """Which actions are legal, [action].

        Raises:
            ResetNeeded: before the first `reset`.
        """
        return self._list.mask(self._growth.masks)

    def action(self, action: np.integer[Any] | int) -> Array:
        """The indices [head] of an action of the list.

        Raises:
            ValueError: a number outside the list, or no whole number.
        """
        return self._list.indices(action, ())

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[EnvObservation, Info]:
        """As the environment does it, with the mask of the list."""
        return self._list.flattened(*self.env.reset(seed=seed, options=options))

    def step(self, action: np.integer[Any] | int) -> tuple[EnvObservation, Any, bool, bool, Info]:
        """As the environment does it, with the mask of the list."""
        observation, reward, terminated, truncated, info = super().step(action)
        observation, info = self._list.flattened(observation, info)
        return observation, reward, terminated, truncated, info


@final
class FlattenVectorAction(VectorActionWrapper[EnvObservation, Array, Array, Array], RecordConstructorArgs):
    """A `GrowthVectorEnv` whose actions are one number each: places in `canonical_actions` of its slots.

    Its masks are exact, as those of `FlattenAction`; so are those in "final_obs" and "final_info".

    Args:
        env: a `GrowthVectorEnv`, perhaps in wrappers that change neither observations nor actions.

    Raises:
        TypeError: another environment.
    """

    def __init__(self, env: VectorEnv[EnvObservation, Array, Array]) -> None:
        RecordConstructorArgs.__init__(self)
        super().__init__(env)
        if not isinstance(env.unwrapped, GrowthVectorEnv):
            raise TypeError(f"`env` must be a GrowthVectorEnv, not {env.unwrapped}")
        self._growth = env.unwrapped
        self._list = ActionList(self._growth.slot_config)
        self.single_action_space = Discrete(len(self._list))
        self.action_space = batch_space(self.single_action_space, env.num_envs)
        self.single_observation_space = resized_mask(env.single_observation_space, len(self._list))
        self.observation_space = batch_space(self.single_observation_space, env.num_envs)

    @property
    def autoreset_mode(self) -> AutoresetMode:
        """What follows the end of an episode."""
        return self._growth.autoreset_mode

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """Which actions are legal, [env, action].

        Raises:
            ResetNeeded: before the first `reset`.
        """
        return self._list.mask(self._growth.masks)

    def actions(self, actions: Array) -> Array:
        """The indices [env, head] of actions [env] of the list.

        Raises:
            ValueError: numbers of another shape or outside the list, or no whole numbers.
        """
        return self._list.indices(actions, (self.num_envs,))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[EnvObservation, Info]:
        """As the environment does it, with the mask of the list."""
        return self._list.flattened(*self.env.reset(seed=seed, options=options))

    def step(self, actions: Array) -> VectorStep:
        """As the environment does it, with the mask of the list."""
        observation, reward, terminated, truncated, info = super().step(actions)
        observation, info = self._list.flattened(observation, info)
        return observation, reward, terminated, truncated, info
