"""The rules that the heuristic follows for seeds that are there, in order, and in words why each applies."""

from collections.abc import Callable
from enum import StrEnum
from math import isnan
from typing import Final, NamedTuple

from leyline_types import DEVELOPING_STAGES, AlphaMode, LifecycleOp, SeedStage, Topology
from tamiyo_policies.heuristic_settings import HeuristicSettings, scaled

POINTS_PER_PRICE: Final = 10.0
"""Accuracy (percentage points) that doubling the host must bring at a price of 1; see `leyline_types.TaskConfig`."""

_AT_TARGET: Final = 1e-6  # alpha is a sum of float32 steps


class Rule(StrEnum):
    """Why the heuristic did what it did. The first rule that applies to any slot fires, in this order."""

    PRUNE_HARMFUL = "the seed's contribution is below the damage limit"
    PRUNE_UNPAID = "the seed has had its trial and does not bring its price"
    PRUNE_TOO_DEAR = "the seed's price is above all that the host has left to learn"
    PRUNE_STUCK = "the seed has trained for its patience and cannot blend in"
    PRUNE_UNPROVEN = "the end is near and the seed has not brought its price"
    FOSSILIZE_PAID = "the end is near and the held seed brings its price"
    ADVANCE_GERMINATED = "a germinated seed starts to train"
    ADVANCE_TRAINED = "the host has improved enough while the seed trained, and the seed has gradients"
    ADVANCE_BLENDED = "alpha rests at its target"
    GERMINATE = "the host has room that a seed may pay for, and a slot is empty"
    WAIT = "no rule applies"


class SlotView(NamedTuple):
    """One slot as plain numbers, by their names in `leyline_types.SlotColumns`.

    What is unknown is NaN, which no comparison finds true.
    """

    stage: int
    alpha_mode: int
    alpha: float
    alpha_target: float
    alpha_steps_total: int
    blend_tempo_epochs: int
    epochs_in_stage: int
    improvement_in_stage: float
    contribution: float
    gradient_ratio: float
    param_count: int
    activation_rank: float

    @property
    def is_developing(self) -> bool:
        """Whether it holds a live seed that is not fossilized."""
        return self.stage in DEVELOPING_STAGES

    @property
    def is_at_rest(self) -> bool:
        """Whether its seed has blended in."""
        if self.stage == SeedStage.BLENDING:
            return self.alpha_mode == AlphaMode.HOLD and self.alpha >= self.alpha_target - _AT_TARGET
        return self.stage == SeedStage.HOLDING

    @property
    def is_measured(self) -> bool:
        """Whether it is known what its seed contributes at its full alpha."""
        return self.is_at_rest and not isnan(self.contribution)

    @property
    def epochs_at_rest(self) -> int:
        """Epochs since its seed had blended in; 0 where it has not."""
        if not self.is_at_rest:
            return 0
        ramp = self.alpha_steps_total if self.stage == SeedStage.BLENDING else 0
        return max(0, self.epochs_in_stage - ramp)


class HostView(NamedTuple):
    """One host as plain numbers, with its slots.

    Args:
        epoch, max_epochs: epochs trained, and of the episode.
        topology: of the host.
        price: `parameter_price` of `leyline_types.TaskConfig`.
        host_params: parameters without seeds.
        room: 100 minus the training accuracy: the points that the host does not fit yet.
        slots: from input to output.
    """

    epoch: int
    max_epochs: int
    topology: Topology
    price: float
    host_params: int
    room: float
    slots: tuple[SlotView, ...]

    @property
    def progress(self) -> float:
        """Share of the episode that is over."""
        return self.epoch / self.max_epochs

    @property
    def epochs_left(self) -> int:
        """Epochs, and so actions, that are still to come."""
        return self.max_epochs - self.epoch

    def size(self, slot: SlotView) -> float:
        """Parameters of the slot's seed as a share of the host's."""
        return slot.param_count / self.host_params

    def points(self, size: float) -> float:
        """The price of so many host sizes, in points of accuracy."""
        return POINTS_PER_PRICE * self.price * size

    def price_in_words(self, size: float) -> str:
        """The price of so many host sizes, and how it comes about."""
        return f"{self.points(size):.2f} points (price {self.price:.2f} x {size:.2f} host sizes)"


def pays(slot: SlotView, host: HostView, limits: HeuristicSettings) -> bool:
    """Whether a blended seed is known to bring its price."""
    return slot.is_at_rest and slot.contribution >= limits.margin * host.points(host.size(slot))


def _balance(slot: SlotView, host: HostView, limits: HeuristicSettings) -> str:
    """What the seed brings and what it costs."""
    due = "" if limits.margin == 1 else f", of which it must bring {limits.margin:.2f} times"
    price = host.price_in_words(host.size(slot))
    return f"contributes {slot.contribution:.2f} points, its price is {price}{due}"


