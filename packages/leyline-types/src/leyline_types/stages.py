"""The lifecycle of a seed: its stages and the moves between them."""

from enum import IntEnum
from types import MappingProxyType
from typing import Final


class SeedStage(IntEnum):
    """Where a seed stands in its life. Trained policies depend on the values: they are never renumbered.

    The value 5 belonged to a stage that no longer exists; `parse_stage` rejects it by name.
    """

    UNKNOWN = 0
    DORMANT = 1
    GERMINATED = 2
    TRAINING = 3
    BLENDING = 4
    HOLDING = 6
    FOSSILIZED = 7
    PRUNED = 8
    EMBARGOED = 9
    RESETTING = 10


RETIRED_STAGES: Final = frozenset({5})

DEVELOPING_STAGES: Final = frozenset(
    {SeedStage.GERMINATED, SeedStage.TRAINING, SeedStage.BLENDING, SeedStage.HOLDING}
)
"""The stages of a seed whose fate is open: it can still be fossilized or pruned."""

TRANSITIONS: Final = MappingProxyType(
    {
        SeedStage.UNKNOWN: frozenset({SeedStage.DORMANT}),
        SeedStage.DORMANT: frozenset({SeedStage.GERMINATED}),
        SeedStage.GERMINATED: frozenset({SeedStage.TRAINING, SeedStage.PRUNED}),
        SeedStage.TRAINING: frozenset({SeedStage.BLENDING, SeedStage.PRUNED}),
        SeedStage.BLENDING: frozenset({SeedStage.HOLDING, SeedStage.PRUNED}),
        SeedStage.HOLDING: frozenset({SeedStage.FOSSILIZED, SeedStage.BLENDING, SeedStage.PRUNED}),
        SeedStage.FOSSILIZED: frozenset[SeedStage](),
        SeedStage.PRUNED: frozenset({SeedStage.EMBARGOED}),
        SeedStage.EMBARGOED: frozenset({SeedStage.RESETTING}),
        SeedStage.RESETTING: frozenset({SeedStage.DORMANT}),
    }
)
"""Each stage and the stages that may follow it. FOSSILIZED is terminal."""


def can_transition(source: SeedStage, target: SeedStage) -> bool:
    """Whether a seed may move from `source` straight to `target`."""
    return target in TRANSITIONS[source]


def parse_stage(value: int) -> SeedStage:
    """The stage with this value.

    Raises:
        ValueError: the value is retired (5) or was never a stage.
    """
    if value in RETIRED_STAGES:
        raise ValueError(f"stage {value} is retired; stages are {_listing()}")
    try:
        return SeedStage(value)
    except ValueError:
        raise ValueError(f"stage {value!r} does not exist; stages are {_listing()}") from None


def _listing() -> str:
    return ", ".join(f"{stage.name}={stage.value}" for stage in SeedStage)
