"""Controllers act on what is finite and legal, and say what is not: environment, slot, feature or head."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from leyline_types import (
    HEAD_NAMES,
    HISTORY_LENGTH,
    Controller,
    LifecycleOp,
    Observation,
    SeedStage,
    SignalColumns,
    SlotConfig,
    head_sizes,
)
from tamiyo_features import NonFiniteValueError, extract_features, freeze, init_normalizer, update
from tamiyo_masks import ActionMasks, IllegalActionError, InvalidStateMachineError, action_masks
from tamiyo_policies import (
    ActionResult,
    HeuristicController,
    NonFinitePolicyError,
    PolicyBundle,
    PolicyConfig,
    PolicyController,
    RandomController,
    WaitController,
    controllers,
    create_policy,
    heuristic,
)

Observe = Callable[..., Observation[Tensor]]

SLOTS = SlotConfig.default()
ENVS = 4

SIGNALS: Final = ("train_loss", "val_loss", "train_accuracy", "val_accuracy", "baseline_loss")
SIGNALS_UNKNOWN: Final = (
    *("loss_delta", "accuracy_delta", "best_val_accuracy", "best_val_loss", "grad_norm_host"),
    *("grad_norm_seed", "loss_history", "accuracy_history"),
)
SLOT: Final = (
    *("alpha", "alpha_target", "alpha_velocity", "improvement_in_stage"),
    *("upstream_alpha_sum", "downstream_alpha_sum"),
)
SLOT_UNKNOWN: Final = (
    *("contribution", "contribution_velocity", "interaction_sum", "boost_received", "gradient_ratio"),
)
"""All floating columns, and which of them may be unknown, as `leyline_types.columns` has it."""

with_fixtures = settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture
def busy(observe: Observe) -> Observation[Tensor]:
    """Slots that hold an empty place, a training seed and a held one."""
    return observe(envs=ENVS, stage=[SeedStage.DORMANT, SeedStage.TRAINING, SeedStage.HOLDING], age_epochs=3)


def acting(policy: PolicyBundle) -> dict[str, Controller[Tensor, Any]]:
    """Those that read the values of an observation."""
    return {
        "policy": PolicyController(policy),
        "greedy": PolicyController(policy, deterministic=True),
        "random": RandomController(SLOTS),
        "heuristic": HeuristicController(SLOTS),
    }


def with_value(
    observation: Observation[Tensor], name: str, env: int, last: int, value: float
) -> Observation[Tensor]:
    """The observation with one value replaced, of a slot or a point of a history where the column has one."""
    columns: Any = observation.signals if name in SignalColumns._fields else observation.slots
    column = getattr(columns, name).clone()
    column[(env, last) if column.ndim > 1 else env] = value
    changed = columns._replace(**{name: column})
    if name in SignalColumns._fields:
        return observation._replace(signals=changed)
    return observation._replace(slots=changed)


@given(
    st.sampled_from(SIGNALS + SIGNALS_UNKNOWN + SLOT + SLOT_UNKNOWN),
    st.integers(0, ENVS - 1),
    st.integers(0, len(SLOTS) - 1),
    st.sampled_from([torch.nan, torch.inf, -torch.inf]),
    st.sampled_from(["policy", "greedy", "random", "heuristic"]),
)
@with_fixtures
def test_every_value_of_an_observation_is_finite_or_named(
    policy: PolicyBundle,
    busy: Observation[Tensor],
    name: str,
    env: int,
    last: int,
    value: float,
    who: str,
) -> None:
    controller = acting(policy)[who]
    memory = controller.initial_memory(ENVS)
    broken = with_value(busy, name, env, last, value)
    if value != value and name in SIGNALS_UNKNOWN + SLOT_UNKNOWN:
        controller.act(broken, memory)
        return
    where = f"environment {env}" + (f", slot {SLOTS.slot_ids[last]}" if name in SLOT + SLOT_UNKNOWN else "")
    point = f"[{last - HISTORY_LENGTH}]" if name.endswith("history") else ""
    what = "column 'baseline_loss'" if name == "baseline_loss" else f"feature '{name}{point}'"
    with pytest.raises(
        NonFiniteValueError, match=re.escape(f"{where}: {what} is {value}, expected a finite")
    ):
        controller.act(broken, memory)
    controller.act(busy, memory)


def test_who_reads_nothing_refuses_nothing(busy: Observation[Tensor]) -> None:
    actions, _ = WaitController().act(with_value(busy, "val_loss", 0, 0, torch.nan), None)
    assert not actions.op.any()


def rows_of(head: int) -> slice:
    """The rows of a head in the layer that has those of all heads."""
    sizes = head_sizes(SLOTS)
    return slice(sum(sizes[:head]), sum(sizes[: head + 1]))


def poison(policy: PolicyBundle, part: str, value: float, rows: slice = slice(None)) -> list[str]:
    """Weights whose name holds `part` become `value` in these rows; their names."""
    found = []
    with torch.no_grad():
        for name, weight in policy.state_dict().items():
            if part in name and weight.is_floating_point() and weight.ndim:
                weight[rows] = value
                found.append(name)
    return found


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("name", ["lstm", "mlp", "mlp-q"])
def test_weights_that_are_not_finite(
    busy: Observation[Tensor], name: str, deterministic: bool, value: float
) -> None:
    policy = create_policy(PolicyConfig(policy=name, hidden_dim=8))
    controller = PolicyController(policy, deterministic=deterministic)
    memory = controller.initial_memory(ENVS)
    controller.act(busy, memory)
    names = poison(policy, "", value)
    with pytest.raises(NonFinitePolicyError) as caught:
        controller.act(busy, memory)
    listed = ", ".join(f"'{each}'" for each in names[:3])
    assert re.fullmatch(
        rf"environment 0, head 'slot': the logit of slot r0c0 is (nan|-?inf), expected a finite number; weights of the "
        rf"policy are not finite: {re.escape(listed)} and {len(names) - 3} more",
        str(caught.value),
    )


@pytest.mark.parametrize("head", range(len(HEAD_NAMES)))
@pytest.mark.parametrize("name", ["lstm", "mlp"])
def test_the_head_whose_weights_are_not_finite_is_named_whatever_was_drawn(
    busy: Observation[Tensor], name: str, head: int
) -> None:
    policy = create_policy(PolicyConfig(policy=name, hidden_dim=8))
    (layer,) = poison(policy, "action_head.weight", torch.nan, rows_of(head))
    for deterministic in (False, True):
        controller = PolicyController(policy, deterministic=deterministic)
        with pytest.raises(
            NonFinitePolicyError,
            match=rf"^environment 0, head '{HEAD_NAMES[head]}': the logit of .* not finite: '{layer}'$",
        ):
            controller.act(busy, controller.initial_memory(ENVS))


def test_a_value_that_is_not_finite(policy: PolicyBundle, busy: Observation[Tensor]) -> None:
    names = poison(policy, "value_head", torch.inf)
    controller = PolicyController(policy)
    with pytest.raises(
        NonFinitePolicyError,
        match=rf"^environment 0: the value is (nan|-?inf), expected a finite .*: '{names[0]}', '{names[1]}'$",
    ):
        controller.act(busy, controller.initial_memory(ENVS))


def test_a_memory_that_is_not_finite(policy: PolicyBundle, busy: Observation[Tensor]) -> None:
    """An infinite cell gives finite logits, and would go on unseen."""
    controller = PolicyController(policy)
    memory = controller.initial_memory(ENVS)
    state = memory.hidden.for_training()
    for part, message in (
        ("h", "head 'slot': the logit of slot r0c0 is nan"),
        ("c", ": hidden state `c` is inf"),
    ):
        broken = getattr(state, part).clone()
        broken[2, 5] = torch.inf if part == "c" else torch.nan
        with pytest.raises(
            NonFinitePolicyError,
            match=rf"^environment 2.*{message}.*; the hidden state before the step was not finite either$",
        ):
            controller.act(busy, memory._replace(hidden=state._replace(**{part: broken})))


def test_numbers_too_large_for_half_precision(busy: Observation[Tensor]) -> None:
    policy = create_policy(PolicyConfig(policy="mlp", hidden_dim=64, dtype=torch.float16))
    poison(policy, "action_head.weight", 6e4)
    controller = PolicyController(policy)
    with pytest.raises(
        NonFinitePolicyError, match=r"all weights .* are finite, so .* too large for torch.float16$"
    ):
        controller.act(busy, controller.initial_memory(ENVS))


def test_features_that_a_normaliser_spoils(policy: PolicyBundle, busy: Observation[Tensor]) -> None:
    frozen = freeze(update(init_normalizer(SLOTS), extract_features(busy, SLOTS)))
    mean = frozen.mean.clone()
    mean[53 + 59 + 11] = torch.nan  # the alpha of the second slot, by OBSERVATION.md
    controller = PolicyController(policy, normalizer=frozen._replace(mean=mean))
    with pytest.raises(
        NonFiniteValueError,
        match=rf"^environment 0, slot r0c1: feature 'alpha' is nan, .*and {ENVS - 1} more\)$",
    ):
        controller.act(busy, controller.initial_memory(ENVS))


@pytest.mark.parametrize("who", ["policy", "greedy", "random", "heuristic"])
def test_masks_from_which_nothing_can_be_drawn(
    policy: PolicyBundle, busy: Observation[Tensor], monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    sound = action_masks(busy, SLOTS)
    nothing, no_slot = sound.op.clone(), sound.slot_by_op.clone()
    nothing[3] = False
    no_slot[1, LifecycleOp.PRUNE] = False
    for masks, message in (
        (sound._replace(op=nothing), "environment 3: head 'op' has no legal choice"),
        (
            sound._replace(slot_by_op=no_slot),
            "environment 1: PRUNE is legal, but head 'slot' has no legal choice",
        ),
    ):
        for module in (controllers, heuristic):
            monkeypatch.setattr(module, "action_masks", lambda *_, given=masks: given)
        controller = acting(policy)[who]
        with pytest.raises(InvalidStateMachineError, match=f"^{message}"):
            controller.act(busy, controller.initial_memory(ENVS))


def test_a_policy_that_chooses_what_is_not_legal(
    policy: PolicyBundle, busy: Observation[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    act, chosen = policy.get_action, {"op": LifecycleOp.PRUNE, "slot": 0}

    def get_action(*args: Any, **options: Any) -> ActionResult:
        result = act(*args, **options)
        heads = {name: torch.full((ENVS,), choice) for name, choice in chosen.items()}
        return replace(result, actions=result.actions._replace(**heads))

    monkeypatch.setattr(policy, "get_action", get_action)
    controller = PolicyController(policy)
    with pytest.raises(
        IllegalActionError, match=r"^environment 0, head 'slot': slot r0c0 is not legal for PRUNE$"
    ):
        controller.act(busy, controller.initial_memory(ENVS))
    chosen["slot"] = 1
    controller.act(busy, controller.initial_memory(ENVS))
    chosen["op"] = LifecycleOp.WAIT
    masks = action_masks(busy, SLOTS)
    op = masks.op.clone()
    op[2, LifecycleOp.WAIT] = False
    monkeypatch.setattr(controllers, "action_masks", lambda *_: masks._replace(op=op))
    with pytest.raises(IllegalActionError, match=r"^environment 2, head 'op': WAIT is not legal$"):
        controller.act(busy, controller.initial_memory(ENVS))


def test_bundles_check_only_shapes(policy: PolicyBundle, busy: Observation[Tensor]) -> None:
    """What a bundle makes of NaN is its caller's business: waiting for the device is what rollouts must not."""
    masks: ActionMasks = action_masks(busy, SLOTS)
    features = torch.full((ENVS, policy.feature_dim), torch.nan)
    result = policy.get_action(features, masks, policy.initial_hidden(ENVS))
    assert result.log_prob.isnan().all()