def _has_what_advance_needs(slot: SlotView, limits: HeuristicSettings) -> bool:
    return slot.improvement_in_stage >= limits.improvement and slot.gradient_ratio >= limits.gradient_ratio


def _gains(slot: SlotView) -> str:
    ratio = "unknown" if isnan(slot.gradient_ratio) else f"{slot.gradient_ratio:.2f}"
    return (
        f"in {slot.epochs_in_stage} epochs of training the host has gained {slot.improvement_in_stage:.2f} points, "
        f"the gradient ratio is {ratio}"
    )


def _harmful(slot: SlotView, host: HostView, limits: HeuristicSettings) -> str | None:
    if not slot.contribution < limits.damage:
        return None
    return f"contributes {slot.contribution:.2f} points, the limit is {limits.damage:.2f}"


def _unpaid(slot: SlotView, host: HostView, limits: HeuristicSettings) -> str | None:
    tried = slot.epochs_at_rest >= scaled(limits.trial, host.max_epochs)
    if not tried or not slot.contribution < limits.margin * host.points(host.size(slot)):
        return None
    return _balance(slot, host, limits)


def _too_dear(slot: SlotView, host: HostView, limits: HeuristicSettings) -> str | None:
    """It could not pay even if it brought all that the host does not fit: its true size is seen once it is planted."""
    size = host.size(slot)
    if slot.stage not in (SeedStage.GERMINATED, SeedStage.TRAINING) or not host.points(size) > host.room:
        return None
    return f"its price is {host.price_in_words(size)}, the room is {host.room:.2f} points"


def _stuck(slot: SlotView, host: HostView, limits: HeuristicSettings) -> str | None:
    is_over = slot.epochs_in_stage >= scaled(limits.patience, host.max_epochs)
    if slot.stage != SeedStage.TRAINING or not is_over or _has_what_advance_needs(slot, limits):
        return None
    return f"{_gains(slot)}; {limits.improvement:.2f} points and a ratio of {limits.gradient_ratio:.2f} are needed"


def _unproven(slot: SlotView, host: HostView, limits: HeuristicSettings) -> str | None:
    """One action an epoch: with many such seeds the end begins sooner, or some would stay."""
    if not slot.is_developing or pays(slot, host, limits):
        return None
    unproven = sum(each.is_developing and not pays(each, host, limits) for each in host.slots)
    if host.progress < limits.last_decision and host.epochs_left > unproven:
        return None
    unknown = "what it contributes at its full alpha is unknown"
    why = _balance(slot, host, limits) if slot.is_measured else unknown
    return f"{why}; epochs left: {host.epochs_left}"


def _paid(slot: SlotView, host: HostView, limits: HeuristicSettings) -> str | None:
    near = host.progress >= limits.last_decision
    if not near or not pays(slot, host, limits) or not slot.contribution >= limits.worth:
        return None
    return f"{_balance(slot, host, limits)}; at least {limits.worth:.2f} points are kept for good"


def _germinated(slot: SlotView, host: HostView, limits: HeuristicSettings) -> str | None:
    return "starts to train" if slot.stage == SeedStage.GERMINATED else None


def _trained(slot: SlotView, host: HostView, limits: HeuristicSettings) -> str | None:
    if slot.stage != SeedStage.TRAINING or not _has_what_advance_needs(slot, limits):
        return None
    trained = slot.epochs_in_stage >= scaled(limits.training, host.max_epochs)
    # Alpha must rest before a seed can be measured or pruned.
    in_time = (host.epoch + slot.blend_tempo_epochs) / host.max_epochs <= limits.last_decision
    return _gains(slot) if trained and in_time else None


def _blended(slot: SlotView, host: HostView, limits: HeuristicSettings) -> str | None:
    if slot.stage != SeedStage.BLENDING or not slot.is_at_rest:
        return None
    return f"alpha rests at {slot.alpha_target:.2f}"


RULES: Final[
    tuple[tuple[Rule, LifecycleOp, Callable[[SlotView, HostView, HeuristicSettings], str | None]], ...]
] = (
    (Rule.PRUNE_HARMFUL, LifecycleOp.PRUNE, _harmful),
    (Rule.PRUNE_UNPAID, LifecycleOp.PRUNE, _unpaid),
    (Rule.PRUNE_TOO_DEAR, LifecycleOp.PRUNE, _too_dear),
    (Rule.PRUNE_STUCK, LifecycleOp.PRUNE, _stuck),
    (Rule.PRUNE_UNPROVEN, LifecycleOp.PRUNE, _unproven),
    (Rule.FOSSILIZE_PAID, LifecycleOp.FOSSILIZE, _paid),
    (Rule.ADVANCE_GERMINATED, LifecycleOp.ADVANCE, _germinated),
    (Rule.ADVANCE_TRAINED, LifecycleOp.ADVANCE, _trained),
    (Rule.ADVANCE_BLENDED, LifecycleOp.ADVANCE, _blended),
)
"""Each rule for seeds with the op it orders and, where that op is legal, why it applies; None where it does not."""
