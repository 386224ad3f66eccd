"""Hosts in lockstep with arrays in and out: what the environments for one host and for many have in common."""

from typing import Any, NamedTuple, final

import numpy as np
import numpy.typing as npt
import torch
from gymnasium.error import ResetNeeded
from torch import Tensor

from leyline_types import FactoredActions, Observation, head_sizes
from simic_training.envs.infos import Info, state_info, step_info
from simic_training.growth.config import GrowthConfig
from simic_training.growth.draws import HostGroup, draw_groups, slots_of
from simic_training.growth.world import GrowthWorld
from tamiyo_features import check_finite_features, check_observation, extract_features
from tamiyo_masks import ActionMasks, action_masks, check_masks


class HostState(NamedTuple):
    """What there is to see of the hosts.

    Args:
        groups: what was drawn for the episode, in the order of the hosts.
        observation: columns, [host] and [host, slot].
        features: [host, feature].
        masks: legal choices, [host, choice] in every head.
        info: by key, [host, ...].
    """

    groups: tuple[HostGroup, ...]
    observation: Observation[Tensor]
    features: npt.NDArray[np.float32]
    masks: ActionMasks
    info: Info


class HostStep(NamedTuple):
    """What a step led to.

    Args:
        state: the new one; its info tells of the step too.
        reward: [host], exactly the sum of its terms in the info.
        ended: whether this was the last epoch of the episode, for all hosts.
    """

    state: HostState
    reward: npt.NDArray[np.float64]
    ended: bool


@final
class LockstepHosts:
    """Hosts whose episodes begin and end together; from one to the next their length may differ.

    Args:
        config: what is drawn, and what growing pays.
        num_hosts: at least 1.
        held_out: whether hosts are those to judge on, see `draw_groups`.

    Raises:
        ValueError: no hosts.
    """

    def __init__(self, config: GrowthConfig, num_hosts: int, *, held_out: bool) -> None:
        if num_hosts < 1:
            raise ValueError(f"`num_envs` must be at least 1, not {num_hosts}")
        self.slot_config = slots_of(config.host)
        self.ended = False
        self._config, self._num_hosts, self._held_out = config, num_hosts, held_out
        self._world = GrowthWorld(rules=config.rules)
        self._state: HostState | None = None

    @property
    def state(self) -> HostState:
        """The present one.

        Raises:
            ResetNeeded: before the first `begin`.
        """
        if self._state is None:
            raise ResetNeeded("there is no host yet: call reset() first")
        return self._state

    @property
    def max_epochs(self) -> int:
        """Steps of the present episode.

        Raises:
            ResetNeeded: before the first `begin`.
        """
        return self.state.groups[0].config.max_epochs

    def begin(self, rng: np.random.Generator) -> HostState:
        """Draw fresh hosts, measured before any training.

        Args:
            rng: advanced by one draw, on which everything about the episode but its actions depends.

        Raises:
            ValueError: `config.rules` enables a slot that is not there, or nothing that fits the hosts.
            FileNotFoundError, ValueError: `config.data` cannot be read as data.
            ObservationError, InvalidStateMachineError: as `step`.
        """
        seed = int(rng.integers(np.iinfo(np.int64).max))
        self._world.reset(draw_groups(self._config, self._num_hosts, seed, held_out=self._held_out))
        self.ended = False
        return self._look({})

    def step(self, actions: Any) -> HostStep:
        """Act, train an epoch, evaluate, reward. An illegal action changes nothing.

        Args:
            actions: integers [host, head] in head order.

        Raises:
            ValueError: another shape or another kind of numbers, or an index outside its head; the hosts are as before.
            ResetNeeded: before the first `begin`, or after the end of an episode.
            ObservationError: the hosts have come to something that is not finite; names environment, slot and feature.
                Hosts that diverge are set back before that can be. The episode cannot go on; `begin` the next.
            InvalidStateMachineError: an environment is left without a legal choice, which WAIT rules out.
        """
        if self._state is None or self.ended:
            reason = "the episode has ended" if self.ended else "there is no host yet"
            raise ResetNeeded(f"{reason}: call reset() before step()")
        step = self._world.step(self._factored(np.asarray(actions)))
        accuracy, rent = (term.double() for term in step.reward)
        self.ended = self._world.epoch >= self._world.max_epochs
        return HostStep(self._look(step_info(step)), (accuracy + rent).numpy(), self.ended)

    def _look(self, told: Info) -> HostState:
        self._state = None  # what does not pass the checks is not to be acted on
        observation, groups = self._world.observe(), self._world.groups
        check_observation(observation, self.slot_config)
        masks = action_masks(observation, self.slot_config, self._config.rules)
        check_masks(masks)
        features = extract_features(observation, self.slot_config)
        check_finite_features(features, self.slot_config)
        info = {**told, **state_info(observation, groups, masks)}
        self._state = HostState(groups, observation, features.numpy(), masks, info)
        return self._state

    def _factored(self, actions: npt.NDArray[Any]) -> FactoredActions[Tensor]:
        due = (self._num_hosts, len(head_sizes(self.slot_config)))
        if actions.shape != due or not np.issubdtype(actions.dtype, np.integer):
            raise ValueError(
                f"actions must be integers of shape {due}, one per host and head, not {actions.dtype} {actions.shape}"
            )
        return FactoredActions(*torch.from_numpy(actions.astype(np.int64)).unbind(-1))
