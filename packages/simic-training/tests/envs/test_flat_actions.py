"""The list of all actions and its mask: by hand, against a loop, and against what hosts accept."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_envs import OP, SLOTS, grouped
from torch import Tensor

from kasmina_hosts import Lifecycle, SlotRules, empty_lifecycle, is_legal
from leyline_types import (
    HEAD_NAMES,
    HEAD_RELEVANCE,
    AlphaMode,
    BlueprintAction,
    FactoredActions,
    LegalityRules,
    LifecycleOp,
    SeedStage,
    SlotConfig,
    Topology,
    head_sizes,
)
from simic_training.envs.flat_actions import canonical_actions, joint_mask
from simic_training.envs.vector import GrowthVectorEnv
from tamiyo_masks import ActionMasks, LegalityColumns, masks_from_columns

ACTIONS = canonical_actions(SLOTS)
HOSTS = 6


def test_list_of_one_slot_by_hand() -> None:
    actions = canonical_actions(SlotConfig(("r0c0",)))
    germinate, retarget, prune = 13 * 4 * 3 * 3, 4 * 3 * 4 * 3, 4 * 3
    assert len(actions) == 1 + germinate + retarget + prune + 1 + 1
    assert actions[0].tolist() == [0] * 8  # WAIT
    assert actions[1].tolist() == [0, 0, 0, 0, 0, 0, 0, 1]  # GERMINATE, everything first
    assert actions[2].tolist() == [0, 0, 0, 0, 1, 0, 0, 1]  # the last head that matters moves first
    assert actions[-2].tolist() == [0, 0, 0, 0, 0, 0, 0, 4]  # FOSSILIZE
    assert actions[-1].tolist() == [0, 0, 0, 0, 0, 0, 0, 5]  # ADVANCE


def test_list_holds_every_action_once_and_canonically() -> None:
    assert len(ACTIONS) == 1879
    assert len(ACTIONS.unique(dim=0)) == len(ACTIONS)
    for row in ACTIONS.tolist():
        relevant = HEAD_RELEVANCE[LifecycleOp(row[OP])]
        assert all(index == 0 for name, index in zip(HEAD_NAMES, row, strict=True) if name not in relevant)


def random_masks(seed: int, batch: tuple[int, ...]) -> ActionMasks:
    """Masks that no rules would make, each choice by itself."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [*((size,) for size in head_sizes(SLOTS)), (len(LifecycleOp), len(SLOTS))]
    return ActionMasks(*(torch.rand(*batch, *shape, generator=generator) < 0.6 for shape in shapes))


def loop_mask(masks: ActionMasks, host: int) -> Tensor:
    legal = []
    for row in ACTIONS.tolist():
        op = LifecycleOp(row[OP])
        fits = bool(masks.op[host, op])
        for name, index in zip(HEAD_NAMES, row, strict=True):
            if name not in HEAD_RELEVANCE[op] or name == "op":
                continue
            mask = masks.slot_by_op[host, op] if name == "slot" else getattr(masks, name)[host]
            fits = fits and bool(mask[index])
        legal.append(fits)
    return torch.tensor(legal)


@pytest.mark.parametrize("seed", range(3))
def test_mask_equals_loop(seed: int) -> None:
    masks = random_masks(seed, (2,))
    expected = torch.stack([loop_mask(masks, host) for host in range(2)])
    assert 0 < expected.sum() < expected.numel()
    assert torch.equal(joint_mask(masks, ACTIONS), expected)


def test_mask_of_any_batch_shape() -> None:
    masks = random_masks(0, (2, 3))
    joint = joint_mask(masks, ACTIONS)
    assert joint.shape == (2, 3, len(ACTIONS))
    assert torch.equal(joint[1, 2], joint_mask(masks.at((1, 2)), ACTIONS))


