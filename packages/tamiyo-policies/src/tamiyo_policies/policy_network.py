"""What a network must offer so that one set of functions acts with it, evaluates with it and gets compiled."""

from abc import ABC, abstractmethod
from typing import NamedTuple

from jaxtyping import Bool, Float
from torch import Tensor, nn

from leyline_types import FactoredActions
from tamiyo_masks import ActionMasks, FactoredMaskedCategorical
from tamiyo_policies.hidden import HiddenState


class Outputs(NamedTuple):
    """Unmasked logits of all heads in head order, and values; float32."""

    logits: Float[Tensor, "*batch choices"]
    value: Float[Tensor, "*batch"]


class PolicyNetwork(nn.Module, ABC):
    """A network in two parts: what depends on the steps before (`advance`, `unroll`), and what does not (`read`)."""

    @abstractmethod
    def advance(
        self, features: Float[Tensor, "batch feature"], hidden: HiddenState
    ) -> tuple[Float[Tensor, "batch core"], HiddenState]:
        """One step: what is read, and the state after it."""

    @abstractmethod
    def unroll(
        self,
        features: Float[Tensor, "batch time feature"],
        hidden: HiddenState,
        episode_starts: Bool[Tensor, "batch time"] | None = None,
    ) -> tuple[Float[Tensor, "batch time core"], HiddenState]:
        """Many steps: what `advance` gives at each, and the state after the last.

        Args:
            features: of every step.
            hidden: the state before the first step.
            episode_starts: True resets the state before that step.
        """

    @abstractmethod
    def read(self, core: Float[Tensor, "*batch core"], masks: ActionMasks | None) -> Outputs:
        """What the network makes of each step; without masks only where they make no difference."""

    def mode(
        self,
        core: Float[Tensor, "*batch core"],
        masks: ActionMasks,
        distribution: FactoredMaskedCategorical,
    ) -> FactoredActions[Tensor]:
        """The action of each step that is taken without chance. `distribution` is that of `read`'s logits."""
        return distribution.mode()

    def forward(
        self, features: Float[Tensor, "batch feature"], masks: ActionMasks, hidden: HiddenState
    ) -> tuple[Outputs, HiddenState]:
        """One step from features to outputs: of use to torch.func, which needs all weights in one call."""
        core, hidden = self.advance(features, hidden)
        return self.read(core, masks), hidden
