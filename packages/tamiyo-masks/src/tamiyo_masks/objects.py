"""Legality for callers that hold objects: they are turned into the few columns that the one core reads."""

from collections.abc import Mapping, Sequence

import torch

from leyline_types import (
    AlphaMode,
    LegalityRules,
    MaskSeedInfo,
    SeedStage,
    SeedStateReport,
    SlotConfig,
    Topology,
)
from tamiyo_masks.action_masks import ActionMasks
from tamiyo_masks.legality import LegalityColumns, masks_from_columns

SlotStates = Mapping[str, MaskSeedInfo | None]

_EMPTY = MaskSeedInfo(SeedStage.DORMANT, 0, AlphaMode.HOLD)


def slot_id_to_index(slot_id: str, slot_config: SlotConfig | None = None) -> int:
    """Position of a slot; `slot_config` None takes `SlotConfig.default()`.

    Raises:
        ValueError: a malformed id, one that is not there, or an old name (early, mid, late: the message says what to
            write instead).
    """
    return (slot_config or SlotConfig.default()).index(slot_id)


def build_slot_states(
    slot_reports: Mapping[str, SeedStateReport | None], slots: Sequence[str]
) -> dict[str, MaskSeedInfo | None]:
    """What legality needs of the report of each slot in `slots`, in that order; None is an empty slot.

    Raises:
        ValueError: a slot without an entry, or an entry for a slot that is not in `slots`.
    """
    _check_slot_ids("slot_reports", slot_reports, slots)
    states: dict[str, MaskSeedInfo | None] = {}
    for slot_id in slots:
        report = slot_reports[slot_id]
        if report is None:
            states[slot_id] = None
        else:
            states[slot_id] = MaskSeedInfo(report.stage, report.metrics.epochs_total, report.alpha_mode)
    return states


def compute_action_masks(
    slot_states: SlotStates,
    enabled_slots: Sequence[str],
    total_seeds: int = 0,
    max_seeds: int = 0,
    slot_config: SlotConfig | None = None,
    device: torch.device | str | None = None,
    topology: str = "cnn",
    allow_governor_override: bool = False,
) -> ActionMasks:
    """`action_masks` of one environment, [choice].

    Args:
        slot_states: every slot of `slot_config`; None is an empty slot.
        enabled_slots: the slots that may be acted on; at least one.
        total_seeds: live seeds in the network; at least 0.
        max_seeds: live seeds allowed; 0 sets no limit.
        slot_config: the slots; None takes `SlotConfig.default()`.
        device: of the masks.
        topology: "cnn" or "transformer".
        allow_governor_override: PRUNE is legal while alpha moves.

    Raises:
        ValueError: a missing or unknown slot, no enabled slot, a negative count or an unknown topology.
    """
    batch = compute_batch_masks(
        [slot_states],
        enabled_slots,
        total_seeds_list=[total_seeds],
        max_seeds=max_seeds,
        slot_config=slot_config,
        device=device,
        topology=topology,
        allow_governor_override=allow_governor_override,
    )
    return ActionMasks(*(mask[0] for mask in batch))


def compute_batch_masks(
    batch_slot_states: Sequence[SlotStates],
    enabled_slots: Sequence[str],
    total_seeds_list: Sequence[int] | None = None,
    max_seeds: int = 0,
    slot_config: SlotConfig | None = None,
    device: torch.device | str | None = None,
    topology: str = "cnn",
    allow_governor_override: bool = False,
) -> ActionMasks:
    """`action_masks` of several environments, [env, choice]; arguments as in `compute_action_masks`.

    Args:
        total_seeds_list: live seeds of each environment; None takes 0 for all.

    Raises:
        ValueError: as in `compute_action_masks`, naming the environment; no environment; lists of unequal length.
    """
    slots = slot_config or SlotConfig.default()
    totals = [0] * len(batch_slot_states) if total_seeds_list is None else list(total_seeds_list)
    if not batch_slot_states:
        raise ValueError("`batch_slot_states` must hold at least one environment")
    if len(totals) != len(batch_slot_states):
        raise ValueError(
            f"`total_seeds_list` has {len(totals)} entries for {len(batch_slot_states)} environments"
        )
    if max_seeds < 0 or min(totals) < 0:
        raise ValueError(
            f"seeds cannot be negative: `max_seeds` is {max_seeds}, the fewest live seeds {min(totals)}"
        )
    if topology not in list(Topology):
        raise ValueError(f"`topology` must be one of {', '.join(Topology)}, not {topology!r}")
    for env, states in enumerate(batch_slot_states):
        _check_slot_ids(f"slot states of environment {env}", states, slots.slot_ids)
    rules = LegalityRules(enabled_slots=tuple(enabled_slots), allow_governor_override=allow_governor_override)
    rows = [[states[slot_id] for slot_id in slots] for states in batch_slot_states]
    known = [[state or _EMPTY for state in row] for row in rows]
    count = len(rows)
    columns = LegalityColumns(
        occupied=torch.tensor([[state is not None for state in row] for row in rows], device=device),
        stage=torch.tensor([[int(state.stage) for state in row] for row in known], device=device),
        age_epochs=torch.tensor([[state.seed_age_epochs for state in row] for row in known], device=device),
        alpha_mode=torch.tensor([[int(state.alpha_mode) for state in row] for row in known], device=device),
        live_seeds=torch.tensor(totals, device=device),
        seed_capacity=torch.full((count,), max_seeds or max(len(slots), *totals) + 1, device=device),
        topology=torch.full((count,), Topology(topology).code, device=device),
    )
    return masks_from_columns(columns, slots, rules)


def _check_slot_ids(what: str, found: Mapping[str, object], due: Sequence[str]) -> None:
    missing = [slot_id for slot_id in due if slot_id not in found]
    unknown = [slot_id for slot_id in found if slot_id not in due]
    if missing or unknown:
        problems = [
            f"{word} {', '.join(ids)}" for word, ids in (("lack", missing), ("name unknown", unknown)) if ids
        ]
        raise ValueError(f"{what} {' and '.join(problems)}; slots are {', '.join(due)}")
