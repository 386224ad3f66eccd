"""Legality for callers that hold objects: they are turned into the few columns that the one core reads."""

from array import array
from collections.abc import Iterator, Mapping, Sequence
from enum import IntEnum
from itertools import chain
from numbers import Integral
from operator import attrgetter
from typing import Final

import torch
from jaxtyping import Int64
from torch import Tensor

from leyline_types import (
    RETIRED_STAGES,
    AlphaMode,
    LegalityRules,
    MaskSeedInfo,
    SeedStage,
    SeedStateReport,
    SlotConfig,
    Topology,
    check_slot_id,
)
from tamiyo_masks.action_masks import ActionMasks
from tamiyo_masks.legality import LegalityColumns, masks_from_columns

SlotStates = Mapping[str, MaskSeedInfo | None]


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
    sequential_development: bool = False,
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
        sequential_development: GERMINATE is legal only while no seed is in development.

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
        sequential_development=sequential_development,
    )
    return batch.at(0)


def compute_batch_masks(
    batch_slot_states: Sequence[SlotStates],
    enabled_slots: Sequence[str],
    total_seeds_list: Sequence[int] | None = None,
    max_seeds: int = 0,
    slot_config: SlotConfig | None = None,
    device: torch.device | str | None = None,
    topology: str = "cnn",
    allow_governor_override: bool = False,
    sequential_development: bool = False,
) -> ActionMasks:
    """`action_masks` of several environments, [env, choice]; arguments as in `compute_action_masks`.

    Args:
        total_seeds_list: live seeds of each environment; None takes 0 for all.

    Raises:
        ValueError: as in `compute_action_masks`, naming the environment; no environment; lists of unequal length;
            stages or modes that do not exist and negative ages, all of them together.
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
    rules = LegalityRules(
        enabled_slots=tuple(enabled_slots),
        allow_governor_override=allow_governor_override,
        sequential_development=sequential_development,
    )
    for env, states in enumerate(batch_slot_states):
        _check_slot_ids(f"slot states of environment {env}", states, slots.slot_ids)
    places = [each[slot_id] for each in batch_slot_states for slot_id in slots]
    place = torch.get_default_device() if device is None else torch.device(device)
    count = len(batch_slot_states)
    values = _read_states(places, slots).view(count, len(slots), 4).to(place)
    occupied, stage, age_epochs, alpha_mode = values.unbind(-1)
    columns = LegalityColumns(
        occupied=occupied.bool(),
        stage=stage,
        age_epochs=age_epochs,
        alpha_mode=alpha_mode,
        live_seeds=torch.tensor(totals, device=place),
        seed_capacity=torch.full((count,), max_seeds or max(len(slots), *totals) + 1, device=place),
        topology=torch.full((count,), Topology(topology).code, device=place),
    )
    return masks_from_columns(columns, slots, rules)


_EMPTY: Final = (0, int(SeedStage.DORMANT), 0, int(AlphaMode.HOLD))
_STAGES: Final = frozenset(map(int, SeedStage))
_MODES: Final = frozenset(map(int, AlphaMode))
_get_values: Final = attrgetter("stage", "seed_age_epochs", "alpha_mode")


def _read_states(states: Sequence[MaskSeedInfo | None], slots: SlotConfig) -> Int64[Tensor, "place 4"]:
    """Of every state: occupied, stage, age, alpha mode. States are read in bulk, and checked one by one if that fails.

    Raises:
        ValueError: naming every state that is none, with its environment and slot.
    """
    try:
        rows = [_EMPTY if state is None else (1, *_get_values(state)) for state in states]
        packed = array("q", chain.from_iterable(rows))
    except (AttributeError, TypeError, OverflowError):
        sound = False
    else:
        _, stages, ages, modes = zip(*rows, strict=True)
        sound = _STAGES.issuperset(stages) and _MODES.issuperset(modes) and min(ages) >= 0
    if not sound:
        problems = [
            f"environment {index // len(slots)}, slot {slots.slot_ids[index % len(slots)]}: {problem}"
            for index, state in enumerate(states)
            for problem in _find_problems(state)
        ]
        raise ValueError("\n".join(problems))
    return torch.frombuffer(packed, dtype=torch.int64).view(-1, 4)


def _find_problems(state: object) -> Iterator[str]:
    if state is None:
        return
    if not isinstance(state, MaskSeedInfo):
        yield f"the state is {state!r}, it must be a MaskSeedInfo or None"
        return
    choices: tuple[tuple[str, object, type[IntEnum]], ...] = (
        ("stage", state.stage, SeedStage),
        ("alpha_mode", state.alpha_mode, AlphaMode),
    )
    for name, value, due in choices:
        if not isinstance(value, Integral) or int(value) not in map(int, due):
            listed = ", ".join(f"{member.name}={member.value}" for member in due)
            note = f"; {value} is retired" if due is SeedStage and value in RETIRED_STAGES else ""
            yield f"{name} is {value!r}, it must be one of {listed}{note}"
    age: object = state.seed_age_epochs
    if not isinstance(age, Integral) or not 0 <= int(age) < 2**63:
        yield f"seed_age_epochs is {age!r}, it must be a whole number, at least 0"


def _check_slot_ids(what: str, found: Mapping[str, object], due: Sequence[str]) -> None:
    if found.keys() == set(due):
        return
    missing = [slot_id for slot_id in due if slot_id not in found]
    unknown = [slot_id for slot_id in found if slot_id not in due]
    problems = [
        f"{word} {', '.join(map(str, ids))}"
        for word, ids in (("lack", missing), ("name unknown", unknown))
        if ids
    ]
    hints = [hint for slot_id in unknown for hint in _explain_name(slot_id)]
    raise ValueError("; ".join([f"{what} {' and '.join(problems)}", *hints, f"slots are {', '.join(due)}"]))


def _explain_name(slot_id: str) -> Iterator[str]:
    """What is wrong with the name itself: an old one, or one of another form."""
    try:
        check_slot_id(str(slot_id))
    except ValueError as error:
        yield str(error)
