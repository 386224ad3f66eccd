"""The action space: eight heads, one factored action, and which heads matter for which op."""

from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType
from typing import Final, Generic, NamedTuple, TypeVar

from leyline_types.actions import (
    AlphaCurveAction,
    AlphaSpeedAction,
    AlphaTargetAction,
    GerminationStyle,
    LifecycleOp,
    TempoAction,
)
from leyline_types.blueprints import BlueprintAction
from leyline_types.slots import SlotConfig

ArrayT = TypeVar("ArrayT")


@dataclass(frozen=True, slots=True)
class ActionHeadSpec:
    """One head of the action space.

    Args:
        name: the field of `FactoredActions` that holds its choice.
        choices: the enum of its choices, numbered from 0; None for the slot head, whose choices are the slots.
    """

    name: str
    choices: type[IntEnum] | None

    def size(self, slot_config: SlotConfig) -> int:
        """Number of choices for a network with these slots."""
        return len(slot_config) if self.choices is None else len(self.choices)


class FactoredActions(NamedTuple, Generic[ArrayT]):
    """One action per environment: an index array [env] for each head.

    Nothing reads the heads that the op does not use; distributions draw 0 there.
    """

    slot: ArrayT
    blueprint: ArrayT
    style: ArrayT
    tempo: ArrayT
    alpha_target: ArrayT
    alpha_speed: ArrayT
    alpha_curve: ArrayT
    op: ArrayT


ACTION_HEADS: Final = (
    ActionHeadSpec("slot", None),
    ActionHeadSpec("blueprint", BlueprintAction),
    ActionHeadSpec("style", GerminationStyle),
    ActionHeadSpec("tempo", TempoAction),
    ActionHeadSpec("alpha_target", AlphaTargetAction),
    ActionHeadSpec("alpha_speed", AlphaSpeedAction),
    ActionHeadSpec("alpha_curve", AlphaCurveAction),
    ActionHeadSpec("op", LifecycleOp),
)
"""The heads in the order of every array of indices, sizes and concatenated logits."""

HEAD_NAMES: Final = tuple(head.name for head in ACTION_HEADS)

HEAD_RELEVANCE: Final = MappingProxyType(
    {
        LifecycleOp.WAIT: frozenset({"op"}),
        LifecycleOp.GERMINATE: frozenset({"op", "slot", "blueprint", "style", "tempo", "alpha_target"}),
        LifecycleOp.SET_ALPHA_TARGET: frozenset(
            {"op", "slot", "style", "alpha_target", "alpha_speed", "alpha_curve"}
        ),
        LifecycleOp.PRUNE: frozenset({"op", "slot", "alpha_speed", "alpha_curve"}),
        LifecycleOp.FOSSILIZE: frozenset({"op", "slot"}),
        LifecycleOp.ADVANCE: frozenset({"op", "slot"}),
    }
)
"""The heads that matter for each op. A head outside the set is canonical: index 0, log-probability 0, entropy 0."""


def head_sizes(slot_config: SlotConfig) -> tuple[int, ...]:
    """Choices of each head, in head order."""
    return tuple(head.size(slot_config) for head in ACTION_HEADS)


@dataclass(frozen=True, slots=True)
class FactoredAction:
    """One environment's action in words. `from_indices` and `to_indices` translate it.

    Args:
        op: what to do.
        slot_id: the slot it is done to.
        blueprint, style, tempo, alpha_target: read by GERMINATE (style and alpha_target by SET_ALPHA_TARGET too).
        alpha_speed, alpha_curve: read by SET_ALPHA_TARGET and PRUNE.
    """

    op: LifecycleOp
    slot_id: str
    blueprint: BlueprintAction = BlueprintAction.NOOP
    style: GerminationStyle = GerminationStyle.LINEAR_ADD
    tempo: TempoAction = TempoAction.FAST
    alpha_target: AlphaTargetAction = AlphaTargetAction.HALF
    alpha_speed: AlphaSpeedAction = AlphaSpeedAction.INSTANT
    alpha_curve: AlphaCurveAction = AlphaCurveAction.LINEAR

    @classmethod
    def from_indices(cls, indices: FactoredActions[int], slot_config: SlotConfig) -> "FactoredAction":
        """The action that these head indices name.

        Raises:
            ValueError: an index outside its head, naming head, value and size.
        """
        for head, index in zip(ACTION_HEADS, indices, strict=True):
            if not 0 <= index < head.size(slot_config):
                raise ValueError(
                    f"head {head.name!r} has {head.size(slot_config)} choices, index {index} is none"
                )
        return cls(
            op=LifecycleOp(indices.op),
            slot_id=slot_config.slot_ids[indices.slot],
            blueprint=BlueprintAction(indices.blueprint),
            style=GerminationStyle(indices.style),
            tempo=TempoAction(indices.tempo),
            alpha_target=AlphaTargetAction(indices.alpha_target),
            alpha_speed=AlphaSpeedAction(indices.alpha_speed),
            alpha_curve=AlphaCurveAction(indices.alpha_curve),
        )

    def to_indices(self, slot_config: SlotConfig) -> FactoredActions[int]:
        """The index of each head.

        Raises:
            ValueError: `slot_id` is not one of the slots.
        """
        return FactoredActions(
            slot=slot_config.index(self.slot_id),
            blueprint=int(self.blueprint),
            style=int(self.style),
            tempo=int(self.tempo),
            alpha_target=int(self.alpha_target),
            alpha_speed=int(self.alpha_speed),
            alpha_curve=int(self.alpha_curve),
            op=int(self.op),
        )

    def describe(self) -> str:
        """The action with only the heads that matter, for example "GERMINATE r0c1 blueprint=NORM tempo=FAST"."""
        relevant = HEAD_RELEVANCE[self.op]
        words = [self.op.name]
        if "slot" in relevant:
            words.append(self.slot_id)
        for head in ACTION_HEADS:
            if head.choices is not None and head.name != "op" and head.name in relevant:
                words.append(f"{head.name}={getattr(self, head.name).name}")
        return " ".join(words)
