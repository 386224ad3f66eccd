"""Legal by the masks <=> accepted by the hosts, for every op on every slot, all along episodes of random growth."""

import itertools

import torch

from kasmina_hosts import DigitsTask, HostConfig, HostPopulation, built_blueprints
from leyline_types import (
    BlueprintAction,
    FactoredActions,
    LegalityRules,
    LifecycleOp,
    Observation,
    SignalColumns,
    SlotColumns,
    germinable_blueprints,
)
from tamiyo_masks import action_masks
from tamiyo_policies import RandomController

EPOCHS = 8
NUM_OPS, NUM_SLOTS = len(LifecycleOp), 3
RULES = LegalityRules(enabled_slots=("r0c0", "r0c2"))


def every_op_on_every_slot() -> FactoredActions[torch.Tensor]:
    """One action for each of the hosts: host i tries the i-th pair of op and slot."""
    pairs = list(itertools.product(range(NUM_OPS), range(NUM_SLOTS)))
    op, slot = torch.tensor(pairs).T
    zero = torch.zeros_like(op)
    return FactoredActions(slot, zero + BlueprintAction.NORM, zero, zero, zero + 2, zero, zero, op)


def test_masks_and_hosts_agree() -> None:
    """Hosts of one seed and one past each try another action: every pair of op and slot in each state."""
    torch.set_num_threads(1)
    count = NUM_OPS * NUM_SLOTS
    seen: set[tuple[int, bool]] = set()
    for length in range(EPOCHS):
        population = HostPopulation(DigitsTask(), HostConfig(max_epochs=EPOCHS), rules=RULES)
        controller = RandomController(population.slot_config, seed=4, rules=population.rules)
        observation = population.reset([7] * count)
        memory = controller.initial_memory(1)
        for _ in range(length):
            first = Observation(
                SignalColumns(*(column[:1] for column in observation.signals)),
                SlotColumns(*(column[:1] for column in observation.slots)),
            )
            actions, memory = controller.act(first, memory)
            observation = population.step(
                FactoredActions(*(head.expand(count) for head in actions))
            ).observation
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
    # The episodes must have reached states in which each op is legal, and states in which it is not.
    assert {op for op, legal in seen if legal} >= {0, 1, 3, 5}
    assert {op for op, legal in seen if not legal} >= {1, 2, 3, 4, 5}


def test_blueprint_masks() -> None:
    population = HostPopulation(DigitsTask(), HostConfig(max_epochs=2))
    masks = action_masks(population.reset([1]), population.slot_config)
    listed = tuple(BlueprintAction(index) for index in masks.blueprint[0].nonzero().flatten().tolist())
    assert listed == germinable_blueprints(population.task_config.topology)
    own = action_masks(population.observe(), population.slot_config, population.rules)
    enabled = tuple(BlueprintAction(index) for index in own.blueprint[0].nonzero().flatten().tolist())
    assert enabled == population.rules.enabled_blueprints == built_blueprints(population.task_config.topology)
