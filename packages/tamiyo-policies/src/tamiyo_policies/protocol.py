"""The interface that every neural policy offers, on-policy or off-policy, recurrent or not."""

from collections.abc import Mapping
from typing import Protocol, Self, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from leyline_types import FactoredActions, SlotConfig
from tamiyo_masks import ActionMasks
from tamiyo_policies.config import CompileMode, PolicyConfig
from tamiyo_policies.hidden import HiddenState
from tamiyo_policies.results import ActionResult, EvalResult, ForwardResult


@runtime_checkable
class PolicyBundle(Protocol):
    """A network together with everything needed to act with it and to train it.

    A class that is registered is called with one argument, its `PolicyConfig`. Wrong shapes, dtypes and devices
    raise `PolicyInputError`. `PolicyBundleBase` supplies all checks and all that does not depend on the network.
    """

    @property
    def config(self) -> PolicyConfig:
        """What the policy was made from, brought up to date with its device, dtype and compile mode."""
        ...

    @property
    def slot_config(self) -> SlotConfig:
        """The slots that it sees and acts on."""
        ...

    @property
    def feature_dim(self) -> int:
        """Features that it takes."""
        ...

    @property
    def hidden_dim(self) -> int:
        """Width of its layers, and of a hidden state that is not made of something else."""
        ...

    @property
    def network(self) -> nn.Module:
        """The module whose parameters an optimiser trains; the same object for the life of the policy."""
        ...

    @property
    def device(self) -> torch.device:
        """Where its weights are and its inputs must be."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """Of its weights, features and hidden state."""
        ...

    @property
    def is_recurrent(self) -> bool:
        """Whether its hidden state carries anything."""
        ...

    @property
    def supports_off_policy(self) -> bool:
        """Whether `get_q_values` and `sync_from` work."""
        ...

    @property
    def is_compiled(self) -> bool:
        """Whether the functions that act and evaluate are compiled."""
        ...

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
        """One action per environment, in inference mode.

        Args:
            features: [batch, feature], or [batch, 1, feature] with masks alike; results are [batch] either way.
            masks: with the batch shape of the features.
            hidden: the state from the step before, or `initial_hidden`.
            deterministic: the most probable legal choice instead of a sample.
            generator: source of randomness; None draws from torch's global one.
            floors: by head name, the probability that is spread evenly over the head's legal choices instead of
                following the policy, 0 to below 1; None for none. Samples and all log-probabilities are those of
                p = (1 - floor) policy + floor uniform; the deterministic choice and the value stay the policy's.

        Raises:
            PolicyInputError: a floor of an unknown head, or one outside [0, 1).
        """
        ...

    def forward(
        self,
        features: Float[Tensor, "*batch feature"],
        masks: ActionMasks,
        hidden: HiddenState | None = None,
        *,
        episode_starts: Bool[Tensor, "*batch"] | None = None,
    ) -> ForwardResult:
        """Logits, distribution and value, with gradients: [batch, feature] or [batch, time, feature].

        Args:
            features, masks, hidden, episode_starts: as for `evaluate_actions`.

        Raises:
            InferenceHiddenStateError: `hidden` was made in inference mode and autograd is recording.
        """
        ...

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
        """What the policy thinks of these actions, with gradients.

        Args:
            features: whole stretches of experience.
            actions: the actions taken, integer indices [batch, time] in each head.
            masks: those that the actions were drawn under, [batch, time, ...].
            hidden: the state before the first step; None starts from zeros.
            episode_starts: True resets the state before that step; None where no episode starts inside.
            floors: those that the actions were drawn with, as for `get_action`; the entropy counts them in too.

        Raises:
            InferenceHiddenStateError: `hidden` was made in inference mode.
            PolicyInputError: a floor of an unknown head, or one outside [0, 1).
        """
        ...

    def get_value(
        self,
        features: Float[Tensor, "batch ... feature"],
        hidden: HiddenState,
        masks: ActionMasks | None = None,
    ) -> Float[Tensor, " batch"]:
        """Expected return from one step, in inference mode: what a bootstrap needs. Shapes as for `get_action`.

        Raises:
            PolicyInputError: the policy values a state by its legal actions, and `masks` is missing.
        """
        ...

    def get_q_values(
        self,
        features: Float[Tensor, "*batch feature"],
        masks: ActionMasks,
        hidden: HiddenState | None = None,
        *,
        episode_starts: Bool[Tensor, "*batch"] | None = None,
    ) -> Float[Tensor, "critic *batch choices"]:
        """Action values from each critic, with gradients: of every choice of every head, in head order, float32.

        The value of an action is the sum over the heads that its op uses, see `action_values`. Illegal choices are
        -inf.

        Args:
            features, masks, hidden, episode_starts: as for `forward`.

        Raises:
            OffPolicyUnsupportedError: the policy has no critics of actions.
        """
        ...

    def sync_from(self, source: "PolicyBundle", *, tau: float = 1.0) -> None:
        """Move every weight to (1 - tau) own + tau source: a hard copy at 1, a slow target network below.

        Raises:
            PolicyInputError: the source is of another kind (policy, slots, frames, telemetry) or its weights do not
                fit; `tau` is outside [0, 1], or below 1 in half precision, whose rounding would swallow it.
            OffPolicyUnsupportedError: the policy is not made for target networks.
        """
        ...

    def initial_hidden(self, batch_size: int) -> HiddenState:
        """The state before the first step of `batch_size` episodes: zeros, as inference tensors."""
        ...

    def state_dict(self) -> dict[str, Tensor]:
        """The weights by name, the same names compiled or not."""
        ...

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take over these weights, all of them or, on any mismatch, none.

        Raises:
            PolicyInputError: missing or unknown names, shapes that differ, or what is no dense floating tensor.
        """
        ...

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Self:
        """Move the policy, in place.

        Raises:
            CompiledPolicyError: it is compiled.
        """
        ...

    def compile(self, mode: CompileMode = CompileMode.DEFAULT) -> None:
        """Compile what `get_action`, `evaluate_actions` and `get_q_values` run, in place and for good.

        The work is done when they first run; on a machine that cannot compile C++ they raise `CompilerMissingError`.

        Raises:
            CompiledPolicyError: it is compiled already, or has nothing to compile.
        """
        ...

    def enable_gradient_checkpointing(self, enabled: bool = True) -> None:
        """Whether `evaluate_actions` recomputes activations in the backward pass instead of keeping them."""
        ...
