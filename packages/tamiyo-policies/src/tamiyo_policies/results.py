"""What the methods of a policy return. `batch` stands for [batch] in step form, [batch, time] in sequence form.

Logits, log-probabilities, entropies and values are float32 whatever the policy's dtype. Per-head results are in head
order; heads that the op does not use hold 0.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from leyline_types import FactoredActions
from tamiyo_masks import ActionMasks, FactoredMaskedCategorical
from tamiyo_policies.hidden import HiddenState


@dataclass(frozen=True, slots=True)
class ActionResult:
    """One action per environment. Every tensor is an inference tensor.

    Args:
        actions: int64 index of each head.
        log_prob: joint log-probability, nats.
        head_log_probs: its summands.
        value: expected return from here.
        hidden: the state for the next step.
        masks: the masks that the actions were drawn under.
        logits: unmasked logits of all heads, concatenated in head order.
    """

    actions: FactoredActions[Tensor]
    log_prob: Float[Tensor, " batch"]
    head_log_probs: Float[Tensor, "batch head"]
    value: Float[Tensor, " batch"]
    hidden: HiddenState
    masks: ActionMasks
    logits: Float[Tensor, "batch choices"]

    @property
    def op_logits(self) -> Float[Tensor, "batch op"]:
        """Of them, those of the op head, the last; for telemetry."""
        return self.logits[..., -self.masks.op.shape[-1] :]


@dataclass(frozen=True, slots=True)
class EvalResult:
    """What a policy thinks of actions that were taken, with gradients.

    Args:
        log_prob: joint log-probability, nats.
        head_log_probs: its summands.
        value: expected return from each step.
        entropy: of the policy at each step, the regulariser.
        hidden: the state after the last step.
    """

    log_prob: Float[Tensor, "batch time"]
    head_log_probs: Float[Tensor, "batch time head"]
    value: Float[Tensor, "batch time"]
    entropy: Float[Tensor, "batch time"]
    hidden: HiddenState


@dataclass(frozen=True, slots=True)
class ForwardResult:
    """The bare outputs of a policy, with gradients.

    Args:
        logits: unmasked logits of all heads, concatenated in head order.
        distribution: the distribution over legal actions that they give.
        value: expected return from each step.
        hidden: the state after the last step.
    """

    logits: Float[Tensor, "*batch choices"]
    distribution: FactoredMaskedCategorical
    value: Float[Tensor, "*batch"]
    hidden: HiddenState
