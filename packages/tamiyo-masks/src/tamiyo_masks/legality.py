"""Which actions are legal: the table of leyline-types, evaluated for all environments and slots at once."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torch.nn.functional import embedding

from leyline_types import (
    ACTION_HEADS,
    DEVELOPING_STAGES,
    OP_RULES,
    AlphaMode,
    BlueprintAction,
    LegalityRules,
    LifecycleOp,
    Observation,
    SeedStage,
    SlotConfig,
    Topology,
)
from tamiyo_masks.action_masks import ActionMasks
from tamiyo_masks.constants import constant_when_compiled, keep

_DEFAULT_RULES = LegalityRules()

_NUM_FLAGS = 5


def _is_legal(op: LifecycleOp, stage: int, flags: int, override: bool) -> bool:
    """The table's word on one op in one state; the flags are those that `_legal_slots` adds up."""
    rule = OP_RULES[op]
    occupied, at_rest, old_enough, can_grow, enabled = (bool(flags >> bit & 1) for bit in range(_NUM_FLAGS))
    needs_hold = rule.needs_hold and not (override and op is LifecycleOp.PRUNE)
    return (
        rule.stages is not None
        and stage in rule.stages
        and enabled
        and occupied != rule.needs_empty_slot
        and (at_rest or not needs_hold)
        and (old_enough or not rule.needs_min_age)
        and (can_grow or not rule.needs_capacity)
    )


# [override][state][op]: every answer of the table, so that the rules cost one look-up per slot.
_LEGAL = tuple(
    tuple(
        tuple(_is_legal(op, stage, flags, override) for op in LifecycleOp)
        for stage in range(max(SeedStage) + 1)
        for flags in range(2**_NUM_FLAGS)
    )
    for override in (False, True)
)


class _Tables(NamedTuple):
    """What the rules come down to for a network, as tensors on its device.

    Args:
        legal: [state, op], whether the op is legal on a slot in the state, a number made of stage and flags.
        enabled: [slot], the flag of slots that may be acted on.
        blueprints: [topology, blueprint], what may be germinated, NOOP alone where nothing may.
        can_germinate: [topology, 1], whether anything may.
        developing: [stage, 1], whether a seed in the stage has its fate still open.
        waits: [op], WAIT alone.
        first: [slot], the first slot alone.
    """

    legal: Bool[Tensor, "state op"]
    enabled: Int[Tensor, " slot"]
    blueprints: Bool[Tensor, "topology blueprint"]
    can_germinate: Bool[Tensor, "topology 1"]
    developing: Bool[Tensor, "stage 1"]
    waits: Bool[Tensor, " op"]
    first: Bool[Tensor, " slot"]


_Key = tuple[tuple[str, ...], tuple[str, ...] | None, tuple[BlueprintAction, ...] | None, bool, torch.device]

_tables: dict[_Key, _Tables] = {}


@constant_when_compiled
def _tables_for(
    slot_ids: tuple[str, ...],
    enabled_slots: tuple[str, ...] | None,
    enabled_blueprints: tuple[BlueprintAction, ...] | None,
    override: bool,
    device: torch.device,
) -> _Tables:
    """The tables, kept between calls; copied to the device by the first one only."""
    key = (slot_ids, enabled_slots, enabled_blueprints, override, device)

    def make() -> _Tables:
        rules = LegalityRules(enabled_slots=enabled_slots, enabled_blueprints=enabled_blueprints)
        return _make_tables(SlotConfig(slot_ids), rules, override, device)

    return keep(_tables, key, make)


def _make_tables(
    slot_config: SlotConfig, rules: LegalityRules, override: bool, device: torch.device
) -> _Tables:
    enabled = slot_config.slot_ids if rules.enabled_slots is None else rules.enabled_slots
    places = [slot_config.index(slot_id) for slot_id in enabled]
    blueprints = [rules.blueprints(topology) for topology in Topology]
    shown = [found or (BlueprintAction.NOOP,) for found in blueprints]

    def table(values: object) -> Tensor:
        return torch.tensor(values, device=device)

    return _Tables(
        legal=table(_LEGAL[override]),
        enabled=table([2 ** (_NUM_FLAGS - 1) * (place in places) for place in range(len(slot_config))]),
        blueprints=table([[blueprint in found for blueprint in BlueprintAction] for found in shown]),
        can_germinate=table([[bool(found)] for found in blueprints]),
        developing=table([[stage in DEVELOPING_STAGES] for stage in range(max(SeedStage) + 1)]),
        waits=table([op is LifecycleOp.WAIT for op in LifecycleOp]),
        first=table([place == 0 for place in range(len(slot_config))]),
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
        rules: enabled slots and blueprints, least age to prune, governor's override, one seed at a time.

    Returns:
        Masks [*batch, choice]. WAIT is always legal. Choices that no rule restricts are all legal. Blueprints are the
        enabled ones that fit the environment's topology; where there is none GERMINATE is illegal, and NOOP stands in.

    Raises:
        ValueError: the slot axis has another length than `slot_config`, or `rules` enables a slot that is not there.
        IndexError: on the CPU, a stage or topology that does not exist.
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
    tables = _tables_for(
        slot_config.slot_ids,
        rules.enabled_slots,
        rules.enabled_blueprints,
        rules.allow_governor_override,
        columns.stage.device,
    )
    by_op = _legal_slots(columns, rules, tables)
    op_legal, any_slot = by_op.any(-1), by_op.any(-2)
    true = torch.ones_like(op_legal[..., :1])
    return ActionMasks(
        slot=any_slot | (tables.first & ~any_slot.any(-1, keepdim=True)),
        blueprint=_look_up(tables.blueprints, columns.topology),
        op=op_legal | tables.waits,
        slot_by_op=by_op | (tables.first & ~op_legal.unsqueeze(-1)),
        **{
            head.name: true.expand(*op_legal.shape[:-1], head.size(slot_config))
            for head in ACTION_HEADS
            if head.name in _UNRESTRICTED
        },
    )


_UNRESTRICTED = ("style", "tempo", "alpha_target", "alpha_speed", "alpha_curve")


def _legal_slots(
    columns: LegalityColumns, rules: LegalityRules, tables: _Tables
) -> Bool[Tensor, "*batch op slot"]:
    """For every op, the slots on which it is legal; none for WAIT, which takes no slot."""
    has_room = (columns.live_seeds < columns.seed_capacity).unsqueeze(-1)
    if rules.sequential_development:
        has_room = has_room & ~_look_up(tables.developing, columns.stage).any(-2)
    can_grow = _look_up(tables.can_germinate, columns.topology) & has_room
    state = columns.stage.long() * 2**_NUM_FLAGS + tables.enabled
    state = state + columns.occupied
    state = state + (columns.alpha_mode == int(AlphaMode.HOLD)) * 2
    state = state + (columns.age_epochs >= rules.min_prune_age) * 4
    state = state + can_grow * 8
    return _look_up(tables.legal, state).movedim(-1, -2)


def _look_up(table: Tensor, index: Int[Tensor, "*batch"]) -> Tensor:
    """The table's rows at these places; unlike indexing by brackets it refuses negative ones."""
    return embedding(index.long(), table)
