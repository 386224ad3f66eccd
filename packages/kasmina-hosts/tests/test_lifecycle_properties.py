"""Random lives: only legal moves, legality by the table, alphas that land, cooldowns that last what they should."""

from collections.abc import Iterator
from itertools import groupby, product
from typing import NamedTuple

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kasmina_hosts import (
    GateInputs,
    Gates,
    Lifecycle,
    SlotRules,
    apply_actions,
    empty_lifecycle,
    is_legal,
    tick,
)
from kasmina_hosts.actions import Applied
from kasmina_hosts.state_checks import check_life
from leyline_types import (
    DEVELOPING_STAGES,
    OP_RULES,
    AlphaMode,
    AlphaSpeedAction,
    BlueprintAction,
    FactoredActions,
    LegalityRules,
    LifecycleOp,
    SeedStage,
    SlotConfig,
    can_transition,
    head_sizes,
)

HOSTS, EPOCHS = 12, 30
SLOTS = SlotConfig.default()
EMBARGO = 2
GATES = Gates(min_training_epochs=1, embargo_epochs=EMBARGO)
BUILT = (BlueprintAction.CONV_LIGHT, BlueprintAction.NORM)
LIVE = {*DEVELOPING_STAGES, SeedStage.FOSSILIZED}

rules = st.builds(
    SlotRules,
    enabled=st.sampled_from([[True] * 3, [True, False, True], [False, True, False]]).map(torch.tensor),
    capacity=st.integers(1, 3),
    blueprints=st.sampled_from([BUILT, BUILT[:1]]),
    rules=st.builds(
        LegalityRules,
        min_prune_age=st.integers(0, 4),
        allow_governor_override=st.booleans(),
        sequential_development=st.booleans(),
    ),
)
few = settings(max_examples=20)


class Epoch(NamedTuple):
    """A state, what was tried, what came of it, and the state after the tick."""

    before: Lifecycle
    actions: FactoredActions[Tensor]
    applied: Applied
    ticked: Lifecycle


def lives(seed: int, slots: SlotRules) -> Iterator[Epoch]:
    """Hosts that mostly advance, so that all stages are reached, but try everything else as well."""
    generator = torch.Generator().manual_seed(seed)
    state = empty_lifecycle(HOSTS, len(SLOTS))
    for _ in range(EPOCHS):
        drawn = [torch.randint(size, (HOSTS,), generator=generator) for size in head_sizes(SLOTS)]
        actions = FactoredActions(*drawn)
        hurried = torch.rand(HOSTS, generator=generator) < 0.5
        empty = ~state.occupied.gather(1, actions.slot[:, None])[:, 0]
        onward = torch.where(empty, int(LifecycleOp.GERMINATE), int(LifecycleOp.ADVANCE))
        blueprint = torch.where(hurried, int(BlueprintAction.CONV_LIGHT), actions.blueprint)
        actions = actions._replace(op=torch.where(hurried, onward, actions.op), blueprint=blueprint)
        measured = GateInputs(*(3 * torch.randn(HOSTS, 3, generator=generator) + 1 for _ in range(3)))
        applied = apply_actions(state, actions, slots, GATES, measured)
        ticked = tick(applied.state, GATES, state.alpha)
        yield Epoch(state, actions, applied, ticked)
        state = ticked


ALL_ENABLED = SlotRules(torch.ones(3, dtype=torch.bool), 3, BUILT, LegalityRules())


def test_the_lives_reach_every_stage_and_every_kind_of_action_takes_effect() -> None:
    epochs = list(lives(0, ALL_ENABLED))
    stages = torch.stack([epoch.ticked.stage for epoch in epochs]).unique().tolist()
    assert stages == sorted(set(SeedStage) - {SeedStage.UNKNOWN})
    done = torch.stack([torch.where(epoch.applied.took_effect, epoch.actions.op, -1) for epoch in epochs])
    assert {*LifecycleOp} <= {*done.unique().tolist()}
    modes = torch.stack([epoch.ticked.alpha_mode for epoch in epochs]).unique().tolist()
    assert modes == sorted(AlphaMode)


@few
@given(st.integers(0, 2**31), rules)
def test_stages_follow_the_transition_table(seed: int, slots: SlotRules) -> None:
    for before, _, applied, ticked in lives(seed, slots):
        for old, new in ((before, applied.state), (applied.state, ticked)):
            pairs = torch.stack([old.stage.flatten(), new.stage.flatten()], dim=1).unique(dim=0).tolist()
            for source, target in pairs:
                assert source == target or can_transition(SeedStage(source), SeedStage(target))
        assert not ticked.alpha[~ticked.live].any()
        blended = (ticked.stage == SeedStage.HOLDING) | (ticked.stage == SeedStage.FOSSILIZED)
        assert (ticked.alpha_mode[blended] == AlphaMode.HOLD).all()
        assert torch.equal(ticked.alpha[blended], ticked.alpha_target[blended])


@few
@given(st.integers(0, 2**31), rules)
def test_every_life_is_one_that_a_saved_state_may_hold(seed: int, slots: SlotRules) -> None:
    for epoch, life in enumerate(lives(seed, slots), 1):
        check_life(life.ticked, BUILT, epoch)


