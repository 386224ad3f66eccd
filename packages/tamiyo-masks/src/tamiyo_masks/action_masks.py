"""The legal choices of every head."""

import operator
from collections.abc import Sequence
from types import EllipsisType
from typing import NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from leyline_types import HEAD_NAMES, LifecycleOp, SlotConfig, head_sizes

Index = int | slice | EllipsisType | Tensor | None | tuple[int | slice | EllipsisType | Tensor | None, ...]


_NUM_HEADS = len(HEAD_NAMES)


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

    @property
    def batch_shape(self) -> torch.Size:
        """The leading shape that all masks share."""
        return self.op.shape[:-1]

    @property
    def head_sizes(self) -> tuple[int, ...]:
        """How many choices each head has, in head order: constants to the compiler, unlike the batch's sizes."""
        return tuple([operator.index(mask.shape[-1]) for mask in self[:_NUM_HEADS]])

    def slots_given(self, op: Int[Tensor, "*batch"]) -> Bool[Tensor, "*batch slot"]:
        """The row of `slot_by_op` of each environment's op."""
        rows = op[..., None, None].expand(*op.shape, 1, self.slot_by_op.shape[-1])
        return self.slot_by_op.gather(-2, rows).squeeze(-2)

    def at(self, index: Index) -> "ActionMasks":
        """The masks at a place of the batch, `masks.at((slice(None), 0))`; `masks[0]` is the first head's mask.

        Raises:
            IndexError: more places than the batch has axes: choices cannot be cut.
        """
        place, rank = index if isinstance(index, tuple) else (index,), self.op.ndim - 1
        return ActionMasks(*(mask[(*place, *[slice(None)] * (mask.ndim - rank))] for mask in self))

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> "ActionMasks":
        """The masks on a device."""
        return ActionMasks(*(mask.to(device, non_blocking=non_blocking) for mask in self))

    @staticmethod
    def stack(masks: "Sequence[ActionMasks]", dim: int = 0) -> "ActionMasks":
        """Masks of one shape along a new axis of the batch, for example the steps of an episode.

        Args:
            masks: at least one.
            dim: the place of the new axis; from 0, for the last axes are not the batch's.

        Raises:
            ValueError: no masks, or `dim` is not an axis of the batch.
        """
        if not masks:
            raise ValueError("`masks` must hold at least one ActionMasks")
        rank = len(masks[0].batch_shape)
        if not 0 <= dim <= rank:
            raise ValueError(
                f"`dim` is {dim}, masks of batch shape {tuple(masks[0].batch_shape)} allow 0 to {rank}"
            )
        return ActionMasks(*(torch.stack(columns, dim=dim) for columns in zip(*masks, strict=True)))

    def as_dict(self) -> dict[str, Tensor]:
        """The masks of the heads by name, in head order; `slot_by_op` belongs to no head."""
        return dict(zip(HEAD_NAMES, self, strict=False))

    def flat(self) -> Bool[Tensor, "*batch choices"]:
        """The heads' masks side by side, as MultiDiscrete action spaces take them (sb3-contrib's `action_masks`).

        What slot goes with which op is lost: `slot` allows every slot that some legal op may take.
        """
        return torch.cat(self[:_NUM_HEADS], dim=-1)

    def check(self, batch_shape: Sequence[int], slot_config: SlotConfig) -> None:
        """Check every mask against the batch (and sequence) shape and the sizes of the heads.

        Raises:
            ValueError: naming each mask that has another shape or is not boolean.
        """
        sizes = dict(zip(HEAD_NAMES, ((size,) for size in head_sizes(slot_config)), strict=True))
        due: dict[str, tuple[int, ...]] = {**sizes, "slot_by_op": (len(LifecycleOp), len(slot_config))}
        problems = [
            f"mask `{name}` is {mask.dtype} {tuple(mask.shape)}, it must be torch.bool {(*batch_shape, *due[name])}"
            for name, mask in zip(self._fields, self, strict=True)
            if mask.shape != (*batch_shape, *due[name]) or mask.dtype is not torch.bool
        ]
        if problems:
            raise ValueError("\n".join(problems))
