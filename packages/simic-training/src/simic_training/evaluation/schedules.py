"""Rules that look at nothing: what a policy has to beat before it has learnt anything."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final, NamedTuple, final

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from leyline_types import (
    AlphaTargetAction,
    BlueprintAction,
    FactoredActions,
    GerminationStyle,
    LegalityRules,
    LifecycleOp,
    Observation,
    SeedStage,
    SlotConfig,
    TempoAction,
    Topology,
)
from simic_training.evaluation.outcomes import Outcomes, check_paired
from simic_training.growth.reward import POINTS_PER_REWARD
from tamiyo_masks import action_masks

NONE: Final = "none"
"""Name of the controller that never acts."""

ARM_BLUEPRINTS: Final = {
    Topology.CNN: (
        BlueprintAction.NORM,
        BlueprintAction.DEPTHWISE,
        BlueprintAction.CONV_LIGHT,
        BlueprintAction.BOTTLENECK,
        BlueprintAction.CONV_HEAVY,
    ),
    Topology.TRANSFORMER: (
        BlueprintAction.NORM,
        BlueprintAction.LORA,
        BlueprintAction.MLP_SMALL,
        BlueprintAction.ATTENTION,
    ),
}
"""Each repairs something else, from few parameters to many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When, what and where to germinate; every seed is then advanced as soon as its gate lets it, and held.

    Args:
        blueprint: of every seed.
        start_epoch: no seed germinates before this many epochs are trained.
        slots: ids of those that are filled, one after the other; None for all.
        style, tempo, alpha_target: of every seed.

    Raises:
        ValueError: a negative number, no slot, or a slot named twice.
    """

    blueprint: BlueprintAction
    start_epoch: int = 0
    slots: tuple[str, ...] | None = None
    style: GerminationStyle = GerminationStyle.LINEAR_ADD
    tempo: TempoAction = TempoAction.FAST
    alpha_target: AlphaTargetAction = AlphaTargetAction.FULL

    def __post_init__(self) -> None:
        if self.start_epoch < 0:
            raise ValueError(f"`start_epoch` must be at least 0, not {self.start_epoch}")
        if self.slots is not None and (not self.slots or len(set(self.slots)) < len(self.slots)):
            raise ValueError(
                f"`slots` must name at least one slot and each once, not {self.slots}; None is all"
            )

    @property
    def name(self) -> str:
        """For tables: "conv_light r0c1 @2", or "norm all @0"."""
        places = "all" if self.slots is None else "+".join(self.slots)
        return f"{self.blueprint.blueprint_id} {places} @{self.start_epoch}"


class Orders(NamedTuple):
    """What schedules say, by host; a row of an `orders_of` can be taken for any host.

    Args:
        used: slots to fill; none where a host is left alone.
        start_epoch, blueprint, style, tempo, alpha_target: of the host's schedule.
    """

    used: Bool[Tensor, "host slot"]
    start_epoch: Int[Tensor, " host"]
    blueprint: Int[Tensor, " host"]
    style: Int[Tensor, " host"]
    tempo: Int[Tensor, " host"]
    alpha_target: Int[Tensor, " host"]

    def rows(self, hosts: Int[Tensor, " row"]) -> "Orders":
        """Those of these hosts, in this order."""
        return Orders(*(column[hosts] for column in self))


def orders_of(schedules: Sequence[Schedule | None], slot_config: SlotConfig) -> Orders:
    """The schedules of some hosts as tensors.

    Args:
        schedules: of each host; None for a host that is left alone.
        slot_config: the slots.

    Raises:
        ValueError: no hosts, or a schedule that fills a slot that there is not.
    """
    if not schedules:
        raise ValueError("`schedules` must hold one for each host, and there is at least one host")
    used = torch.zeros(len(schedules), len(slot_config), dtype=torch.bool)
    for host, schedule in enumerate(schedules):
        if schedule is not None:
            places = slot_config if schedule.slots is None else schedule.slots
            used[host, [slot_config.index(slot_id) for slot_id in places]] = True
    # What a host that is left alone would germinate with does not matter: it fills no slot.
    some = [schedule or Schedule(blueprint=BlueprintAction.NORM) for schedule in schedules]
    return Orders(
        used, *(torch.tensor([int(getattr(each, name)) for each in some]) for name in Orders._fields[1:])
    )


def follow(
    orders: Orders, observation: Observation[Tensor], step: int, slot_config: SlotConfig, rules: LegalityRules
) -> FactoredActions[Tensor]:
    """One action a host, int64 [host] in each head: germinate where its orders say so, else advance.

    Among several seeds that may be advanced it takes turns, so that one that its gate holds up does not stop the
    others.

    Args:
        orders: of each host.
        observation: of the same hosts.
        step: steps taken before.
        slot_config: the slots.
        rules: what is legal.
    """
    masks = action_masks(observation, slot_config, rules)
    due = observation.signals.epoch >= orders.start_epoch
    empty = masks.slot_by_op[:, LifecycleOp.GERMINATE] & masks.op[:, LifecycleOp.GERMINATE, None]
    allowed = masks.blueprint.gather(1, orders.blueprint[:, None])
    empty = empty & orders.used & due[:, None] & allowed
    ripe = (
        _ripe(observation) & masks.slot_by_op[:, LifecycleOp.ADVANCE] & masks.op[:, LifecycleOp.ADVANCE, None]
    )
    turn = (torch.arange(empty.shape[1]) - step) % empty.shape[1]
    germinate, advance = empty.any(1), ripe.any(1)
    slot = torch.where(germinate, empty.int().argmax(1), _first(ripe, turn))
    op = torch.where(
        germinate,
        int(LifecycleOp.GERMINATE),
        torch.where(advance, int(LifecycleOp.ADVANCE), int(LifecycleOp.WAIT)),
    )
    zeros = torch.zeros_like(op)
    return FactoredActions(
        slot=torch.where(germinate | advance, slot, 0),
        op=op,
        alpha_speed=zeros,
        alpha_curve=zeros,
        blueprint=torch.where(germinate, orders.blueprint, 0),
        style=torch.where(germinate, orders.style, 0),
        tempo=torch.where(germinate, orders.tempo, 0),
        alpha_target=torch.where(germinate, orders.alpha_target, 0),
    )


@final
class ScheduleController:
    """Follows schedules (`follow`). Equal observations and steps give equal actions.

    Args:
        schedules, slot_config: see `orders_of`.
        rules: what is legal.

    Raises:
        ValueError: see `orders_of`.
    """

    def __init__(
        self,
        schedules: Sequence[Schedule | None],
        slot_config: SlotConfig,
        *,
        rules: LegalityRules = LegalityRules(),  # noqa: B008  (frozen)
    ) -> None:
        self._orders = orders_of(schedules, slot_config)
        self._slot_config, self._rules = slot_config, rules

    def initial_memory(self, num_envs: int) -> int:
        """0 steps taken.

        Raises:
            ValueError: there are not as many schedules.
        """
        if num_envs != len(self._orders.used):
            raise ValueError(f"{num_envs} hosts are to be grown, by {len(self._orders.used)} schedules")
        return 0

    def act(self, observation: Observation[Tensor], memory: int) -> tuple[FactoredActions[Tensor], int]:
        """Int64 [env] in each head."""
        return follow(self._orders, observation, memory, self._slot_config, self._rules), memory + 1


def arms(topology: Topology, slot_config: SlotConfig, rules: LegalityRules) -> tuple[Schedule, ...]:
    """The schedules that are candidates, from epoch 0 on: each of `ARM_BLUEPRINTS` in each slot alone, and in all.

    >>> rules = LegalityRules(enabled_blueprints=(BlueprintAction.NORM,))
    >>> [arm.name for arm in arms(Topology.CNN, SlotConfig.default(), rules)]
    ['norm r0c0 @0', 'norm r0c1 @0', 'norm r0c2 @0', 'norm all @0']

    Args:
        topology: of the hosts.
        slot_config: their slots.
        rules: what is legal. Where they allow none of `ARM_BLUEPRINTS`, what they allow takes their place.
    """
    legal = rules.blueprints(topology)
    usual = [blueprint for blueprint in ARM_BLUEPRINTS[topology] if blueprint in legal]
    enabled = [each for each in slot_config if rules.enabled_slots is None or each in rules.enabled_slots]
    places: list[tuple[str, ...] | None] = [(slot_id,) for slot_id in enabled]
    return tuple(
        Schedule(blueprint=blueprint, slots=slots)
        for blueprint in usual or legal
        for slots in ([*places, None] if len(enabled) > 1 else places)
    )


class ScheduleChoice(NamedTuple):
    """Which schedule is best at which price, as far as some hosts tell.

    What a schedule does and gains does not depend on the price, so that one episode of each tells its mean return at
    any: gain / 10 - price * added, beside growing nothing.

    >>> norm = Schedule(blueprint=BlueprintAction.NORM)
    >>> heavy = Schedule(blueprint=BlueprintAction.CONV_HEAVY)
    >>> choice = ScheduleChoice((norm, heavy), gain=(2.0, 10.0), added=(0.1, 1.0))
    >>> [None if best is None else best.name for best in map(choice.best_at, (0.5, 1.0, 3.0))]
    ['conv_heavy all @0', 'norm all @0', None]

    Args:
        arms: the schedules.
        gain: of each, mean validation accuracy over that without growth, points.
        added: of each, mean parameters added, in parameters of the bare host.
    """

    arms: tuple[Schedule, ...]
    gain: tuple[float, ...]
    added: tuple[float, ...]

    def best_at(self, price: float) -> Schedule | None:
        """The schedule with the best mean return at this price; None where growing nothing is as good."""
        return self.ranked(price)[0][0]

    def ranked(self, price: float) -> list[tuple[Schedule | None, float]]:
        """The schedules with their mean return at this price beside growing nothing, None among them, best first."""
        worth = [
            gain / POINTS_PER_REWARD - price * added
            for gain, added in zip(self.gain, self.added, strict=True)
        ]
        arms: list[tuple[Schedule | None, float]] = [(None, 0.0), *zip(self.arms, worth, strict=True)]
        return sorted(arms, key=lambda each: -each[1])

    def best_single(self, prices: Sequence[float]) -> Schedule | None:
        """The schedule with the best mean return over these prices, at least one: at their mean, for it is linear."""
        return self.best_at(fmean(prices))


def choose_schedules(schedules: Sequence[Schedule], outcomes: Mapping[str, Outcomes]) -> ScheduleChoice:
    """What hosts tell of schedules that were all played on them.

    Args:
        schedules: the candidates.
        outcomes: by name, those of `NONE` among them.

    Raises:
        ValueError: a schedule was played on other hosts than `NONE`.
    """
    none = outcomes[NONE]
    gain, added = [], []
    for schedule in schedules:
        found = outcomes[schedule.name]
        check_paired(schedule.name, found, none)
        gain.append(float((found.val_accuracy - none.val_accuracy).double().mean()))
        added.append(float((found.size - none.size).double().mean()))
    return ScheduleChoice(tuple(schedules), tuple(gain), tuple(added))


def choice_rows(choice: ScheduleChoice) -> Iterator[dict[str, str | float]]:
    """The choice as plain data, a row for each arm."""
    for arm, gain, added in zip(*choice, strict=True):
        yield {"schedule": arm.name, "gain": round(gain, 4), "added": round(added, 4)}


def _ripe(observation: Observation[Tensor]) -> Bool[Tensor, "env slot"]:
    """Seeds that advancing may move on: a blending one only once its alpha has arrived."""
    slots = observation.slots
    blending = slots.stage == int(SeedStage.BLENDING)
    return ~blending | (slots.alpha == slots.alpha_target)


def _first(open_slots: Bool[Tensor, "env slot"], turn: Int[Tensor, " slot"]) -> Int[Tensor, " env"]:
    """Of the open slots the one whose turn comes first."""
    return torch.where(open_slots, turn, len(turn)).argmin(1)
