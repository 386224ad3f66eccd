"""What the heuristic germinates, and where: the largest seed that the host's room may pay for."""

from collections.abc import Sequence
from math import isnan
from typing import NamedTuple

from leyline_types import BlueprintAction
from tamiyo_policies.heuristic_rules import HostView, SlotView
from tamiyo_policies.heuristic_settings import HeuristicSettings, scaled


class Planting(NamedTuple):
    """A germination: the slot's place, the blueprint, and why."""

    slot: int
    blueprint: BlueprintAction
    reason: str


class _Offer(NamedTuple):
    size: float
    slot: int
    blueprint: BlueprintAction


def placement(slots: Sequence[SlotView]) -> list[int]:
    """All slots' places, the one first where a seed is hoped to bring most.

    A layer whose output fills few directions (a low `activation_rank`) is best helped before it: its slot is the one
    nearer the input, or its own if it is the first layer. Lowest ranks come first. Slots that this names none for
    follow from the middle outwards, of two as near that nearer the input; so do all where no rank is known.

    Args:
        slots: with seeds or without, from input to output.
    """
    known = [place for place, slot in enumerate(slots) if not isnan(slot.activation_rank)]
    by_rank = sorted(known, key=lambda place: slots[place].activation_rank)
    from_middle = sorted(range(len(slots)), key=lambda place: abs(2 * place - len(slots) + 1))
    return list(dict.fromkeys([*(max(place - 1, 0) for place in by_rank), *from_middle]))


def plan_planting(
    host: HostView,
    *,
    is_open: Sequence[bool],
    is_legal: Sequence[bool],
    scales: Sequence[float],
    pruned: Sequence[Sequence[bool]],
    limits: HeuristicSettings,
) -> Planting | str:
    """What to germinate; or in words why nothing.

    A seed can be paid for if its price and that of all seeds that are not measured yet are within `limits.ambition` of
    the host's room. The largest such blueprint is germinated in the first slot, by `placement`,
    that one can be germinated in; slots where a seed was pruned come last, and what was pruned there is passed over.

    Args:
        host: with its slots.
        is_open: of each slot, whether GERMINATE is legal there.
        is_legal: of each blueprint, by value, whether it may be germinated.
        scales: of each slot, the size of its last seed as a multiple of the size in `limits`; NaN unknown. Slots
            without one take the greatest of the others.
        pruned: of each slot and blueprint, whether such a seed was pruned there.
        limits: the numbers.
    """
    look = scaled(limits.look, host.max_epochs)
    if host.epoch < look:
        return f"looks at the host for {look} epochs, {host.epoch} are over"
    if host.progress > limits.last_germination:
        over, last = f"{host.progress:.2f}", f"{limits.last_germination:.2f}"
        return f"too late for new seeds: {over} of the episode are over, {last} allowed"
    # It germinates for an epoch, trains, and must have blended in when the end is near.
    takes = 1 + scaled(limits.training, host.max_epochs) + limits.tempo.epochs
    if (host.epoch + takes) / host.max_epochs > limits.last_decision:
        return f"too late for new seeds: one takes {takes} epochs to blend in, {host.epochs_left} are left"
    if not any(is_open):
        return "no slot can take a seed now"
    if host.room < limits.improvement:
        return f"no room: the host fits all but {host.room:.2f} points of its training data"
    offers = _offers(host, is_open, is_legal, scales, pruned, limits)
    if not offers:
        return "every blueprint has been pruned where a slot is empty, or may not be germinated"
    waiting = sum(host.size(slot) for slot in host.slots if slot.is_developing and not slot.is_measured)
    budget = limits.ambition * host.room
    affordable = [offer for offer in offers if host.points(waiting + offer.size) <= budget]
    room = f"{limits.ambition:.2f} of the room of {host.room:.2f} points"
    others = f", seeds not measured yet {host.points(waiting):.2f}" if waiting else ""
    if not affordable:
        cheapest = min(offers)
        name, price = cheapest.blueprint.blueprint_id, host.price_in_words(cheapest.size)
        return f"nothing pays: the cheapest seed ({name}) must bring {price}{others}, more than {room}"
    first = affordable[0].slot
    size, slot, blueprint = max(
        (offer for offer in affordable if offer.slot == first), key=lambda offer: offer.size
    )
    reason = (
        f"{blueprint.blueprint_id} must bring {host.price_in_words(size)}{others}, which is within {room}"
    )
    return Planting(slot, blueprint, reason)


def _offers(
    host: HostView,
    is_open: Sequence[bool],
    is_legal: Sequence[bool],
    scales: Sequence[float],
    pruned: Sequence[Sequence[bool]],
    limits: HeuristicSettings,
) -> list[_Offer]:
    """What could be germinated, in the order of slots in which it would be."""
    elsewhere = max((scale for scale in scales if not isnan(scale)), default=1.0)
    places = sorted(
        (place for place in placement(host.slots) if is_open[place]), key=lambda place: any(pruned[place])
    )
    return [
        _Offer(size * (elsewhere if isnan(scales[place]) else scales[place]), place, blueprint)
        for place in places
        for blueprint, size in limits.candidates(host.topology)
        if is_legal[blueprint] and not pruned[place][blueprint]
    ]
