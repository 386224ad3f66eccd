"""What rollouts and updates run, as pure functions of the network and tensors: the functions that get compiled."""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from leyline_types import FactoredActions
from tamiyo_masks import ActionMasks, FactoredMaskedCategorical
from tamiyo_policies.hidden import HiddenState
from tamiyo_policies.policy_network import PolicyNetwork


class Acted(NamedTuple):
    """What one step computes."""

    actions: FactoredActions[Tensor]
    head_log_probs: Float[Tensor, "batch head"]
    log_prob: Float[Tensor, " batch"]
    value: Float[Tensor, " batch"]
    hidden: HiddenState
    logits: Float[Tensor, "batch choices"]


class Scored(NamedTuple):
    """What is computed of every step of a sequence."""

    head_log_probs: Float[Tensor, "*batch head"]
    log_prob: Float[Tensor, "*batch"]
    entropy: Float[Tensor, "*batch"]
    value: Float[Tensor, "*batch"]


def act(
    network: PolicyNetwork,
    features: Float[Tensor, "batch feature"],
    masks: ActionMasks,
    hidden: HiddenState,
    uniform: Float[Tensor, "batch head"] | None,
    floors: Float[Tensor, " head"] | None,
) -> Acted:
    """One step from features to actions.

    Args:
        network, features, masks, hidden: what acts, and on what.
        uniform: numbers in [0, 1) from which samples are made; None takes the mode, which floors do not change.
        floors: as `FactoredMaskedCategorical` takes them.
    """
    core, hidden = network.advance(features, hidden)
    outputs = network.read(core, masks)
    distribution = FactoredMaskedCategorical(outputs.logits, masks, floors=floors)
    if uniform is None:
        # A floor near 1 leaves so little between probabilities that rounding makes them equal.
        bare = distribution if floors is None else FactoredMaskedCategorical(outputs.logits, masks)
        actions = network.mode(core, masks, bare)
        log_probs = distribution.head_log_probs(actions)
    else:
        actions, log_probs = distribution.sample_and_head_log_probs(uniform=uniform)
    return Acted(actions, log_probs, log_probs.sum(-1), outputs.value, hidden, outputs.logits)


def score(
    network: PolicyNetwork,
    core: Float[Tensor, "*batch core"],
    actions: FactoredActions[Tensor],
    masks: ActionMasks,
    floors: Float[Tensor, " head"] | None,
) -> Scored:
    """From what the network reads at each step to the log-probabilities of actions, entropies and values."""
    outputs = network.read(core, masks)
    distribution = FactoredMaskedCategorical(outputs.logits, masks, floors=floors)
    log_probs = distribution.head_log_probs(actions)
    return Scored(log_probs, log_probs.sum(-1), distribution.regularizer_entropy(), outputs.value)
