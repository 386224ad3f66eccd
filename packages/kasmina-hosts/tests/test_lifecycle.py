"""The life of a seed: a script from germination to the end, every gate, every refusal, every ramp."""

import dataclasses

import pytest
import torch

from kasmina_hosts import GateInputs, Gates, Lifecycle, SlotRules, apply_actions, empty_lifecycle, tick
from kasmina_hosts.actions import Applied
from leyline_types import (
    AlphaAlgorithm,
    AlphaCurveAction,
    AlphaMode,
    AlphaSpeedAction,
    AlphaTargetAction,
    BlueprintAction,
    FactoredAction,
    FactoredActions,
    GerminationStyle,
    LegalityRules,
    LifecycleOp,
    SeedStage,
    SlotConfig,
    TempoAction,
)

SLOTS = SlotConfig.default()
GATES = Gates()
RULES = SlotRules(
    torch.ones(3, dtype=torch.bool), 3, (BlueprintAction.CONV_LIGHT, BlueprintAction.NORM), LegalityRules()
)
GERMINATE = FactoredAction(
    LifecycleOp.GERMINATE,
    "r0c1",
    blueprint=BlueprintAction.NORM,
    style=GerminationStyle.SIGMOID_ADD,
    tempo=TempoAction.FAST,
    alpha_target=AlphaTargetAction.SEVENTY,
)
ADVANCE = FactoredAction(LifecycleOp.ADVANCE, "r0c1")
FOSSILIZE = FactoredAction(LifecycleOp.FOSSILIZE, "r0c1")
WAIT = FactoredAction(LifecycleOp.WAIT, "r0c1")
PRUNE = FactoredAction(LifecycleOp.PRUNE, "r0c1", alpha_speed=AlphaSpeedAction.INSTANT)


def measured(improvement: float = 9.0, ratio: float = 9.0, contribution: float = 9.0) -> GateInputs:
    return GateInputs(*(torch.full((1, 3), value) for value in (improvement, ratio, contribution)))


def act(
    state: Lifecycle, action: FactoredAction, inputs: GateInputs | None = None, rules: SlotRules = RULES
) -> Applied:
    indices = FactoredActions(*(torch.tensor([index]) for index in action.to_indices(SLOTS)))
    return apply_actions(state, indices, rules, GATES, inputs or measured())


def live(*actions: FactoredAction, state: Lifecycle | None = None) -> Lifecycle:
    """The state after these actions, a tick following each; all of them must take effect."""
    state = empty_lifecycle(1, 3) if state is None else state
    for action in actions:
        applied = act(state, action)
        assert applied.legal.all()
        assert applied.took_effect.all(), action.describe()
        state = tick(applied.state, GATES, state.alpha)
    return state


TRAINED = (GERMINATE, ADVANCE, WAIT)
HELD = (*TRAINED, ADVANCE, WAIT, WAIT, ADVANCE)


def stage(state: Lifecycle) -> SeedStage:
    return SeedStage(int(state.stage[0, 1]))


def same(a: Lifecycle, b: Lifecycle) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_a_life_to_the_end() -> None:
    state = live(GERMINATE)
    assert stage(state) is SeedStage.GERMINATED
    assert state.blueprint[0, 1] == BlueprintAction.NORM
    assert state.algorithm[0, 1] == AlphaAlgorithm.ADD
    assert state.age[0].tolist() == [0, 1, 0]
    state = live(*TRAINED[1:], state=state)
    assert (stage(state), float(state.alpha[0, 1])) == (SeedStage.TRAINING, 0.0)
    alphas = []
    state = live(ADVANCE, state=state)
    for _ in range(2):
        assert (stage(state), int(state.alpha_mode[0, 1])) == (SeedStage.BLENDING, AlphaMode.UP)
        alphas.append(float(state.alpha[0, 1]))
        state = live(WAIT, state=state)
    assert 0 < alphas[0] < alphas[1] < 0.7
    assert state.alpha[0, 1] == torch.tensor(0.7)
    assert state.alpha_mode[0, 1] == AlphaMode.HOLD
    state = live(ADVANCE, state=state)
    assert stage(state) is SeedStage.HOLDING
    state = live(FOSSILIZE, state=state)
    assert stage(state) is SeedStage.FOSSILIZED
    for action in (ADVANCE, FOSSILIZE, PRUNE):
        applied = act(state, action)
        assert not applied.legal.any()
        assert same(applied.state, state)


