"""`HEAD_RELEVANCE` as tensors: which heads matter for which op."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import embedding

from leyline_types import HEAD_NAMES, HEAD_RELEVANCE, LifecycleOp
from tamiyo_masks.constants import constant_when_compiled, keep

SLOT, OP = HEAD_NAMES.index("slot"), HEAD_NAMES.index("op")

# Plain tuples: the compiler cannot look into the read-only mapping.
_RELEVANCE = tuple(tuple(name in HEAD_RELEVANCE[op] for name in HEAD_NAMES) for op in LifecycleOp)


class Relevance(NamedTuple):
    """Whether a head matters for an op, as a bit and as 0 or 1 to multiply with."""

    bits: Bool[Tensor, "op head"]
    weights: Float[Tensor, "op head"]


_tables: dict[torch.device, Relevance] = {}


@constant_when_compiled
def relevance_on(device: torch.device) -> Relevance:
    """`HEAD_RELEVANCE` on a device, kept between calls."""

    def make() -> Relevance:
        table = torch.tensor(_RELEVANCE, device=device)
        return Relevance(table, table.float())

    return keep(_tables, device, make)


def relevant_heads(op: Int[Tensor, "*batch"]) -> Bool[Tensor, "*batch head"]:
    """Which heads matter for the chosen ops."""
    tables: Relevance = relevance_on(op.device)
    return embedding(op, tables.bits)


def could_matter(op_mask: Bool[Tensor, "*batch op"]) -> Float[Tensor, "*batch head"]:
    """1 for the heads that matter for some legal op, and 0 for the others."""
    tables: Relevance = relevance_on(op_mask.device)
    return (op_mask.float().unsqueeze(-1) * tables.weights).amax(-2)


def takes_slot(op_mask: Bool[Tensor, "*batch op"]) -> Bool[Tensor, "*batch op"]:
    """The legal ops that take a slot."""
    tables: Relevance = relevance_on(op_mask.device)
    return op_mask & tables.bits[:, SLOT]
