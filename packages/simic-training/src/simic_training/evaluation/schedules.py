"""Rules that look at nothing: what a policy has to beat before it has learnt anything."""

from dataclasses import dataclass
from typing import final

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
)
from tamiyo_masks import action_masks


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When and what to germinate; every seed is then advanced as soon as its gate lets it, and held.

    Args:
        blueprint: of every seed.
        start_epoch: no seed germinates before this many epochs are trained.
        slots: how many slots are filled, from the input on; None for all.
        style, tempo, alpha_target: of every seed.

    Raises:
        ValueError: a negative number, or no slot.
    """

    blueprint: BlueprintAction
    start_epoch: int = 0
    slots: int | None = None
    style: GerminationStyle = GerminationStyle.LINEAR_ADD
    tempo: TempoAction = TempoAction.FAST
    alpha_target: AlphaTargetAction = AlphaTargetAction.FULL

    def __post_init__(self) -> None:
        if self.start_epoch < 0:
            raise ValueError(f"`start_epoch` must be at least 0, not {self.start_epoch}")
        if self.slots is not None and self.slots < 1:
            raise ValueError(f"`slots` must be at least 1, not {self.slots}")

    @property
    def name(self) -> str:
        """For tables: "conv_light x1 @2", or "norm xall @0"."""
        count = "all" if self.slots is None else str(self.slots)
        return f"{self.blueprint.blueprint_id} x{count} @{self.start_epoch}"


@final
class ScheduleController:
    """Follows a `Schedule`. Equal observations and steps give equal actions.

    One action a step: germinate where the schedule says so, else advance. Among several seeds that may be advanced it
    takes turns, so that one that its gate holds up does not stop the others.

    Args:
        schedule: what to do.
        slot_config: the slots.
        rules: what is legal.
    """

    def __init__(
        self,
        schedule: Schedule,
        slot_config: SlotConfig,
        *,
        rules: LegalityRules = LegalityRules(),  # noqa: B008  (frozen)
    ) -> None:
        self._schedule, self._slot_config, self._rules = schedule, slot_config, rules
        self._used = min(schedule.slots or len(slot_config), len(slot_config))

    def initial_memory(self, num_envs: int) -> int:
        """0 steps taken."""
        return 0

    def act(self, observation: Observation[Tensor], memory: int) -> tuple[FactoredActions[Tensor], int]:
        """Int64 [env] in each head."""
        schedule = self._schedule
        masks = action_masks(observation, self._slot_config, self._rules)
        due = observation.signals.epoch >= schedule.start_epoch
        empty = masks.slot_by_op[:, LifecycleOp.GERMINATE] & masks.op[:, LifecycleOp.GERMINATE, None]
        allowed = masks.blueprint[:, schedule.blueprint]
        empty = empty & (torch.arange(empty.shape[1]) < self._used) & (due & allowed)[:, None]
        ripe = self._ripe(observation)
        ripe = ripe & masks.slot_by_op[:, LifecycleOp.ADVANCE] & masks.op[:, LifecycleOp.ADVANCE, None]
        turn = (torch.arange(empty.shape[1]) - memory) % empty.shape[1]
        germinate, advance = empty.any(1), ripe.any(1)
        slot = torch.where(germinate, empty.int().argmax(1), _first(ripe, turn))
        op = torch.where(
            germinate,
            int(LifecycleOp.GERMINATE),
            torch.where(advance, int(LifecycleOp.ADVANCE), int(LifecycleOp.WAIT)),
        )
        heads = {
            "blueprint": schedule.blueprint,
            "style": schedule.style,
            "tempo": schedule.tempo,
            "alpha_target": schedule.alpha_target,
        }
        chosen = {name: torch.where(germinate, int(choice), 0) for name, choice in heads.items()}
        zeros = torch.zeros_like(op)
        actions = FactoredActions(
            slot=torch.where(germinate | advance, slot, 0),
            op=op,
            alpha_speed=zeros,
            alpha_curve=zeros,
            **chosen,
        )
        return actions, memory + 1

    def _ripe(self, observation: Observation[Tensor]) -> Bool[Tensor, "env slot"]:
        """Seeds that advancing may move on: a blending one only once its alpha has arrived."""
        slots = observation.slots
        blending = slots.stage == int(SeedStage.BLENDING)
        return ~blending | (slots.alpha == slots.alpha_target)


def _first(open_slots: Bool[Tensor, "env slot"], turn: Int[Tensor, " slot"]) -> Int[Tensor, " env"]:
    """Of the open slots the one whose turn comes first."""
    return torch.where(open_slots, turn, len(turn)).argmin(1)