@pytest.mark.parametrize(
    ("lived", "action", "inputs"),
    [
        (TRAINED, ADVANCE, measured(improvement=0.49)),
        (TRAINED, ADVANCE, measured(improvement=torch.nan)),
        (TRAINED, ADVANCE, measured(ratio=0.09)),
        (TRAINED, ADVANCE, measured(ratio=torch.nan)),
        ((GERMINATE, ADVANCE), ADVANCE, measured()),
        ((*TRAINED, ADVANCE), ADVANCE, measured()),
        (HELD, FOSSILIZE, measured(contribution=0.99)),
        (HELD, FOSSILIZE, measured(contribution=torch.nan)),
    ],
)
def test_a_shut_gate_changes_nothing(
    lived: tuple[FactoredAction, ...], action: FactoredAction, inputs: GateInputs
) -> None:
    state = live(*lived)
    applied = act(state, action, inputs)
    assert applied.legal.all()
    assert not applied.took_effect.any()
    assert same(applied.state, state)


def test_gates_open_at_their_marks() -> None:
    assert act(live(*TRAINED), ADVANCE, measured(improvement=0.5, ratio=0.1)).took_effect.all()
    assert act(live(*HELD), FOSSILIZE, measured(contribution=1.0)).took_effect.all()


@pytest.mark.parametrize("epochs", [1, 2, 5])
def test_instant_prune_and_cooldown(epochs: int) -> None:
    gates = Gates(embargo_epochs=epochs)
    state = live(*HELD, PRUNE)
    stages = [stage(state)]
    assert float(state.alpha[0, 1]) == 0.0
    for _ in range(epochs + 2):
        state = tick(state, gates, state.alpha)
        stages.append(stage(state))
    embargo = [SeedStage.EMBARGOED] * epochs
    assert stages == [SeedStage.PRUNED, *embargo, SeedStage.RESETTING, SeedStage.DORMANT]
    assert same(state, empty_lifecycle(1, 3))


def test_slow_prune_runs_alpha_down_first() -> None:
    slow = dataclasses.replace(PRUNE, alpha_speed=AlphaSpeedAction.FAST)
    state = live(*HELD, slow)
    assert (stage(state), int(state.alpha_mode[0, 1])) == (SeedStage.BLENDING, AlphaMode.DOWN)
    alphas = [float(state.alpha[0, 1])]
    for _ in range(2):
        state = live(WAIT, state=state)
        alphas.append(float(state.alpha[0, 1]))
    assert alphas[0] > alphas[1] > alphas[2] == 0.0
    assert stage(state) is SeedStage.PRUNED


@pytest.mark.parametrize("tempo", list(TempoAction))
def test_the_first_rise_lasts_as_long_as_its_tempo(tempo: TempoAction) -> None:
    state = live(dataclasses.replace(GERMINATE, tempo=tempo), *TRAINED[1:], ADVANCE)
    assert epochs_of_ramp(state) == [True] * (tempo.epochs - 1) + [False]


@pytest.mark.parametrize("curve", list(AlphaCurveAction))
@pytest.mark.parametrize("speed", list(AlphaSpeedAction)[1:])
@pytest.mark.parametrize("target", [AlphaTargetAction.HALF, AlphaTargetAction.FULL, None])
def test_a_later_change_lasts_as_long_as_its_speed(
    target: AlphaTargetAction | None, speed: AlphaSpeedAction, curve: AlphaCurveAction
) -> None:
    """Up, down, and (None) down to the end of the seed."""
    action = FactoredAction(LifecycleOp.PRUNE, "r0c1", alpha_speed=speed, alpha_curve=curve)
    if target is not None:
        action = dataclasses.replace(
            action, op=LifecycleOp.SET_ALPHA_TARGET, style=GERMINATE.style, alpha_target=target
        )
    state = live(*HELD, action)
    assert epochs_of_ramp(state) == [True] * (speed.steps - 1) + [False]
    end = live(*[WAIT] * (speed.steps - 1), state=state)
    assert end.alpha[0, 1] == torch.tensor(0.0 if target is None else target.target)
    assert stage(end) is (SeedStage.PRUNED if target is None else SeedStage.BLENDING)


