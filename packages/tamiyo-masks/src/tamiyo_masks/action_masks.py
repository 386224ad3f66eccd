"""The legal choices of every head."""

from typing import NamedTuple

from jaxtyping import Bool
from torch import Tensor


class ActionMasks(NamedTuple):
    """Legal choices, True = legal: a mask [*batch, choice] per head in head order, and the slots open to each op.

    `slot_by_op` is exact for every op that is legal. Rows of ops that are not legal or take no slot (WAIT) allow slot
    0 alone, so that every row can be drawn from. `slot` holds the slots of all legal ops, or slot 0
    where only WAIT is legal.
    """

    slot: Bool[Tensor, "*batch slot"]
    blueprint: Bool[Tensor, "*batch blueprint"]
    style: Bool[Tensor, "*batch style"]
    tempo: Bool[Tensor, "*batch tempo"]
    alpha_target: Bool[Tensor, "*batch alpha_target"]
    alpha_speed: Bool[Tensor, "*batch alpha_speed"]
    alpha_curve: Bool[Tensor, "*batch alpha_curve"]
    op: Bool[Tensor, "*batch op"]
    slot_by_op: Bool[Tensor, "*batch op slot"]
