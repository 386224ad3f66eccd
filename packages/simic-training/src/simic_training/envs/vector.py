"""Many growing hosts as one Gymnasium vector environment."""

from typing import Any, final

import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from simic_training.envs.hosts import HostState, LockstepHosts
from simic_training.envs.infos import Info, marked
from simic_training.envs.options import RENDER_METADATA, check_render_mode, check_reset_options
from simic_training.envs.spaces import (
    Array,
    EnvObservation,
    factored_action_space,
    feature_space,
    observed,
    rows_of,
    with_mask,
)
from simic_training.envs.words import host_in_words
from simic_training.growth.config import GrowthConfig
from simic_training.growth.draws import HostGroup
from tamiyo_masks import ActionMasks

VectorStep = tuple[
    EnvObservation, npt.NDArray[np.float64], npt.NDArray[np.bool_], npt.NDArray[np.bool_], Info
]


@final
class GrowthVectorEnv(VectorEnv[EnvObservation, Array, Array]):
    """Hosts that grow by actions, trained as batches: several times as fast as one `GrowthEnv` after another.

    A step is an epoch: each host takes its action, trains, and is measured. Every episode draws fresh hosts by a seed
    from `np_random`, so that equal seeds and actions make equal episodes. It draws its length too, within
    `config.family.max_epochs`: the episodes of all hosts end and begin together, and the next ones may be longer or
    shorter.

    Observation: the features of `leyline_types.observation_schema` within its ranges, or with `mask_in_observation` a
    dict of "features" and "action_mask". Action: `MultiDiscrete` of the eight heads in order; heads that the op does
    not use are not read. An illegal combination changes nothing and is told as `info["invalid_action"]`. Reward:
    `simic_training.growth.reward.growth_reward`. Info: see `simic_training.envs.infos`.

    The mask, in info, in the observation and from `action_masks()`, holds the legal choices of every head side by side.
    Which slot goes with which op is in info["slot_by_op"]; `FlattenVectorAction` has an exact mask of whole actions.

    Args:
        num_envs: hosts, at least 1.
        config: what is drawn, and what growing pays.
        autoreset_mode: what follows the end of an episode. SAME_STEP: the step returns the next episode's beginning,
            and the end in info["final_obs"] and info["final_info"]. NEXT_STEP: the next step ignores its actions and
            begins an episode. DISABLED: a call of `reset` is due.
        truncate: the last epoch truncates the episode and does not terminate it, for learners that should look beyond.
        held_out: draw hosts to judge on, which are never drawn without it, see `draw_groups`.
        mask_in_observation: whether observations hold the mask.
        render_mode: "ansi" for `render`, or None.

    Raises:
        ValueError: no hosts, or another render mode.
    """

    def __init__(
        self,
        num_envs: int = 8,
        config: GrowthConfig = GrowthConfig(),  # noqa: B008  (frozen)
        *,
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
        truncate: bool = False,
        held_out: bool = False,
        mask_in_observation: bool = False,
        render_mode: str | None = None,
    ) -> None:
        check_render_mode(render_mode)
        self._hosts = LockstepHosts(config, num_envs, held_out=held_out)
        self._truncate, self._show_mask = truncate, mask_in_observation
        self.config, self.slot_config = config, self._hosts.slot_config
        self.num_envs, self.render_mode = num_envs, render_mode
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self.metadata = {**RENDER_METADATA, "autoreset_mode": self.autoreset_mode}
        self.single_action_space = factored_action_space(self.slot_config)
        features = feature_space(self.slot_config)
        mask_size = int(self.single_action_space.nvec.sum())
        self.single_observation_space = with_mask(features, mask_size) if mask_in_observation else features
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)

    @property
    def masks(self) -> ActionMasks:
        """Legal choices of the present state, [env, choice] in every head, and which slots are open to each op.

        Raises:
            ResetNeeded: before the first `reset`.
        """
        return self._hosts.state.masks

    @property
    def max_epochs(self) -> int:
        """Steps of the present episode.

        Raises:
            ResetNeeded: before the first `reset`.
        """
        return self._hosts.max_epochs

    @property
    def groups(self) -> tuple[HostGroup, ...]:
        """What was drawn for the present episode: data, settings, seeds and prices, of the hosts in their order.

        Raises:
            ResetNeeded: before the first `reset`.
        """
        return self._hosts.state.groups

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """The mask of the action space, [env, choices]: the legal choices of every head side by side.

        Raises:
            ResetNeeded: before the first `reset`.
        """
        return self.masks.flat().numpy()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[EnvObservation, Info]:
        """Draw fresh hosts.

        Args:
            seed: seeds `np_random`, from which this and all later episodes are drawn; None goes on with it.
            options: may hold "reset_mask", bool [env]. It must be true everywhere: hosts train in lockstep.

        Raises:
            ValueError, TypeError: other options.
        """
        check_reset_options(options, self.num_envs)
        super().reset(seed=seed)
        return self._begin()

    def step(self, actions: Array) -> VectorStep:
        """Take an action in each host and train it for an epoch.

        Args:
            actions: integers [env, head] in head order.

        Raises:
            ValueError: another shape or another kind of numbers, or an index outside its head; the hosts are as before.
            ResetNeeded: before the first `reset`, or after the end of an episode where autoreset is disabled.
            ObservationError: the hosts have come to something that is not finite; names environment, slot and feature.
        """
        if self._hosts.ended and self.autoreset_mode is AutoresetMode.NEXT_STEP:
            observation, info = self._begin()
            never = np.zeros(self.num_envs, dtype=np.bool_)
            return observation, np.zeros(self.num_envs), never, never.copy(), info
        step = self._hosts.step(actions)
        ended, never = np.full(self.num_envs, step.ended), np.zeros(self.num_envs, dtype=np.bool_)
        observation, info = self._show(step.state)
        if step.ended and self.autoreset_mode is AutoresetMode.SAME_STEP:
            final_observation, final_info = rows_of(observation, self.num_envs), info
            observation, info = self._begin()
            info |= {"final_obs": final_observation, "_final_obs": ended.copy()}
            info |= {"final_info": final_info, "_final_info": ended.copy()}
        terminated, truncated = (never, ended) if self._truncate else (ended, never)
        return observation, step.reward, terminated, truncated, info

    def render(self) -> tuple[str, ...] | None:
        """The state of each host in a few lines, or None without a render mode.

        Raises:
            ResetNeeded: before the first `reset`.
        """
        if self.render_mode is None:
            return None
        observation = self._hosts.state.observation
        return tuple(host_in_words(observation, host, self.slot_config) for host in range(self.num_envs))

    def _begin(self) -> tuple[EnvObservation, Info]:
        return self._show(self._hosts.begin(self.np_random))

    def _show(self, state: HostState) -> tuple[EnvObservation, Info]:
        observation = observed(state.features, state.masks.flat().numpy(), show_mask=self._show_mask)
        return observation, marked(state.info, self.num_envs)
