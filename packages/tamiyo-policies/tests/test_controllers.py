"""Controllers act legally, are pure, and can be opened by one string."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from leyline_types import (
    Controller,
    FactoredActions,
    LegalityRules,
    LifecycleOp,
    Observation,
    SeedStage,
    SlotConfig,
    TelemetryColumns,
)
from tamiyo_features import extract_features, init_normalizer, normalize, update
from tamiyo_masks import action_masks
from tamiyo_policies import (
    CHECKPOINT_NAME,
    CONTROLLER_NAMES,
    CheckpointError,
    HeuristicController,
    PolicyBundle,
    PolicyConfig,
    PolicyController,
    PolicyInputError,
    RandomController,
    UnknownPolicyError,
    WaitController,
    create_policy,
    load_controller,
    save_policy,
)

Observe = Callable[..., Observation[Tensor]]

SLOTS = SlotConfig.default()


@pytest.fixture
def busy(observe: Observe) -> Observation[Tensor]:
    """Many hosts whose slots hold an empty place, a training seed and a held one."""
    stages = [SeedStage.DORMANT, SeedStage.TRAINING, SeedStage.HOLDING]
    return observe(envs=512, stage=stages, age_epochs=3)


def same(one: FactoredActions[Tensor], two: FactoredActions[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


@pytest.mark.parametrize("name", ["policy", "greedy", "random", "heuristic", "wait"])
def test_controllers_are_pure(policy: PolicyBundle, busy: Observation[Tensor], name: str) -> None:
    controllers: dict[str, Controller[Tensor, Any]] = {
        "policy": PolicyController(policy),
        "greedy": PolicyController(policy, deterministic=True),
        "random": RandomController(SLOTS),
        "heuristic": HeuristicController(SLOTS),
        "wait": WaitController(),
    }
    controller = controllers[name]
    assert isinstance(controller, Controller)
    memory = controller.initial_memory(512)
    before = torch.get_rng_state()
    first, later = controller.act(busy, memory)
    controller.act(busy, later)
    assert same(first, controller.act(busy, memory)[0])
    assert torch.equal(before, torch.get_rng_state())
    assert all(head.shape == (512,) and head.dtype == torch.int64 for head in first)


@pytest.mark.parametrize("name", ["policy", "random"])
def test_sampling_differs_between_steps_and_seeds(
    policy: PolicyBundle, busy: Observation[Tensor], name: str
) -> None:
    def make(seed: int) -> Controller[Tensor, Any]:
        return PolicyController(policy, seed=seed) if name == "policy" else RandomController(SLOTS, seed=seed)

    first, memory = make(0).act(busy, make(0).initial_memory(512))
    assert not same(first, make(0).act(busy, memory)[0])
    assert not same(first, make(1).act(busy, make(1).initial_memory(512))[0])


def test_random_is_uniform_over_what_is_legal(busy: Observation[Tensor]) -> None:
    actions, _ = RandomController(SLOTS).act(busy, 0)
    shares = torch.bincount(actions.op, minlength=len(LifecycleOp)) / 512
    assert (shares - 1 / 6).abs().max() < 0.06  # every op is legal somewhere
    places = {
        LifecycleOp.GERMINATE: {0},
        LifecycleOp.SET_ALPHA_TARGET: {2},
        LifecycleOp.PRUNE: {1, 2},
        LifecycleOp.FOSSILIZE: {2},
        LifecycleOp.ADVANCE: {1},
    }
    for op, slots in places.items():
        assert set(actions.slot[actions.op == op].tolist()) == slots
    assert set(actions.blueprint[actions.op == LifecycleOp.GERMINATE].tolist()) == {1, 2, 3, 4, 5, 6, 7}


def test_rules_are_kept(policy: PolicyBundle, busy: Observation[Tensor]) -> None:
    rules = LegalityRules(enabled_slots=("r0c0",))
    for controller in (PolicyController(policy, rules=rules), RandomController(SLOTS, rules=rules)):
        memory: Any = controller.initial_memory(512)
        actions, _ = controller.act(busy, memory)
        assert set(actions.op.tolist()) <= {LifecycleOp.WAIT, LifecycleOp.GERMINATE}


def test_wait_waits(busy: Observation[Tensor]) -> None:
    actions, memory = WaitController().act(busy, None)
    assert memory is None
    assert not torch.stack(tuple(actions)).any()


def test_the_policy_behind_a_controller_acts_with_its_own_features_and_memory(
    busy: Observation[Tensor],
) -> None:
    policy = create_policy(PolicyConfig(hidden_dim=8, dtype=torch.bfloat16))
    controller = PolicyController(policy, deterministic=True)
    assert controller.bundle is policy
    memory = controller.initial_memory(512)
    _, later = controller.act(busy, memory)
    assert (memory.step, later.step) == (0, 1)
    assert later.hidden.h.any()
    assert not memory.hidden.h.any()


def test_features_with_telemetry_are_taken_from_the_observation(busy: Observation[Tensor]) -> None:
    policy = create_policy(PolicyConfig(hidden_dim=8, telemetry=True))
    known = torch.ones(512, len(SLOTS), dtype=torch.bool)
    telemetry = TelemetryColumns(
        *(known if "has" in name or name == "known" else known * 0.5 for name in TelemetryColumns._fields)
    )
    busy = busy._replace(telemetry=telemetry)
    _, memory = PolicyController(policy).act(busy, PolicyController(policy).initial_memory(512))
    features = extract_features(busy, SLOTS, telemetry=True)
    expected = policy.get_action(features, action_masks(busy, SLOTS), policy.initial_hidden(512)).hidden
    assert torch.equal(memory.hidden.h, expected.h)


def test_features_are_normalised_before_they_are_rounded(busy: Observation[Tensor]) -> None:
    policy = create_policy(PolicyConfig(hidden_dim=8, dtype=torch.bfloat16))
    features = extract_features(busy, SLOTS)
    state = update(init_normalizer(SLOTS), features + 1e-3 * torch.rand(features.shape))
    controller = PolicyController(policy, normalizer=state)
    _, memory = controller.act(busy, controller.initial_memory(512))
    normalized = normalize(state, features).bfloat16()
    expected = policy.get_action(normalized, action_masks(busy, SLOTS), policy.initial_hidden(512)).hidden
    assert torch.equal(memory.hidden.h, expected.h)
    early = normalize(state, features.bfloat16().float()).bfloat16()
    assert not torch.equal(early, normalized)


def test_what_a_loaded_controller_is_told(
    policy: PolicyBundle, busy: Observation[Tensor], tmp_path: Path
) -> None:
    save_policy(policy, tmp_path / CHECKPOINT_NAME)
    greedy = load_controller(tmp_path, deterministic=True)
    expected, _ = PolicyController(policy, deterministic=True).act(busy, greedy.initial_memory(512))
    assert same(greedy.act(busy, greedy.initial_memory(512))[0], expected)
    rules = LegalityRules(enabled_slots=("r0c0",))
    for name in (tmp_path, "random", "heuristic"):
        bound = load_controller(name, rules=rules)
        actions, _ = bound.act(busy, bound.initial_memory(512))
        assert not actions.slot.any()
        free = load_controller(name)
        actions, _ = free.act(busy, free.initial_memory(512))
        assert name == "heuristic" or actions.slot.any()


@pytest.mark.parametrize("name", CONTROLLER_NAMES)
def test_named_controllers(name: str, observe: Observe) -> None:
    slots = SlotConfig.for_grid(1, 5)
    controller = load_controller(name, slot_config=slots)
    actions, _ = controller.act(observe(slots=5), controller.initial_memory(1))
    assert actions.op.shape == (1,)
    default = load_controller(name)
    default.act(observe(), default.initial_memory(1))


def test_checkpoints_and_run_folders(policy: PolicyBundle, busy: Observation[Tensor], tmp_path: Path) -> None:
    save_policy(policy, tmp_path / CHECKPOINT_NAME)
    expected, _ = PolicyController(policy, seed=4).act(busy, PolicyController(policy).initial_memory(512))
    for path in (tmp_path, tmp_path / CHECKPOINT_NAME, str(tmp_path)):
        loaded = load_controller(path, seed=4, slot_config=SLOTS)
        assert same(expected, loaded.act(busy, loaded.initial_memory(512))[0])


def test_what_cannot_be_loaded(policy: PolicyBundle, tmp_path: Path) -> None:
    with pytest.raises(UnknownPolicyError, match=r"'clever' is no file or folder.*heuristic, random, wait"):
        load_controller("clever")
    with pytest.raises(CheckpointError, match=rf"{CHECKPOINT_NAME} cannot be used: it cannot be read"):
        load_controller(tmp_path)
    save_policy(policy, tmp_path / CHECKPOINT_NAME)
    with pytest.raises(CheckpointError, match="acts on slots r0c0, r0c1, r0c2, not on r0c0, r0c1"):
        load_controller(tmp_path, slot_config=SlotConfig.for_grid(1, 2))


def test_a_policy_acts_on_normalised_features(
    policy: PolicyBundle, busy: Observation[Tensor], tmp_path: Path
) -> None:
    features = extract_features(busy, SLOTS)
    state = update(init_normalizer(SLOTS), features)
    controller = PolicyController(policy, normalizer=state)
    _, memory = controller.act(busy, controller.initial_memory(512))
    masks = action_masks(busy, SLOTS)
    expected = policy.get_action(normalize(state, features), masks, policy.initial_hidden(512)).hidden
    plain = policy.get_action(features, masks, policy.initial_hidden(512)).hidden
    assert torch.equal(memory.hidden.h, expected.h)
    assert not torch.equal(memory.hidden.h, plain.h)
    save_policy(policy, tmp_path / CHECKPOINT_NAME, normalizer=state)
    loaded = load_controller(tmp_path)
    assert torch.equal(loaded.act(busy, loaded.initial_memory(512))[1].hidden.h, expected.h)
    with pytest.raises(PolicyInputError, match=r"`normalizer` \(254 features\) is for other"):
        PolicyController(policy, normalizer=init_normalizer(SLOTS, telemetry=True))
