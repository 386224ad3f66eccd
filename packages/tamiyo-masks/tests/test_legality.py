"""Masks: by hand, against a plain loop over the table, and the shapes that users meet."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from masks_loop import States, empty_masks, loop, random_states
from torch._subclasses.fake_tensor import FakeTensorMode

from leyline_types import (
    ACTION_HEADS,
    DEVELOPING_STAGES,
    AlphaMode,
    BlueprintAction,
    LegalityRules,
    LifecycleOp,
    MaskSeedInfo,
    Observation,
    SeedStage,
    SignalColumns,
    SlotColumns,
    SlotConfig,
    Topology,
)
from tamiyo_masks import ActionMasks, LegalityColumns, action_masks, masks_from_columns

SLOTS = SlotConfig.default()
OP = LifecycleOp


def columns(
    stages: list[list[int]],
    *,
    ages: int = 3,
    mode: AlphaMode = AlphaMode.HOLD,
    live: int = 1,
    capacity: int = 3,
    topology: Topology = Topology.CNN,
) -> LegalityColumns:
    """Environments by the stages of their slots; a DORMANT slot is empty."""
    stage = torch.tensor(stages)
    num_envs = len(stages)
    return LegalityColumns(
        occupied=stage != SeedStage.DORMANT,
        stage=stage,
        age_epochs=torch.full_like(stage, ages),
        alpha_mode=torch.full_like(stage, int(mode)),
        live_seeds=torch.full((num_envs,), live),
        seed_capacity=torch.full((num_envs,), capacity),
        topology=torch.full((num_envs,), topology.code),
    )


def legal(stages: list[int], rules: LegalityRules | None = None, **others: object) -> dict[str, list[int]]:
    """The legal ops of one environment, each with its legal slots."""
    masks = masks_from_columns(columns([stages], **others), SLOTS, rules or LegalityRules())  # type: ignore[arg-type]
    return {op.name: masks.slot_by_op[0, op].nonzero().flatten().tolist() for op in OP if masks.op[0, op]}


def test_by_hand() -> None:
    assert legal([1, 3, 6]) == {
        "WAIT": [0],
        "GERMINATE": [0],
        "SET_ALPHA_TARGET": [2],
        "PRUNE": [1, 2],
        "FOSSILIZE": [2],
        "ADVANCE": [1],
    }
    assert legal([7, 8, 9]) == {"WAIT": [0]}
    assert legal([1, 1, 10]) == {"WAIT": [0], "GERMINATE": [0, 1]}
    assert legal([2, 4, 4]) == {
        "WAIT": [0],
        "SET_ALPHA_TARGET": [1, 2],
        "PRUNE": [0, 1, 2],
        "ADVANCE": [0, 1, 2],
    }


def test_alpha_that_moves() -> None:
    assert legal([4, 7, 7], mode=AlphaMode.UP) == {"WAIT": [0], "ADVANCE": [0]}
    override = LegalityRules(allow_governor_override=True)
    assert legal([4, 7, 7], override, mode=AlphaMode.DOWN) == {"WAIT": [0], "PRUNE": [0], "ADVANCE": [0]}


def test_age() -> None:
    assert "PRUNE" not in legal([2, 7, 7], ages=0)
    assert "PRUNE" in legal([2, 7, 7], ages=1)
    assert "PRUNE" not in legal([2, 7, 7], LegalityRules(min_prune_age=5), ages=4)


def test_capacity() -> None:
    assert "GERMINATE" not in legal([1, 3, 3], live=2, capacity=2)
    assert "GERMINATE" in legal([1, 3, 3], live=1, capacity=2)


def test_enabled_slots() -> None:
    assert legal([1, 1, 3], LegalityRules(enabled_slots=("r0c1",))) == {"WAIT": [0], "GERMINATE": [1]}
    with pytest.raises(ValueError, match="'r5c5' is not one of"):
        legal([1, 1, 1], LegalityRules(enabled_slots=("r5c5",)))


def test_a_seed_that_reports_dormant_is_not_an_empty_slot() -> None:
    occupied = columns([[1, 1, 1]])._replace(occupied=torch.tensor([[True, False, True]]))
    masks = masks_from_columns(occupied, SLOTS, LegalityRules())
    assert masks.slot_by_op[0, OP.GERMINATE].tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("topology", "expected"), [(Topology.CNN, range(1, 8)), (Topology.TRANSFORMER, [2, 3, *range(8, 13)])]
)
def test_blueprints_of_a_topology(topology: Topology, expected: list[int]) -> None:
    masks = masks_from_columns(columns([[1, 1, 1]], topology=topology), SLOTS, LegalityRules())
    assert masks.blueprint[0].nonzero().flatten().tolist() == list(expected)


def test_enabled_blueprints() -> None:
    rules = LegalityRules(enabled_blueprints=(BlueprintAction.NORM, BlueprintAction.LORA))
    masks = masks_from_columns(columns([[1, 1, 1]]), SLOTS, rules)
    assert masks.blueprint[0].nonzero().flatten().tolist() == [BlueprintAction.NORM]
    nothing_fits = LegalityRules(enabled_blueprints=(BlueprintAction.LORA,))
    assert legal([1, 1, 1], nothing_fits) == {"WAIT": [0]}


def columns_of(batch: list[States], live: list[int], capacity: int, topology: Topology) -> LegalityColumns:
    """The states as `tamiyo_masks` reads them."""
    places = [[states[slot_id] for slot_id in SLOTS] for states in batch]

    def each(read: Callable[[MaskSeedInfo], int], empty: int) -> torch.Tensor:
        return torch.tensor([[empty if state is None else read(state) for state in row] for row in places])

    return LegalityColumns(
        occupied=each(lambda state: 1, 0).bool(),
        stage=each(lambda state: int(state.stage), int(SeedStage.DORMANT)),
        age_epochs=each(lambda state: state.seed_age_epochs, 0),
        alpha_mode=each(lambda state: int(state.alpha_mode), 0),
        live_seeds=torch.tensor(live),
        seed_capacity=torch.full((len(batch),), capacity),
        topology=torch.full((len(batch),), topology.code),
    )


RULES = st.builds(
    LegalityRules,
    enabled_slots=st.sampled_from([None, ("r0c0",), ("r0c2", "r0c1")]),
    enabled_blueprints=st.sampled_from([None, (BlueprintAction.NORM,), (BlueprintAction.LORA,)]),
    min_prune_age=st.integers(0, 3),
    allow_governor_override=st.booleans(),
    sequential_development=st.booleans(),
)


@given(
    st.integers(0, 2**31),
    RULES,
    st.lists(st.integers(0, 3), min_size=6, max_size=6),
    st.integers(1, 3),
    st.sampled_from(Topology),
)
def test_equals_the_loop_over_the_table(
    seed: int, rules: LegalityRules, live: list[int], capacity: int, topology: Topology
) -> None:
    batch = random_states(SLOTS, 6, torch.Generator().manual_seed(seed), 0.6)
    masks = masks_from_columns(columns_of(batch, live, capacity, topology), SLOTS, rules)
    expected = loop(batch, live, capacity, SLOTS, topology, rules, empty_masks(6, SLOTS))
    for name, found, due in zip(ActionMasks._fields, masks, expected, strict=True):
        assert torch.equal(found, due), name
    assert all(mask.any(-1).all() for mask in masks), "every row can be drawn from"


def test_one_seed_at_a_time() -> None:
    one = LegalityRules(sequential_development=True)
    for stage in SeedStage:
        may_germinate = "GERMINATE" in legal([1, int(stage), 7], one)
        assert may_germinate == (stage not in DEVELOPING_STAGES)
        assert "GERMINATE" in legal([1, int(stage), 7])
    # A seed in a slot that is not enabled is in development all the same.
    assert "GERMINATE" not in legal([1, 3, 7], replace(one, enabled_slots=("r0c0",)))


def test_an_observation_s_own_columns_are_read() -> None:
    c = columns([[1, 3, 6]], ages=1, live=2, capacity=3)
    blank = torch.zeros_like(c.stage)
    signals = SignalColumns(*(torch.zeros_like(c.live_seeds) for _ in SignalColumns._fields))._replace(
        live_seeds=c.live_seeds, seed_capacity=c.seed_capacity, topology=c.topology
    )
    slots = SlotColumns(*(blank for _ in SlotColumns._fields))._replace(
        occupied=c.occupied, stage=c.stage, age_epochs=c.age_epochs, alpha_mode=c.alpha_mode
    )
    found = action_masks(Observation(signals, slots), SLOTS)
    expected = masks_from_columns(c, SLOTS, LegalityRules())
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert found.op[0].all()


def test_shapes_for_any_leading_batch() -> None:
    flat = columns([[1, 3, 6], [7, 8, 9]])
    timed = LegalityColumns(*(column[:, None].expand(2, 4, *column.shape[1:]) for column in flat))
    single = LegalityColumns(*(column[0] for column in flat))
    masks = masks_from_columns(flat, SLOTS, LegalityRules())
    assert [mask.shape for mask in masks[:-1]] == [(2, head.size(SLOTS)) for head in ACTION_HEADS]
    for other, index in ((timed, (slice(None), 2)), (single, None)):
        found = masks_from_columns(other, SLOTS, LegalityRules())
        for mask, expected in zip(found, masks, strict=True):
            assert torch.equal(
                mask if index is None else mask[index], expected[0] if index is None else expected
            )


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32])
def test_columns_of_any_integer_type(dtype: torch.dtype) -> None:
    c = columns([[int(stage), 1, 1] for stage in SeedStage])
    narrow = LegalityColumns(*(column if column.dtype is torch.bool else column.to(dtype) for column in c))
    for rules in (LegalityRules(), LegalityRules(sequential_development=True)):
        for found, due in zip(
            masks_from_columns(narrow, SLOTS, rules), masks_from_columns(c, SLOTS, rules), strict=True
        ):
            assert torch.equal(found, due)


def test_vmap_equals_the_batch() -> None:
    c = columns([[1, 3, 6], [7, 8, 9], [2, 4, 4]])
    batch = masks_from_columns(c, SLOTS, LegalityRules())
    mapped = torch.func.vmap(lambda one: masks_from_columns(one, SLOTS, LegalityRules()))(c)
    assert isinstance(mapped, ActionMasks)
    assert all(torch.equal(a, b) for a, b in zip(mapped, batch, strict=True))


def test_wrong_number_of_slots_is_named() -> None:
    with pytest.raises(ValueError, match=r"shape \(1, 3\); their last axis must be 4 slots"):
        masks_from_columns(columns([[1, 1, 1]]), SlotConfig.for_grid(1, 4), LegalityRules())


@pytest.mark.compile
def test_compiles_once_for_all_numbers_of_environments() -> None:
    torch.compiler.reset()
    compiled = torch.compile(masks_from_columns, fullgraph=True, dynamic=True)

    def check(num_envs: int) -> None:
        c = columns([[1, 3, 6]] * num_envs)
        for mask, expected in zip(
            compiled(c, SLOTS, LegalityRules()), masks_from_columns(c, SLOTS, LegalityRules()), strict=True
        ):
            assert torch.equal(mask, expected)

    check(4)
    with torch.compiler.set_stance("fail_on_recompile"):
        for num_envs in (2, 7, 64):
            check(num_envs)


@pytest.mark.compile
def test_compiles_without_graph_breaks() -> None:
    c = columns([[1, 3, 6], [7, 8, 9]])
    rules = LegalityRules(enabled_slots=("r0c0", "r0c2"), enabled_blueprints=(BlueprintAction.NORM,))
    compiled = torch.compile(masks_from_columns, fullgraph=True)
    for mask, expected in zip(compiled(c, SLOTS, rules), masks_from_columns(c, SLOTS, rules), strict=True):
        assert torch.equal(mask, expected)


@pytest.mark.parametrize("stage", [-1, 11, 77])
def test_stages_that_do_not_exist_are_never_taken_for_others(stage: int) -> None:
    with pytest.raises(IndexError):
        masks_from_columns(columns([[1, stage, 1]]), SLOTS, LegalityRules())


def test_the_retired_stage_allows_nothing() -> None:
    assert legal([5, 5, 5]) == {"WAIT": [0]}


def test_a_traced_first_call_and_inference_mode_leave_nothing_behind() -> None:
    c = columns([[3]])
    modes: tuple[AbstractContextManager[object], ...] = (
        torch.inference_mode(),
        FakeTensorMode(allow_non_fake_inputs=True),
    )
    for number, first in enumerate(modes):
        slots = SlotConfig((f"r9c{number}",))  # of no other test: its tables are made in that mode
        with first:
            masks_from_columns(c, slots, LegalityRules())
        masks = masks_from_columns(c, slots, LegalityRules())
        assert all(type(mask) is torch.Tensor and not mask.is_inference() for mask in masks)
        assert masks.op[0].tolist() == [True, False, False, True, False, True]