def random_life(seed: int) -> Lifecycle:
    """Hosts with seeds in every stage, of ages 0 to 2, with every alpha mode, and empty slots."""
    generator = torch.Generator().manual_seed(seed)
    shape = (HOSTS, len(SLOTS))
    stages = torch.tensor([int(stage) for stage in SeedStage if stage is not SeedStage.UNKNOWN])
    stage = stages[torch.randint(len(stages), shape, generator=generator)]
    empty = torch.rand(shape, generator=generator) < 0.3
    life = empty_lifecycle(*shape)._replace(stage=torch.where(empty, int(SeedStage.DORMANT), stage))
    age = torch.randint(3, shape, generator=generator)
    mode = torch.randint(len(AlphaMode), shape, generator=generator)
    return life.where(life.stage != SeedStage.DORMANT, age=age, alpha_mode=mode)


@given(
    st.integers(0, 2**31),
    st.builds(
        LegalityRules,
        enabled_slots=st.sampled_from([None, ("r0c1",), ("r0c0", "r0c2")]),
        enabled_blueprints=st.sampled_from([None, (BlueprintAction.NORM, BlueprintAction.LORA)]),
        min_prune_age=st.integers(0, 2),
        allow_governor_override=st.booleans(),
        sequential_development=st.booleans(),
    ),
    st.integers(1, len(SLOTS)),
    st.sampled_from(Topology),
)
@settings(deadline=None)
def test_mask_holds_exactly_what_hosts_accept(
    seed: int, rules: LegalityRules, capacity: int, topology: Topology
) -> None:
    """Every action of the list in random states under random rules."""
    life = random_life(seed)
    count = torch.ones(HOSTS, dtype=torch.long)
    columns = LegalityColumns(
        occupied=life.occupied,
        stage=life.stage,
        age_epochs=life.age,
        alpha_mode=life.alpha_mode,
        live_seeds=life.live.sum(1),
        seed_capacity=count * capacity,
        topology=count * topology.code,
    )
    enabled = torch.tensor([slot in (rules.enabled_slots or SLOTS.slot_ids) for slot in SLOTS])
    accepted = is_legal(
        Lifecycle(*(column.repeat_interleave(len(ACTIONS), 0) for column in life)),
        FactoredActions(*ACTIONS.repeat(HOSTS, 1).unbind(1)),
        SlotRules(enabled, capacity, rules.blueprints(topology), rules),
    )
    mask = joint_mask(masks_from_columns(columns, SLOTS, rules), ACTIONS)
    assert torch.equal(mask.flatten(), accepted)


def test_mask_holds_exactly_what_hosts_accept_while_they_grow() -> None:
    """Random actions of random ops, most of them illegal, over whole episodes."""
    hosts, rules = 32, LegalityRules(enabled_slots=("r0c0", "r0c2"))
    env = GrowthVectorEnv(hosts, grouped(hosts, rules=rules, epochs=5))
    env.reset(seed=0)
    rng, seen = np.random.default_rng(0), set()
    places = [np.flatnonzero(ACTIONS[:, OP] == op) for op in LifecycleOp]
    for _ in range(8):
        mask = joint_mask(env.masks, ACTIONS).numpy()
        op = rng.integers(len(places), size=hosts)
        legal = [np.flatnonzero(row) for row in mask]
        chosen = np.array(
            [rng.choice(legal[host] if host % 2 else places[op[host]]) for host in range(hosts)]
        )
        *_, info = env.step(ACTIONS.numpy()[chosen])
        info = info.get("final_info", info)
        accepted = mask[np.arange(hosts), chosen]
        assert np.array_equal(info["invalid_action"], ~accepted)
        seen |= set(zip(ACTIONS[chosen, OP].tolist(), accepted.tolist(), strict=True))
    illegal = {(op, False) for op in LifecycleOp} - {(LifecycleOp.WAIT, False)}
    legal_ops = {LifecycleOp.WAIT, LifecycleOp.GERMINATE, LifecycleOp.PRUNE, LifecycleOp.ADVANCE}
    assert seen >= illegal | {(op, True) for op in legal_ops}
