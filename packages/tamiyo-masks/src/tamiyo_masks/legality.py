"""Which actions are legal: the table of leyline-types, evaluated for all environments and slots at once."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from leyline_types import (
    ACTION_HEADS,
    OP_RULES,
    AlphaMode,
    BlueprintAction,
    LegalityRules,
    LifecycleOp,
    Observation,
    SeedStage,
    SlotConfig,
    Topology,
    germinable_blueprints,
)
from tamiyo_masks.action_masks import ActionMasks

_DEFAULT_RULES = LegalityRules()

# The table as plain tuples, which the compiler can look into: [stage value][op], and one flag per op.
_ORDERED = tuple(OP_RULES[op] for op in LifecycleOp)
_STAGE_ALLOWS = tuple(
    tuple(rule.stages is not None and value in rule.stages for rule in _ORDERED)
    for value in range(max(SeedStage) + 1)
)
_NEEDS_EMPTY_SLOT = tuple(rule.needs_empty_slot for rule in _ORDERED)
_NEEDS_HOLD = tuple(rule.needs_hold for rule in _ORDERED)
_NEEDS_HOLD_UNLESS_OVERRIDDEN = tuple(
    rule.needs_hold and op is not LifecycleOp.PRUNE for op, rule in zip(LifecycleOp, _ORDERED, strict=True)
)
_NEEDS_MIN_AGE = tuple(rule.needs_min_age for rule in _ORDERED)
_NEEDS_CAPACITY = tuple(rule.needs_capacity for rule in _ORDERED)
_GERMINABLE = tuple(
    tuple(blueprint in germinable_blueprints(topology) for blueprint in BlueprintAction)
    for topology in Topology
)


class LegalityColumns(NamedTuple):
    """The columns that legality depends on: occupied to alpha_mode [*batch, slot], the others [*batch]."""

    occupied: Bool[Tensor, "*batch slot"]
    stage: Int[Tensor, "*batch slot"]
    age_epochs: Int[Tensor, "*batch slot"]
    alpha_mode: Int[Tensor, "*batch slot"]
    live_seeds: Int[Tensor, "*batch"]
    seed_capacity: Int[Tensor, "*batch"]
    topology: Int[Tensor, "*batch"]


def action_masks(
    observation: Observation[Tensor], slot_config: SlotConfig, rules: LegalityRules = _DEFAULT_RULES
) -> ActionMasks:
    """The legal choices in every environment: what is physically possible, by `leyline_types.OP_RULES`.

    Compiles with fullgraph and maps with `torch.func.vmap`.

    Args:
        observation: signals [*batch], slots [*batch, slot].
        slot_config: the slots, in the order of the slot axis.
        rules: enabled slots and blueprints, least age to prune, governor's override.

    Returns:
        Masks [*batch, choice]. WAIT is always legal. Choices that no rule restricts are all legal. Blueprints are the
        enabled ones that fit the environment's topology; where there is none GERMINATE is illegal, and NOOP stands in.

    Raises:
        ValueError: the slot axis has another length than `slot_config`, or `rules` enables a slot that is not there.
    """
    slots, signals = observation.slots, observation.signals
    columns = LegalityColumns(
        slots.occupied,
        slots.stage,
        slots.age_epochs,
        slots.alpha_mode,
        signals.live_seeds,
        signals.seed_capacity,
        signals.topology,
    )
    return masks_from_columns(columns, slot_config, rules)


def masks_from_columns(
    columns: LegalityColumns, slot_config: SlotConfig, rules: LegalityRules
) -> ActionMasks:
    """`action_masks` from the few columns that it reads. Raises: as there."""
    if columns.occupied.shape[-1:] != (len(slot_config),):
        raise ValueError(
            f"slot columns have shape {tuple(columns.occupied.shape)}; their last axis must be {len(slot_config)} slots"
        )
    by_op = legal_slots(columns, slot_config, rules)
    blueprints = legal_blueprints(columns.topology, rules)
    noop = torch.arange(blueprints.shape[-1], device=blueprints.device) == int(BlueprintAction.NOOP)
    op_legal = by_op.any(-1)
    waits = torch.arange(len(LifecycleOp), device=op_legal.device) == int(LifecycleOp.WAIT)
    first = torch.arange(len(slot_config), device=op_legal.device) == 0
    any_slot = by_op.any(-2)
    unrestricted = {
        head.name: torch.ones_like(op_legal[..., :1]).expand(*op_legal.shape[:-1], head.size(slot_config))
        for head in ACTION_HEADS
        if head.name in ("style", "tempo", "alpha_target", "alpha_speed", "alpha_curve")
    }
    return ActionMasks(
        slot=any_slot | (first & ~any_slot.any(-1, keepdim=True)),
        blueprint=blueprints | (noop & ~blueprints.any(-1, keepdim=True)),
        op=op_legal | waits,
        slot_by_op=by_op | (first & ~op_legal[..., None]),
        **unrestricted,
    )


def legal_slots(
    columns: LegalityColumns, slot_config: SlotConfig, rules: LegalityRules
) -> Bool[Tensor, "*batch op slot"]:
    """For every op, the slots on which it is legal; none for WAIT, which takes no slot."""
    device = columns.stage.device
    enabled_ids = slot_config.slot_ids if rules.enabled_slots is None else rules.enabled_slots
    enabled_places = [slot_config.index(slot_id) for slot_id in enabled_ids]
    enabled = torch.tensor([place in enabled_places for place in range(len(slot_config))], device=device)
    needs_hold = _NEEDS_HOLD_UNLESS_OVERRIDDEN if rules.allow_governor_override else _NEEDS_HOLD

    def needs(flags: tuple[bool, ...]) -> Bool[Tensor, "op 1"]:
        return torch.tensor(flags, device=device)[:, None]

    def each_op(column: Tensor) -> Tensor:
        return column[..., None, :]

    at_rest = columns.alpha_mode == int(AlphaMode.HOLD)
    old_enough = columns.age_epochs >= rules.min_prune_age
    has_blueprint = legal_blueprints(columns.topology, rules).any(-1)
    can_grow = (has_blueprint & (columns.live_seeds < columns.seed_capacity))[..., None]
    return (
        enabled
        & torch.tensor(_STAGE_ALLOWS, device=device)[columns.stage].movedim(-1, -2)
        & (each_op(columns.occupied) ^ needs(_NEEDS_EMPTY_SLOT))
        & (each_op(at_rest) | ~needs(needs_hold))
        & (each_op(old_enough) | ~needs(_NEEDS_MIN_AGE))
        & (each_op(can_grow) | ~needs(_NEEDS_CAPACITY))
    )


def legal_blueprints(
    topology: Int[Tensor, "*batch"], rules: LegalityRules
) -> Bool[Tensor, "*batch blueprint"]:
    """The enabled blueprints that fit a network of each topology (`Topology.code`); perhaps none."""
    germinable = torch.tensor(_GERMINABLE, device=topology.device)[topology]
    if rules.enabled_blueprints is None:
        return germinable
    enabled = [int(blueprint) for blueprint in rules.enabled_blueprints]
    return germinable & torch.tensor(
        [code in enabled for code in range(len(_GERMINABLE[0]))], device=topology.device
    )
