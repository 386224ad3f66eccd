"""The rules of thumb that the heuristic follows, in order, and when each applies to a slot."""

from collections.abc import Callable
from enum import StrEnum
from typing import Final, NamedTuple

from leyline_types import AlphaMode, LifecycleOp, SeedStage
from tamiyo_policies.heuristic_settings import HeuristicSettings

_AT_TARGET: Final = 1e-6  # alpha is a sum of float32 steps


class Rule(StrEnum):
    """Why the heuristic did what it did. The first rule that applies to any slot fires, in this order."""

    PRUNE_HARMFUL = "the seed's known contribution is below the damage limit"
    PRUNE_STUCK = "the seed has trained or held for its patience without being of use"
    FOSSILIZE_WORTHY = "the held seed's known contribution reaches the mark"
    ADVANCE_GERMINATED = "a germinated seed starts to train"
    ADVANCE_TRAINED = "the host has improved enough while the seed trained, and the seed has gradients"
    ADVANCE_BLENDED = "alpha rests at its target"
    GERMINATE_PLATEAU = "the host has stopped improving and a slot is empty"
    GERMINATE_STABLE = "the host's first descent is over and a slot is empty"
    WAIT = "no rule applies"


class SlotView(NamedTuple):
    """One slot and its host as plain numbers; NaN where unknown, which no comparison finds true."""

    stage: int
    alpha_mode: int
    alpha: float
    alpha_target: float
    epochs_in_stage: int
    improvement: float
    contribution: float
    gradient_ratio: float
    plateau_epochs: int
    host_stabilized: bool
    progress: float


def _is_improved(slot: SlotView, limits: HeuristicSettings) -> bool:
    return slot.improvement >= limits.improvement and not slot.gradient_ratio < limits.gradient_ratio


def _is_harmful(slot: SlotView, limits: HeuristicSettings) -> bool:
    return slot.contribution < limits.damage


def _is_stuck(slot: SlotView, limits: HeuristicSettings) -> bool:
    if slot.epochs_in_stage < limits.patience:
        return False
    if slot.stage == SeedStage.TRAINING:
        return not _is_improved(slot, limits)
    return slot.stage == SeedStage.HOLDING and not slot.contribution >= limits.worth


def _is_worthy(slot: SlotView, limits: HeuristicSettings) -> bool:
    return slot.contribution >= limits.worth


def _is_germinated(slot: SlotView, limits: HeuristicSettings) -> bool:
    return slot.stage == SeedStage.GERMINATED


def _is_trained(slot: SlotView, limits: HeuristicSettings) -> bool:
    return slot.stage == SeedStage.TRAINING and _is_improved(slot, limits)


def _is_blended(slot: SlotView, limits: HeuristicSettings) -> bool:
    resting = slot.stage == SeedStage.BLENDING and slot.alpha_mode == AlphaMode.HOLD
    return resting and slot.alpha >= slot.alpha_target - _AT_TARGET


def _on_plateau(slot: SlotView, limits: HeuristicSettings) -> bool:
    return slot.plateau_epochs >= limits.plateau and slot.progress <= limits.last_germination


def _is_stable(slot: SlotView, limits: HeuristicSettings) -> bool:
    return slot.host_stabilized and slot.progress <= limits.last_germination


RULES: Final[tuple[tuple[Rule, LifecycleOp, Callable[[SlotView, HeuristicSettings], bool]], ...]] = (
    (Rule.PRUNE_HARMFUL, LifecycleOp.PRUNE, _is_harmful),
    (Rule.PRUNE_STUCK, LifecycleOp.PRUNE, _is_stuck),
    (Rule.FOSSILIZE_WORTHY, LifecycleOp.FOSSILIZE, _is_worthy),
    (Rule.ADVANCE_GERMINATED, LifecycleOp.ADVANCE, _is_germinated),
    (Rule.ADVANCE_TRAINED, LifecycleOp.ADVANCE, _is_trained),
    (Rule.ADVANCE_BLENDED, LifecycleOp.ADVANCE, _is_blended),
    (Rule.GERMINATE_PLATEAU, LifecycleOp.GERMINATE, _on_plateau),
    (Rule.GERMINATE_STABLE, LifecycleOp.GERMINATE, _is_stable),
)
"""Each rule with the op it orders and the condition on a slot where that op is legal."""
