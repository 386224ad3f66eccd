"""The plain way to the masks: environment by environment, op by op, slot by slot, each element written on its own."""

from collections.abc import Mapping, Sequence

import torch

from leyline_types import (
    ACTION_HEADS,
    DEVELOPING_STAGES,
    OP_RULES,
    AlphaMode,
    BlueprintAction,
    LegalityRules,
    LifecycleOp,
    MaskSeedInfo,
    SeedStage,
    SlotConfig,
    Topology,
)
from tamiyo_masks import ActionMasks

States = Mapping[str, MaskSeedInfo | None]


def is_legal(
    op: LifecycleOp, state: MaskSeedInfo | None, slot_id: str, *, can_grow: bool, rules: LegalityRules
) -> bool:
    rule = OP_RULES[op]
    if rule.stages is None or (rules.enabled_slots is not None and slot_id not in rules.enabled_slots):
        return False
    if rule.needs_empty_slot:
        return state is None and (can_grow or not rule.needs_capacity)
    if state is None or state.stage not in rule.stages:
        return False
    overridden = op is LifecycleOp.PRUNE and rules.allow_governor_override
    if rule.needs_hold and not overridden and state.alpha_mode != AlphaMode.HOLD:
        return False
    return not rule.needs_min_age or state.seed_age_epochs >= rules.min_prune_age


def empty_masks(num_envs: int, slots: SlotConfig) -> ActionMasks:
    """What `loop` writes to."""
    sizes = [(head.size(slots),) for head in ACTION_HEADS] + [(len(LifecycleOp), len(slots))]
    return ActionMasks(*(torch.zeros(num_envs, *size, dtype=torch.bool) for size in sizes))


def loop(
    batch: Sequence[States],
    live_seeds: Sequence[int],
    capacity: int,
    slots: SlotConfig,
    topology: Topology,
    rules: LegalityRules,
    out: ActionMasks,
) -> ActionMasks:
    """The reference: writes each element of `out`, one after another."""
    blueprints = rules.blueprints(topology)
    for env, states in enumerate(batch):
        developing = any(state is not None and state.stage in DEVELOPING_STAGES for state in states.values())
        can_grow = live_seeds[env] < capacity and bool(blueprints)
        can_grow = can_grow and not (rules.sequential_development and developing)
        open_slots = [False] * len(slots)
        for op in LifecycleOp:
            row = [is_legal(op, states[at], at, can_grow=can_grow, rules=rules) for at in slots]
            out.op[env, op] = op is LifecycleOp.WAIT or any(row)
            for place, found in enumerate(row):
                out.slot_by_op[env, op, place] = found if any(row) else place == 0
                open_slots[place] = open_slots[place] or found
        for place, found in enumerate(open_slots):
            out.slot[env, place] = found if any(open_slots) else place == 0
        for blueprint in BlueprintAction:
            out.blueprint[env, blueprint] = blueprint in (blueprints or (BlueprintAction.NOOP,))
        for head in (out.style, out.tempo, out.alpha_target, out.alpha_speed, out.alpha_curve):
            for choice in range(head.shape[-1]):
                head[env, choice] = True
    return out


def random_states(
    slots: SlotConfig, num_envs: int, generator: torch.Generator, occupancy: float
) -> list[States]:
    """Seeds in every stage, of ages 0 to 4, with every alpha mode, and empty slots."""

    def draw(choices: int) -> int:
        return int(torch.randint(0, choices, (), generator=generator))

    def state() -> MaskSeedInfo | None:
        if float(torch.rand((), generator=generator)) >= occupancy:
            return None
        return MaskSeedInfo(list(SeedStage)[draw(len(SeedStage))], draw(5), AlphaMode(draw(len(AlphaMode))))

    return [{slot_id: state() for slot_id in slots} for _ in range(num_envs)]
