"""Which op is physically possible on a slot: one table, read by masks and executed by environments.

Legality is about what can be done, not about what is wise. A legal op may still fail a gate of the lifecycle
(ADVANCE before the seed has improved, say); it then changes nothing, and the next observation says that
it took no effect.
"""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from leyline_types.actions import LifecycleOp
from leyline_types.blueprints import BlueprintAction, Topology, germinable_blueprints
from leyline_types.slots import check_slot_id
from leyline_types.stages import DEVELOPING_STAGES, SeedStage

MIN_PRUNE_AGE: Final = 1
"""Epochs that a seed must have lived before it can be pruned."""


@dataclass(frozen=True, slots=True)
class OpRule:
    """What a slot must satisfy for an op.

    Args:
        stages: the stages from which the op is possible; None where the op takes no slot (WAIT).
        needs_empty_slot: the slot must hold no seed (GERMINATE); `stages` is then the stage of an empty slot.
        needs_hold: alpha must rest (mode HOLD).
        needs_min_age: the seed must have lived `LegalityRules.min_prune_age` epochs.
        needs_capacity: the network must hold fewer live seeds than its limit and, under
            `LegalityRules.sequential_development`, none in development.
    """

    stages: frozenset[SeedStage] | None
    needs_empty_slot: bool = False
    needs_hold: bool = False
    needs_min_age: bool = False
    needs_capacity: bool = False


OP_RULES: Final = MappingProxyType(
    {
        LifecycleOp.WAIT: OpRule(stages=None),
        LifecycleOp.GERMINATE: OpRule(
            stages=frozenset({SeedStage.DORMANT}), needs_empty_slot=True, needs_capacity=True
        ),
        LifecycleOp.SET_ALPHA_TARGET: OpRule(
            stages=frozenset({SeedStage.BLENDING, SeedStage.HOLDING}), needs_hold=True
        ),
        LifecycleOp.PRUNE: OpRule(stages=DEVELOPING_STAGES, needs_hold=True, needs_min_age=True),
        LifecycleOp.FOSSILIZE: OpRule(stages=frozenset({SeedStage.HOLDING})),
        LifecycleOp.ADVANCE: OpRule(
            stages=frozenset({SeedStage.GERMINATED, SeedStage.TRAINING, SeedStage.BLENDING})
        ),
    }
)
"""The legality table. Only slots that are enabled count, for every op but WAIT."""


@dataclass(frozen=True, slots=True)
class LegalityRules:
    """What a caller may set about legality.

    Args:
        enabled_slots: the slots that may be acted on; None enables all of them.
        enabled_blueprints: what may be germinated, as far as it fits the topology; None enables every blueprint.
        min_prune_age: epochs before PRUNE is possible; at least 0.
        allow_governor_override: PRUNE is possible while alpha moves, for a governor that must act at once.
        sequential_development: one seed at a time: GERMINATE is possible only while no slot, enabled or not, holds a
            seed in one of `DEVELOPING_STAGES`.

    Raises:
        ValueError: empty or malformed `enabled_slots`, empty `enabled_blueprints` or NOOP in them, a negative age.
    """

    enabled_slots: tuple[str, ...] | None = None
    enabled_blueprints: tuple[BlueprintAction, ...] | None = None
    min_prune_age: int = MIN_PRUNE_AGE
    allow_governor_override: bool = False
    sequential_development: bool = False

    def __post_init__(self) -> None:
        if self.enabled_slots is not None:
            if not self.enabled_slots:
                raise ValueError("`enabled_slots` must hold at least one slot id; None enables all slots")
            for slot_id in self.enabled_slots:
                check_slot_id(slot_id)
        if self.enabled_blueprints is not None:
            if not self.enabled_blueprints:
                raise ValueError(
                    "`enabled_blueprints` must hold at least one blueprint; None enables all blueprints"
                )
            if BlueprintAction.NOOP in self.enabled_blueprints:
                raise ValueError("`enabled_blueprints` holds NOOP, which is never germinated")
        if self.min_prune_age < 0:
            raise ValueError(f"`min_prune_age` must be at least 0, not {self.min_prune_age}")

    def blueprints(self, topology: Topology) -> tuple[BlueprintAction, ...]:
        """What may be germinated in a network of this topology, in order of value; perhaps nothing."""
        enabled = tuple(BlueprintAction) if self.enabled_blueprints is None else self.enabled_blueprints
        return tuple(blueprint for blueprint in germinable_blueprints(topology) if blueprint in enabled)
