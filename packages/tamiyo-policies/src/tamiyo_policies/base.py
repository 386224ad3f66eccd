"""The base of all neural policies: every input is checked here, in one place, before a network sees it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from leyline_types import FactoredActions
from tamiyo_masks import ActionMasks, ordinary
from tamiyo_policies.checks import InputSpec, check_trainable
from tamiyo_policies.errors import OffPolicyUnsupportedError, PolicyInputError
from tamiyo_policies.hidden import HiddenState
from tamiyo_policies.placed import PlacedPolicy
from tamiyo_policies.protocol import PolicyBundle
from tamiyo_policies.results import ActionResult, EvalResult, ForwardResult


class PolicyBundleBase(PlacedPolicy, ABC):
    """A `PolicyBundle` but for its network: subclasses fill in the methods whose names start with `_on_`.

    Those receive checked inputs only, and always a hidden state. `PolicyBundle` says what the public members do.
    """

    _settled_spec: InputSpec | None = None

    @property
    @abstractmethod
    def is_recurrent(self) -> bool:
        """See `PolicyBundle`."""

    @property
    def supports_off_policy(self) -> bool:
        """See `PolicyBundle`. False unless a subclass says otherwise."""
        return False

    @abstractmethod
    def enable_gradient_checkpointing(self, enabled: bool = True) -> None:
        """See `PolicyBundle`."""

    @final
    def get_action(
        self,
        features: Float[Tensor, "batch ... feature"],
        masks: ActionMasks,
        hidden: HiddenState,
        *,
        deterministic: bool = False,
        generator: torch.Generator | None = None,
        floors: Mapping[str, float] | None = None,
    ) -> ActionResult:
        """See `PolicyBundle`."""
        with torch.inference_mode():
            spec = self._spec()
            spec.step(features, hidden)
            spec.masks(masks, features.shape[:-1])
            if features.ndim == 3:
                features, masks = features[:, 0], masks.at((slice(None), 0))
            return self._on_act(features, masks, hidden, deterministic, generator, spec.floors(floors))

    @final
    def get_value(
        self,
        features: Float[Tensor, "batch ... feature"],
        hidden: HiddenState,
        masks: ActionMasks | None = None,
    ) -> Float[Tensor, " batch"]:
        """See `PolicyBundle`."""
        with torch.inference_mode():
            spec = self._spec()
            spec.step(features, hidden)
            if masks is not None:
                spec.masks(masks, features.shape[:-1])
            if features.ndim == 3:
                features, masks = features[:, 0], masks and masks.at((slice(None), 0))
            return self._on_value(features, hidden, masks)

    @final
    def forward(
        self,
        features: Float[Tensor, "*batch feature"],
        masks: ActionMasks,
        hidden: HiddenState | None = None,
        *,
        episode_starts: Bool[Tensor, "*batch"] | None = None,
    ) -> ForwardResult:
        """See `PolicyBundle`."""
        self._spec().features(features, (2, 3))
        if hidden is not None and torch.is_grad_enabled():
            check_trainable(hidden)
        return self._on_forward(*self._sequence(features, masks, hidden, episode_starts))

    @final
    def evaluate_actions(
        self,
        features: Float[Tensor, "batch time feature"],
        actions: FactoredActions[Tensor],
        masks: ActionMasks,
        hidden: HiddenState | None = None,
        *,
        episode_starts: Bool[Tensor, "batch time"] | None = None,
        floors: Mapping[str, float] | None = None,
    ) -> EvalResult:
        """See `PolicyBundle`."""
        spec = self._spec()
        spec.features(features, (3,))
        spec.actions(actions, features.shape[:-1])
        if hidden is not None and not torch.is_inference_mode_enabled():
            check_trainable(hidden)
        features, masks, state, starts = self._sequence(features, masks, hidden, episode_starts)
        actions = FactoredActions(*map(ordinary, actions))
        return self._on_evaluate(features, actions, masks, state, starts, spec.floors(floors))

    @final
    def get_q_values(
        self,
        features: Float[Tensor, "*batch feature"],
        masks: ActionMasks,
        hidden: HiddenState | None = None,
        *,
        episode_starts: Bool[Tensor, "*batch"] | None = None,
    ) -> Float[Tensor, "critic *batch choices"]:
        """See `PolicyBundle`."""
        self._need_off_policy("it has no action values")
        self._spec().features(features, (2, 3))
        if hidden is not None and torch.is_grad_enabled():
            check_trainable(hidden)
        return self._on_q_values(*self._sequence(features, masks, hidden, episode_starts))

    @final
    def sync_from(self, source: PolicyBundle, *, tau: float = 1.0) -> None:
        """See `PolicyBundle`."""
        self._need_off_policy("it is no target network")
        if not 0.0 <= tau <= 1.0:
            raise PolicyInputError(f"`tau` must lie in [0, 1], not {tau}")
        if 0.0 < tau < 1.0 and self.dtype.itemsize < 4:
            raise PolicyInputError(
                f"a share of `tau` = {tau} is lost to rounding in {self.dtype}: keep the target network in float32; "
                "its source may be of any dtype"
            )
        self._check_kind(source.config)
        own, theirs = self.state_dict(), source.state_dict()
        self._check_weights(theirs)
        with torch.no_grad():
            for name, weight in own.items():
                weight.copy_(theirs[name] if tau == 1.0 else weight.lerp(theirs[name].to(weight), tau))

    @abstractmethod
    def _on_act(
        self,
        features: Float[Tensor, "batch feature"],
        masks: ActionMasks,
        hidden: HiddenState,
        deterministic: bool,
        generator: torch.Generator | None,
        floors: Float[Tensor, " head"] | None,
    ) -> ActionResult:
        """Act on one step, in inference mode. Floors are every head's, as `FactoredMaskedCategorical` takes them."""

    @abstractmethod
    def _on_value(
        self, features: Float[Tensor, "batch feature"], hidden: HiddenState, masks: ActionMasks | None
    ) -> Float[Tensor, " batch"]:
        """The value of one step, in inference mode."""

    @abstractmethod
    def _on_forward(
        self,
        features: Float[Tensor, "*batch feature"],
        masks: ActionMasks,
        hidden: HiddenState,
        episode_starts: Bool[Tensor, "*batch"] | None,
    ) -> ForwardResult:
        """Bare outputs for one step [batch, feature] or a sequence [batch, time, feature]."""

    @abstractmethod
    def _on_evaluate(
        self,
        features: Float[Tensor, "batch time feature"],
        actions: FactoredActions[Tensor],
        masks: ActionMasks,
        hidden: HiddenState,
        episode_starts: Bool[Tensor, "batch time"] | None,
        floors: Float[Tensor, " head"] | None,
    ) -> EvalResult:
        """Evaluate the actions of a sequence, floors as in `_on_act`. No tensor is an inference tensor."""

    def _on_q_values(
        self,
        features: Float[Tensor, "*batch feature"],
        masks: ActionMasks,
        hidden: HiddenState,
        episode_starts: Bool[Tensor, "*batch"] | None,
    ) -> Float[Tensor, "critic *batch choices"]:
        """Action values with gradients, -inf for illegal choices; for policies that support off-policy learning."""
        raise NotImplementedError

    def _need_off_policy(self, why: str) -> None:
        if not self.supports_off_policy:
            raise OffPolicyUnsupportedError(f"policy {self.config.policy!r} is on-policy: {why}")

    def _spec(self) -> InputSpec:
        """What the policy takes where it is now; once compiled, it stays there."""
        spec = self._settled_spec
        if spec is None:
            spec = InputSpec(self.slot_config, self.feature_dim, self._state_dims, self.device, self.dtype)
            if self.is_compiled:
                self._settled_spec = spec
        return spec

    def _sequence(
        self,
        features: Tensor,
        masks: ActionMasks,
        hidden: HiddenState | None,
        episode_starts: Tensor | None,
    ) -> tuple[Tensor, ActionMasks, HiddenState, Tensor | None]:
        """The inputs, as autograd can keep them, and the state to start from, all but the features being checked."""
        spec = self._spec()
        spec.masks(masks, features.shape[:-1])
        if episode_starts is not None:
            spec.episode_starts(episode_starts, features.shape[:-1])
        if hidden is not None:
            spec.hidden(hidden, features.shape[0])
        return (
            ordinary(features),
            ActionMasks(*map(ordinary, masks)),
            self._zero_state(features.shape[0]) if hidden is None else hidden,
            ordinary(episode_starts),
        )
