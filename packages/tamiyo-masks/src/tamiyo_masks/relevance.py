"""`HEAD_RELEVANCE` as tensors: which heads matter for which op."""

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torch.nn.functional import embedding

from leyline_types import HEAD_NAMES, HEAD_RELEVANCE, LifecycleOp
from tamiyo_masks.constants import keep

# Plain tuples: the compiler cannot look into the read-only mapping.
_RELEVANCE = tuple(tuple(name in HEAD_RELEVANCE[op] for name in HEAD_NAMES) for op in LifecycleOp)

_tables: dict[torch.device, Tensor] = {}


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def relevance_table(device: torch.device) -> Bool[Tensor, "op head"]:
    """`HEAD_RELEVANCE` on a device, kept between calls."""
    return keep(_tables, device, lambda: torch.tensor(_RELEVANCE, device=device))


def relevance(op: Int[Tensor, "*batch"]) -> Bool[Tensor, "*batch head"]:
    """Which heads matter for the chosen ops."""
    table: Tensor = relevance_table(op.device)
    return embedding(op, table)


def could_matter(op_mask: Bool[Tensor, "*batch op"]) -> Bool[Tensor, "*batch head"]:
    """Which heads matter for some legal op."""
    table: Tensor = relevance_table(op_mask.device)
    return (table & op_mask.unsqueeze(-1)).any(-2)
