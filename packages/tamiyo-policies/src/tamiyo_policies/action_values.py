"""Values of factored actions: Q(s, a) is the sum of one number for each head that the op of `a` uses.

That keeps the best action and the softmax over all actions exact, at the cost of a pass over the heads: given the op,
the heads are independent. The op's own number carries the value of the state, as in Tavakoli et al., Action Branching
Architectures for Deep Reinforcement Learning, 2018, https://arxiv.org/abs/1711.08946.

`q_values` are [..., *batch, choices] in head order, as `get_q_values` returns them: any further axes in front, such as
the critics', are kept. Actions, masks and temperatures may be of inference mode.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from leyline_types import HEAD_NAMES, FactoredActions, LifecycleOp
from tamiyo_masks import ActionMasks, FactoredMaskedCategorical, ordinary, relevant_heads

_NOTHING = -torch.inf


def joint_values(
    q_values: Float[Tensor, "*batch choices"], actions: FactoredActions[Tensor], head_sizes: tuple[int, ...]
) -> Float[Tensor, "*batch"]:
    """Q of these actions.

    Args:
        q_values: from `get_q_values`.
        actions: indices of each head, of the trailing axes of the batch.
        head_sizes: choices of each head, as `ActionMasks.head_sizes` and `leyline_types.head_sizes` give them.
    """
    chosen = [
        values.gather(-1, ordinary(index).expand(values.shape[:-1])[..., None])
        for values, index in zip(q_values.split(head_sizes, -1), actions, strict=True)
    ]
    return torch.where(relevant_heads(actions.op), torch.cat(chosen, -1), 0.0).sum(-1)


def greedy_actions(
    q_values: Float[Tensor, "*batch choices"], masks: ActionMasks
) -> tuple[FactoredActions[Tensor], Float[Tensor, "*batch"]]:
    """The legal action of the greatest Q, and that Q: what DQN acts by and bootstraps from."""
    masks = _spread(masks, q_values)
    logits = _with_totals(q_values, masks, torch.amax)
    values = logits.split(masks.head_sizes, -1)[-1].masked_fill(~masks.op, _NOTHING).amax(-1)
    return FactoredMaskedCategorical(logits, masks).mode(), values


def soft_logits(
    q_values: Float[Tensor, "*batch choices"], masks: ActionMasks, temperature: float | Tensor
) -> Float[Tensor, "*batch choices"]:
    """Logits under which `FactoredMaskedCategorical` is the softmax of Q / temperature over all legal actions."""
    return _with_totals(q_values / _ordinary(temperature), _spread(masks, q_values), torch.logsumexp)


def soft_values(
    q_values: Float[Tensor, "*batch choices"], masks: ActionMasks, temperature: float | Tensor
) -> Float[Tensor, "*batch"]:
    """Softmax values: temperature * log sum exp(Q / temperature) over all legal actions.

    The expected Q of that softmax plus temperature times its entropy: Haarnoja et al., Reinforcement Learning with
    Deep Energy-Based Policies, 2017, https://arxiv.org/abs/1702.08165, equation 3.
    """
    masks, temperature = _spread(masks, q_values), _ordinary(temperature)
    totals = _with_totals(q_values / temperature, masks, torch.logsumexp).split(masks.head_sizes, -1)[-1]
    legal: Tensor = totals.masked_fill(~masks.op, _NOTHING)
    return legal.logsumexp(-1) * temperature


def _with_totals(
    q_values: Tensor, masks: ActionMasks, reduce: Callable[[Tensor, int], Tensor]
) -> Float[Tensor, "*batch choices"]:
    """The values with those of each op replaced by the reduced values of all legal actions of this op.

    Where an op lacks a legal choice of a head that it uses, it is illegal, and its number means nothing.
    """
    *heads, ops = q_values.split(masks.head_sizes, -1)
    lowest = torch.finfo(q_values.dtype).min / 16  # finite: sums of it stay finite, and 0 times it is 0
    slots = torch.where(masks.slot_by_op, heads[0].unsqueeze(-2), lowest)
    best = [reduce(slots, -1)]
    for values, name in zip(heads[1:], HEAD_NAMES[1:], strict=False):
        legal = torch.where(getattr(masks, name), values, lowest)
        best.append(reduce(legal, -1)[..., None].expand_as(best[0]))
    used = relevant_heads(torch.arange(len(LifecycleOp), device=ops.device))[:, :-1]
    totals = ops + torch.where(used, torch.stack(best, -1), 0.0).sum(-1)
    return torch.cat((*heads, totals), -1)


def _spread(masks: ActionMasks, q_values: Tensor) -> ActionMasks:
    """The masks with the axes in front that the values have, such as the critics'; none is of inference mode."""
    front = q_values.shape[: q_values.ndim - masks.op.ndim]
    return ActionMasks(*(ordinary(mask).expand(*front, *mask.shape) for mask in masks))


def _ordinary(temperature: float | Tensor) -> float | Tensor:
    return ordinary(temperature) if isinstance(temperature, Tensor) else temperature
