"""One growing host as a Gymnasium environment."""

from typing import Any, final

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.spaces import Space

from simic_training.envs.hosts import HostState, LockstepHosts
from simic_training.envs.infos import Info, of_host
from simic_training.envs.options import RENDER_METADATA, check_render_mode
from simic_training.envs.spaces import (
    Array,
    EnvObservation,
    factored_action_space,
    feature_space,
    observed,
    row_of,
    with_mask,
)
from simic_training.envs.words import host_in_words
from simic_training.growth.config import GrowthConfig
from simic_training.growth.draws import HostGroup
from tamiyo_masks import ActionMasks


@final
class GrowthEnv(gymnasium.Env[EnvObservation, Array]):
    """A `GrowthVectorEnv` of one host, without its axis: the same seeds and actions make the same episodes.

    Many hosts are several times as fast in one `GrowthVectorEnv`.

    Args:
        config: what is drawn, and what growing pays.
        truncate: the last epoch truncates the episode and does not terminate it.
        held_out: draw hosts to judge on, which are never drawn without it, see `draw_groups`.
        mask_in_observation: whether observations are dicts of "features" and "action_mask".
        render_mode: "ansi" for `render`, or None.

    Raises:
        ValueError: another render mode.
    """

    metadata = dict(RENDER_METADATA)  # noqa: RUF012  (Gymnasium reads it off the class)

    def __init__(
        self,
        config: GrowthConfig = GrowthConfig(),  # noqa: B008  (frozen)
        *,
        truncate: bool = False,
        held_out: bool = False,
        mask_in_observation: bool = False,
        render_mode: str | None = None,
    ) -> None:
        check_render_mode(render_mode)
        self._hosts = LockstepHosts(config, 1, held_out=held_out)
        self._truncate, self._show_mask = truncate, mask_in_observation
        self.config, self.slot_config, self.render_mode = config, self._hosts.slot_config, render_mode
        self.action_space = factored_action_space(self.slot_config)
        features = feature_space(self.slot_config)
        mask_size = int(self.action_space.nvec.sum())
        space: Space[Any] = with_mask(features, mask_size) if mask_in_observation else features
        self.observation_space = space

    @property
    def masks(self) -> ActionMasks:
        """Legal choices of the present state, [choice] in every head, and which slots are open to each op.

        Raises:
            ResetNeeded: before the first `reset`.
        """
        return self._hosts.state.masks.at(0)

    @property
    def max_epochs(self) -> int:
        """Steps of the present episode; the next one may be longer or shorter.

        Raises:
            ResetNeeded: before the first `reset`.
        """
        return self._hosts.max_epochs

    @property
    def group(self) -> HostGroup:
        """What was drawn for the present episode: data, settings, seed and price.

        Raises:
            ResetNeeded: before the first `reset`.
        """
        return self._hosts.state.groups[0]

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """The mask of the action space, [choices]: the legal choices of every head side by side.

        Raises:
            ResetNeeded: before the first `reset`.
        """
        return self.masks.flat().numpy()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[EnvObservation, Info]:
        """Draw a fresh host.

        Args:
            seed: seeds `np_random`, from which this and all later episodes are drawn; None goes on with it.
            options: there are none.

        Raises:
            ValueError: an option.
        """
        if options:
            raise ValueError(f"`options` must be empty, there are none, not {options!r}")
        super().reset(seed=seed)
        return self._show(self._hosts.begin(self.np_random))

    def step(self, action: Array) -> tuple[EnvObservation, float, bool, bool, Info]:
        """Take the action and train the host for an epoch.

        Args:
            action: integers [head] in head order.

        Raises:
            ValueError: another shape or another kind of numbers, or an index outside its head; the host is as before.
            ResetNeeded: before the first `reset`, or after the end of an episode.
            ObservationError: the host has come to something that is not finite; names slot and feature.
        """
        step = self._hosts.step(np.asarray(action)[np.newaxis])
        terminated, truncated = step.ended and not self._truncate, step.ended and self._truncate
        observation, info = self._show(step.state)
        return observation, float(step.reward[0]), terminated, truncated, info

    def render(self) -> str | None:
        """The state of the host in a few lines, or None without a render mode.

        Raises:
            ResetNeeded: before the first `reset`.
        """
        if self.render_mode is None:
            return None
        return host_in_words(self._hosts.state.observation, 0, self.slot_config)

    def _show(self, state: HostState) -> tuple[EnvObservation, Info]:
        observation = observed(state.features, state.masks.flat().numpy(), show_mask=self._show_mask)
        return row_of(observation, 0), of_host(state.info, 0)
