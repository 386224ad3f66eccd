"""Controllers: a policy with features and masks around it, and two that need no policy. Pure: memory is a value.

They act once an epoch, so that they can afford to check at every step what bundles leave to their callers: what is not
finite or not legal is an error, never a quiet WAIT.
"""

from typing import NamedTuple, final

import torch
from torch import Tensor

from leyline_types import (
    HEAD_NAMES,
    FactoredActions,
    LegalityRules,
    LifecycleOp,
    Observation,
    SlotConfig,
    head_sizes,
)
from tamiyo_features import (
    FrozenNormalizer,
    NormalizerState,
    check_finite_features,
    check_observation,
    extract_features,
    fits_schema,
    freeze,
    normalize,
)
from tamiyo_masks import FactoredMaskedCategorical, action_masks, check_masks
from tamiyo_policies.errors import PolicyInputError
from tamiyo_policies.hidden import HiddenState
from tamiyo_policies.protocol import PolicyBundle
from tamiyo_policies.step_checks import check_step

_DEFAULT_RULES = LegalityRules()


class PolicyMemory(NamedTuple):
    """What a policy's controller remembers: the hidden state, and the steps taken, which fix its random numbers."""

    hidden: HiddenState
    step: int


@final
class PolicyController:
    """Acts by a trained policy. Equal observation and memory give equal actions.

    Args:
        bundle: the policy.
        deterministic: the most probable legal action instead of a sample.
        seed: of the samples.
        rules: what is legal.
        normalizer: of the features that the policy was trained on, if they were normalised; it is frozen here.

    Raises:
        PolicyInputError: the normaliser is for other features than the policy's.
    """

    def __init__(
        self,
        bundle: PolicyBundle,
        *,
        deterministic: bool = False,
        seed: int = 0,
        rules: LegalityRules = _DEFAULT_RULES,
        normalizer: NormalizerState | FrozenNormalizer | None = None,
    ) -> None:
        if normalizer is not None and not fits_schema(normalizer, bundle.config.schema):
            raise PolicyInputError(
                f"`normalizer` ({len(normalizer.gate)} features) is for other features than the policy's "
                f"{bundle.feature_dim}, of slots {', '.join(bundle.slot_config)}"
            )
        self._normalizer = freeze(normalizer) if isinstance(normalizer, NormalizerState) else normalizer
        self._bundle = bundle
        self._deterministic = deterministic
        self._seed = seed
        self._rules = rules

    @property
    def bundle(self) -> PolicyBundle:
        """The policy that it acts by."""
        return self._bundle

    def initial_memory(self, num_envs: int) -> PolicyMemory:
        """Zero state, step 0."""
        return PolicyMemory(self._bundle.initial_hidden(num_envs), 0)

    def act(
        self, observation: Observation[Tensor], memory: PolicyMemory
    ) -> tuple[FactoredActions[Tensor], PolicyMemory]:
        """The policy's actions, int64 [env] in each head; the observation must be on the policy's device.

        Raises:
            ObservationError: the observation has other shapes than the policy's slots imply, or a value that is not
                finite (`tamiyo_features.check_observation`), or a feature is not once it is normalised.
            InvalidStateMachineError: an environment without a legal op, or a legal op without a legal choice.
            NonFinitePolicyError: the policy's logits, value or hidden state are not finite.
            IllegalActionError: the policy chose what is not legal.
        """
        bundle, slots, telemetry = self._bundle, self._bundle.slot_config, self._bundle.config.telemetry
        precise = torch.promote_types(bundle.dtype, torch.float32)
        features = extract_features(observation, slots, telemetry=telemetry, dtype=precise)
        check_observation(observation, slots)
        if self._normalizer is not None:
            features = normalize(self._normalizer, features)
        features = features.to(bundle.dtype)
        check_finite_features(features, slots, telemetry=telemetry)
        masks = action_masks(observation, slots, self._rules)
        check_masks(masks)
        result = bundle.get_action(
            features,
            masks,
            memory.hidden,
            deterministic=self._deterministic,
            generator=_generator(bundle.device, self._seed, memory.step),
        )
        check_step(bundle, memory.hidden, result, masks)
        return result.actions, PolicyMemory(result.hidden, memory.step + 1)


@final
class RandomController:
    """Uniform over the legal ops, then over the slots where the op is legal, then over the legal choices of each head.

    Args:
        slot_config: the slots.
        seed: of the samples.
        rules: what is legal.
    """

    def __init__(
        self, slot_config: SlotConfig, *, seed: int = 0, rules: LegalityRules = _DEFAULT_RULES
    ) -> None:
        self._slot_config = slot_config
        self._seed = seed
        self._rules = rules

    def initial_memory(self, num_envs: int) -> int:
        """0 steps taken."""
        return 0

    def act(self, observation: Observation[Tensor], memory: int) -> tuple[FactoredActions[Tensor], int]:
        """Random legal actions, int64 [env] in each head.

        Raises:
            ObservationError: a value that is not finite (`tamiyo_features.check_observation`).
            InvalidStateMachineError: an environment without a legal op, or a legal op without a legal choice.
        """
        check_observation(observation, self._slot_config)
        masks = action_masks(observation, self._slot_config, self._rules)
        check_masks(masks)
        logits = torch.zeros(*masks.op.shape[:-1], sum(head_sizes(self._slot_config)), device=masks.op.device)
        generator = _generator(masks.op.device, self._seed, memory)
        return FactoredMaskedCategorical(logits, masks).sample(generator), memory + 1


@final
class WaitController:
    """Never does anything: what a host becomes when nothing grows in it. Reads no value of an observation."""

    def initial_memory(self, num_envs: int) -> None:
        """Nothing to remember."""

    def act(self, observation: Observation[Tensor], memory: None) -> tuple[FactoredActions[Tensor], None]:
        """WAIT for every environment."""
        epoch = observation.signals.epoch
        waits = torch.full_like(epoch, int(LifecycleOp.WAIT), dtype=torch.int64)
        zeros = torch.zeros_like(waits)
        return FactoredActions(*(waits if name == "op" else zeros for name in HEAD_NAMES)), None


def _generator(device: torch.device, seed: int, step: int) -> torch.Generator:
    """The random numbers of one step: a function of seed and step alone."""
    return torch.Generator(device).manual_seed((seed * 1_000_003 + step) % 2**63)