@few
@given(st.integers(0, 2**31), rules)
def test_what_is_refused_changes_nothing_and_what_is_done_something(seed: int, slots: SlotRules) -> None:
    for before, actions, applied, _ in lives(seed, slots):
        assert torch.equal(applied.legal, is_legal(before, actions, slots))
        assert not (applied.took_effect & ~applied.legal).any()
        waits = actions.op == LifecycleOp.WAIT
        assert (applied.took_effect | ~waits).all()
        changed = torch.zeros(HOSTS, len(SLOTS), dtype=torch.bool)
        for old, new in zip(before, applied.state, strict=True):
            changed |= old != new
        assert not changed[~applied.took_effect | waits].any()
        assert changed[applied.took_effect & ~waits].any(1).all()
        chosen = torch.arange(len(SLOTS)) == actions.slot[:, None]
        assert not (changed & ~chosen).any()


def legal_by_the_table(
    life: Lifecycle, host: int, op: LifecycleOp, slot: int, blueprint: BlueprintAction, slots: SlotRules
) -> bool:
    """The sentences of `OpRule`, one after the other."""
    rule, settings = OP_RULES[op], slots.rules
    if rule.stages is None:
        return True
    stages = [SeedStage(stage) for stage in life.stage[host].tolist()]
    conditions = [bool(slots.enabled[slot]), stages[slot] in rule.stages]
    if rule.needs_empty_slot:
        conditions.append(stages[slot] is SeedStage.DORMANT)
    if rule.needs_hold:
        overridden = op is LifecycleOp.PRUNE and settings.allow_governor_override
        conditions.append(overridden or int(life.alpha_mode[host, slot]) == AlphaMode.HOLD)
    if rule.needs_min_age:
        conditions.append(int(life.age[host, slot]) >= settings.min_prune_age)
    if rule.needs_capacity:
        conditions.append(sum(stage in LIVE for stage in stages) < slots.capacity)
        conditions.append(blueprint in slots.blueprints)
        if settings.sequential_development:
            conditions.append(not any(stage in DEVELOPING_STAGES for stage in stages))
    return all(conditions)


def assert_legal_by_the_table(life: Lifecycle, slots: SlotRules) -> None:
    """Every op on every slot of every host, GERMINATE with every third blueprint."""
    hosts = len(life.stage)
    blueprints = list(BlueprintAction)[::3]
    for op, slot, blueprint in product(LifecycleOp, range(len(SLOTS)), blueprints):
        if op is not LifecycleOp.GERMINATE and blueprint is not blueprints[0]:
            continue
        zero = torch.zeros(hosts, dtype=torch.long)
        actions = FactoredActions(
            zero + slot, zero + blueprint, zero, zero, zero, zero + AlphaSpeedAction.FAST, zero, zero + op
        )
        expected = [legal_by_the_table(life, host, op, slot, blueprint, slots) for host in range(hosts)]
        assert is_legal(life, actions, slots).tolist() == expected


@settings(max_examples=6)
@given(st.integers(0, 2**31), rules)
def test_legality_along_lives_is_the_table_s(seed: int, slots: SlotRules) -> None:
    for epoch in list(lives(seed, slots))[::6]:
        assert_legal_by_the_table(epoch.before, slots)


@few
@given(st.integers(0, 2**31), rules)
def test_legality_in_any_state_is_the_table_s(seed: int, slots: SlotRules) -> None:
    """Reached or not."""
    generator = torch.Generator().manual_seed(seed)
    known = torch.tensor(sorted(set(SeedStage) - {SeedStage.UNKNOWN}))
    life = empty_lifecycle(HOSTS, 3)
    shape = life.stage.shape
    life = life._replace(
        stage=known[torch.randint(len(known), shape, generator=generator)],
        alpha_mode=torch.randint(len(AlphaMode), shape, generator=generator),
        age=torch.randint(6, shape, generator=generator),
    )
    assert_legal_by_the_table(life, slots)


@few
@given(st.integers(0, 2**31), rules)
def test_alpha_moves_towards_its_target_and_lands_on_it_exactly(seed: int, slots: SlotRules) -> None:
    for _, _, applied, ticked in lives(seed, slots):
        state = applied.state
        moving = state.alpha_mode != AlphaMode.HOLD
        assert torch.equal(ticked.alpha[~moving], state.alpha[~moving])
        assert (state.steps_done[moving] < state.steps_total[moving]).all()
        up = torch.where(state.alpha_mode == AlphaMode.UP, 1.0, -1.0)[moving]
        old, new, target = state.alpha[moving], ticked.alpha[moving], state.alpha_target[moving]
        assert ((new - old) * up > 0).all()
        last = (state.steps_done + 1 == state.steps_total)[moving]
        assert torch.equal(new[last], target[last])
        assert ((target - new)[~last] * up[~last] > 0).all()
        mode = ticked.alpha_mode[moving]
        assert (mode[last] == AlphaMode.HOLD).all()
        assert torch.equal(mode[~last], state.alpha_mode[moving][~last])
        gone = (ticked.stage == SeedStage.PRUNED)[moving]
        assert torch.equal(gone, last & (target == 0))


@few
@given(st.integers(0, 2**31), rules)
def test_cooldowns_last_exactly_as_long_as_they_should(seed: int, slots: SlotRules) -> None:
    stages = torch.stack([epoch.ticked.stage for epoch in lives(seed, slots)])
    lengths = {SeedStage.PRUNED: 1, SeedStage.EMBARGOED: EMBARGO, SeedStage.RESETTING: 1}
    for history in stages.flatten(1).T.tolist():
        runs = [(SeedStage(stage), len(list(same))) for stage, same in groupby(history)]
        for stage, length in runs[:-1]:  # the last one is cut off
            assert length == lengths.get(stage, length)