def epochs_of_ramp(state: Lifecycle) -> list[bool]:
    """Whether alpha still moves, now and after every further epoch until it rests."""
    moves = [bool(state.alpha_mode[0, 1] != AlphaMode.HOLD)]
    while moves[-1]:
        state = live(WAIT, state=state)
        moves.append(bool(state.alpha_mode[0, 1] != AlphaMode.HOLD))
    return moves


def test_a_seed_without_alpha_is_pruned_at_once() -> None:
    slow = dataclasses.replace(PRUNE, alpha_speed=AlphaSpeedAction.SLOW)
    assert stage(live(*TRAINED, slow)) is SeedStage.PRUNED


def test_retarget_goes_back_to_blending() -> None:
    retarget = FactoredAction(
        LifecycleOp.SET_ALPHA_TARGET,
        "r0c1",
        style=GerminationStyle.SIGMOID_ADD,
        alpha_target=AlphaTargetAction.FULL,
        alpha_speed=AlphaSpeedAction.FAST,
    )
    state = live(*HELD, retarget)
    assert (stage(state), int(state.alpha_mode[0, 1])) == (SeedStage.BLENDING, AlphaMode.UP)
    assert not act(state, retarget).legal.any()
    state = live(WAIT, WAIT, state=state)
    assert float(state.alpha[0, 1]) == 1.0
    at_once = dataclasses.replace(retarget, alpha_speed=AlphaSpeedAction.INSTANT)
    state = live(*HELD, at_once)
    assert (stage(state), float(state.alpha[0, 1])) == (SeedStage.BLENDING, 1.0)
    assert float(state.alpha_velocity[0, 1]) == pytest.approx(0.3)


def test_retarget_to_the_present_state_is_without_effect() -> None:
    state = live(*HELD)
    unchanged = FactoredAction(
        LifecycleOp.SET_ALPHA_TARGET, "r0c1", style=GERMINATE.style, alpha_target=GERMINATE.alpha_target
    )
    applied = act(state, unchanged)
    assert applied.legal.all()
    assert not applied.took_effect.any()
    assert same(applied.state, state)


def test_legality_beyond_the_stage() -> None:
    empty = empty_lifecycle(1, 3)
    unbuilt = dataclasses.replace(GERMINATE, blueprint=BlueprintAction.CONV_HEAVY)
    assert not act(empty, unbuilt).legal.any()
    assert not act(empty, dataclasses.replace(GERMINATE, blueprint=BlueprintAction.NOOP)).legal.any()
    assert not act(
        live(GERMINATE), dataclasses.replace(GERMINATE, slot_id="r0c0"), rules=RULES._replace(capacity=1)
    ).legal.any()
    disabled = RULES._replace(enabled=torch.tensor([True, False, True]))
    assert not act(empty, GERMINATE, rules=disabled).legal.any()
    assert act(empty, WAIT, rules=disabled).legal.all()
    old = RULES._replace(rules=LegalityRules(min_prune_age=9))
    assert not act(live(GERMINATE), PRUNE, rules=old).legal.any()
    rising = live(*TRAINED, ADVANCE)
    assert not act(rising, PRUNE).legal.any()
    override = RULES._replace(rules=LegalityRules(allow_governor_override=True))
    assert act(rising, PRUNE, rules=override).legal.all()


def test_gates_scale_with_the_episode() -> None:
    assert Gates.for_episode(25) == Gates()
    short = Gates.for_episode(5)
    assert (short.min_training_epochs, short.embargo_epochs) == (1, 1)
    with pytest.raises(ValueError, match="`embargo_epochs` must be at least 1, not 0"):
        Gates(embargo_epochs=0)


def test_the_sigmoid_curve_is_as_steep_as_the_gates_say() -> None:
    """Halfway between flat, which is even, and a step."""
    alphas = {}
    for steepness in (1e-3, 12.0, 100.0):
        state = live(*TRAINED, ADVANCE)  # one of three epochs of the rise to 0.7 has passed
        gates = Gates(steepness=steepness)
        started = state._replace(steps_done=torch.zeros_like(state.steps_done))
        alphas[steepness] = float(tick(started, gates, state.alpha).alpha[0, 1])
    assert alphas[1e-3] == pytest.approx(0.7 / 3, rel=1e-3)
    assert alphas[1e-3] > alphas[12.0] > alphas[100.0]
    with pytest.raises(ValueError, match="`steepness` must be above 0 and finite, not 0"):
        Gates(steepness=0)
