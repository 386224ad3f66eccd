"""Legal by the masks <=> accepted by the hosts, in random states and all along an episode of growth."""

import itertools
from collections.abc import Iterator

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kasmina_hosts import (
    DigitsTask,
    Gates,
    HostConfig,
    HostPopulation,
    Lifecycle,
    SlotRules,
    built_blueprints,
    empty_lifecycle,
    is_legal,
)
from leyline_types import (
    AlphaMode,
    BlueprintAction,
    FactoredAction,
    FactoredActions,
    LegalityRules,
    LifecycleOp,
    SeedStage,
    SlotConfig,
    TempoAction,
    Topology,
    germinable_blueprints,
)
from tamiyo_masks import LegalityColumns, action_masks, masks_from_columns

EPOCHS = 8
NUM_OPS, NUM_SLOTS = len(LifecycleOp), 3
RULES = LegalityRules(enabled_slots=("r0c0", "r0c2"))


def every_op_on_every_slot() -> FactoredActions[torch.Tensor]:
    """One action for each of the hosts: host i tries the i-th pair of op and slot."""
    pairs = list(itertools.product(range(NUM_OPS), range(NUM_SLOTS)))
    op, slot = torch.tensor(pairs).T
    zero = torch.zeros_like(op)
    return FactoredActions(slot, zero + BlueprintAction.NORM, zero, zero, zero + 2, zero, zero, op)


def script(population: HostPopulation) -> Iterator[FactoredActions[torch.Tensor]]:
    """A life in r0c0 until it is fossilized, and one in r0c2 that is pruned; the same for all hosts."""

    def germinate(slot_id: str) -> FactoredAction:
        norm, fast = BlueprintAction.NORM, TempoAction.FAST
        return FactoredAction(LifecycleOp.GERMINATE, slot_id, blueprint=norm, tempo=fast)

    for action in (
        germinate("r0c0"),
        FactoredAction(LifecycleOp.ADVANCE, "r0c0"),
        FactoredAction(LifecycleOp.ADVANCE, "r0c0"),
        germinate("r0c2"),
        FactoredAction(LifecycleOp.WAIT, "r0c0"),
        FactoredAction(LifecycleOp.ADVANCE, "r0c0"),
        FactoredAction(LifecycleOp.PRUNE, "r0c2"),
        FactoredAction(LifecycleOp.FOSSILIZE, "r0c0"),
    ):
        indices = action.to_indices(population.slot_config)
        yield FactoredActions(*(torch.full((population.num_envs,), index) for index in indices))


def test_masks_and_hosts_agree() -> None:
    """Hosts of one seed and one past each try another action: every pair of op and slot in each state."""
    torch.set_num_threads(1)
    count = NUM_OPS * NUM_SLOTS
    open_gates = Gates(
        min_improvement=-1e9,
        min_training_epochs=1,
        min_gradient_ratio=0.0,
        min_contribution=-1e9,
        embargo_epochs=1,
    )
    seen: set[tuple[int, bool]] = set()
    for length in range(EPOCHS):
        population = HostPopulation(
            DigitsTask(), HostConfig(max_epochs=EPOCHS), rules=RULES, gates=open_gates
        )
        observation = population.reset([7] * count)
        for past in itertools.islice(script(population), length):
            outcome = population.step(past)
            assert outcome.took_effect.all()
            observation = outcome.observation
        masks = action_masks(observation, population.slot_config, population.rules)
        actions = every_op_on_every_slot()
        envs = torch.arange(count)
        legal = masks.op[envs, actions.op] & masks.slot_by_op[envs, actions.op, actions.slot]
        outcome = population.step(actions)
        waits = actions.op == LifecycleOp.WAIT
        assert torch.equal(outcome.legal[~waits], legal[~waits])
        assert outcome.legal[waits].all()
        assert masks.op[:, LifecycleOp.WAIT].all()
        seen |= set(zip(actions.op.tolist(), outcome.legal.tolist(), strict=True))
    # The past must have reached states in which each op is legal, and states in which it is not.
    assert {op for op, legal in seen if legal} == set(LifecycleOp)
    assert {op for op, legal in seen if not legal} == set(LifecycleOp) - {LifecycleOp.WAIT}


def random_life(seed: int, num_hosts: int) -> Lifecycle:
    """Hosts with seeds in every stage, of ages 0 to 4, with every alpha mode, and empty slots."""
    generator = torch.Generator().manual_seed(seed)

    def draw(choices: int) -> torch.Tensor:
        return torch.randint(0, choices, (num_hosts, NUM_SLOTS), generator=generator)

    stages = torch.tensor([int(stage) for stage in SeedStage if stage is not SeedStage.UNKNOWN])
    stage = torch.where(draw(3) == 0, int(SeedStage.DORMANT), stages[draw(len(stages))])
    empty = stage == SeedStage.DORMANT
    life = empty_lifecycle(num_hosts, NUM_SLOTS)._replace(stage=stage)
    return life.where(~empty, age=draw(5), alpha_mode=draw(len(AlphaMode)))


@given(
    st.integers(0, 2**31),
    st.builds(
        LegalityRules,
        enabled_slots=st.sampled_from([None, ("r0c1",), ("r0c0", "r0c2")]),
        enabled_blueprints=st.sampled_from([None, (BlueprintAction.NORM, BlueprintAction.LORA)]),
        min_prune_age=st.integers(0, 3),
        allow_governor_override=st.booleans(),
        sequential_development=st.booleans(),
    ),
    st.integers(1, NUM_SLOTS),
    st.sampled_from(Topology),
)
@settings(deadline=None)
def test_any_action_in_any_state_is_legal_for_both_or_for_neither(
    seed: int, rules: LegalityRules, capacity: int, topology: Topology
) -> None:
    """Every op on every slot with every blueprint, in random states under random rules."""
    actions = torch.tensor(
        list(itertools.product(range(NUM_OPS), range(NUM_SLOTS), range(len(BlueprintAction))))
    )
    states = random_life(seed, 12)
    life = Lifecycle(*(column.repeat_interleave(len(actions), 0) for column in states))
    op, slot, blueprint = actions.repeat(12, 1).unbind(1)
    slots = SlotConfig.default()
    columns = LegalityColumns(
        occupied=life.occupied,
        stage=life.stage,
        age_epochs=life.age,
        alpha_mode=life.alpha_mode,
        live_seeds=life.live.sum(1),
        seed_capacity=torch.full_like(op, capacity),
        topology=torch.full_like(op, topology.code),
    )
    masks = masks_from_columns(columns, slots, rules)
    host = torch.arange(len(op))
    expected = masks.op[host, op]
    expected &= masks.slot_by_op[host, op, slot] | (op == LifecycleOp.WAIT)
    expected &= masks.blueprint[host, blueprint] | (op != LifecycleOp.GERMINATE)

    enabled = torch.tensor(
        [rules.enabled_slots is None or slot_id in rules.enabled_slots for slot_id in slots]
    )
    zero = torch.zeros_like(op)
    accepted = is_legal(
        life,
        FactoredActions(slot, blueprint, zero, zero, zero, zero, zero, op),
        SlotRules(enabled, capacity, rules.blueprints(topology), rules),
    )
    assert torch.equal(accepted, expected)


def test_blueprint_masks() -> None:
    population = HostPopulation(DigitsTask(), HostConfig(max_epochs=2))
    masks = action_masks(population.reset([1]), population.slot_config)
    listed = tuple(BlueprintAction(index) for index in masks.blueprint[0].nonzero().flatten().tolist())
    topology = population.task_config.topology
    assert listed == germinable_blueprints(topology) == built_blueprints(topology)
