"""What an action does to the lifecycle: refused if illegal, without effect if its gate is shut."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from kasmina_hosts.gates import GateInputs, Gates
from kasmina_hosts.lifecycle import Lifecycle, in_stages, prune_now
from leyline_types import (
    DEVELOPING_STAGES,
    OP_RULES,
    AlphaCurveAction,
    AlphaMode,
    AlphaSpeedAction,
    AlphaTargetAction,
    BlendCurve,
    BlueprintAction,
    FactoredActions,
    GerminationStyle,
    LegalityRules,
    LifecycleOp,
    SeedStage,
    SlotConfig,
    TaskConfig,
    TempoAction,
    head_sizes,
)

_FIRST_CURVES = {
    BlendCurve.LINEAR: AlphaCurveAction.LINEAR,
    BlendCurve.SIGMOID: AlphaCurveAction.SIGMOID,
    BlendCurve.GATED: AlphaCurveAction.LINEAR,  # the rise is even, and the learned gate decides how much gets through
}


class SlotRules(NamedTuple):
    """What legality depends on besides the lifecycle.

    Args:
        enabled: slots that may be acted on, [slot].
        capacity: live seeds that a host may hold.
        blueprints: what may be germinated.
        rules: least age to prune, governor's override, development of one seed at a time.
    """

    enabled: Bool[Tensor, " slot"]
    capacity: int
    blueprints: tuple[BlueprintAction, ...]
    rules: LegalityRules

    @classmethod
    def of(cls, rules: LegalityRules, slot_config: SlotConfig, task: TaskConfig) -> "SlotRules":
        """What these rules mean for networks with such slots on such a task.

        Raises:
            ValueError: `rules` enables a slot that there is not, or no blueprint that fits the task's topology.
        """
        enabled = [slot_config.index(slot_id) for slot_id in rules.enabled_slots or slot_config]
        blueprints = rules.blueprints(task.topology)
        if not blueprints:
            raise ValueError(
                f"no blueprint fits slots {', '.join(slot_config)}: `enabled_blueprints` of the rules hold none for a "
                f"{task.topology} network"
            )
        return cls(
            enabled=torch.isin(torch.arange(len(slot_config)), torch.tensor(enabled)),
            capacity=task.seed_capacity(len(slot_config)),
            blueprints=blueprints,
            rules=rules,
        )


class Applied(NamedTuple):
    """The lifecycle after the actions, which of them were legal, and which changed something, [host]."""

    state: Lifecycle
    legal: Bool[Tensor, " host"]
    took_effect: Bool[Tensor, " host"]


def is_legal(state: Lifecycle, actions: FactoredActions[Tensor], slots: SlotRules) -> Bool[Tensor, " host"]:
    """Whether each host's action is legal by `leyline_types.OP_RULES`. WAIT always is."""
    stage, age, mode, occupied, enabled = (
        column.gather(1, actions.slot[:, None])[:, 0]
        for column in (
            state.stage,
            state.age,
            state.alpha_mode,
            state.occupied,
            slots.enabled.expand_as(state.occupied),
        )
    )
    has_capacity = state.live.sum(1) < slots.capacity
    if slots.rules.sequential_development:
        has_capacity = has_capacity & ~in_stages(state.stage, tuple(DEVELOPING_STAGES)).any(1)
    legal = torch.zeros_like(has_capacity)
    for op, rule in OP_RULES.items():
        if rule.stages is None:
            fits = torch.ones_like(legal)
        else:
            fits = enabled & in_stages(stage, tuple(rule.stages)) & (occupied != rule.needs_empty_slot)
        if rule.needs_hold and not (op is LifecycleOp.PRUNE and slots.rules.allow_governor_override):
            fits = fits & (mode == AlphaMode.HOLD)
        if rule.needs_min_age:
            fits = fits & (age >= slots.rules.min_prune_age)
        if rule.needs_capacity:
            fits = fits & has_capacity & torch.isin(actions.blueprint, torch.tensor(slots.blueprints))
        legal = legal | ((actions.op == op) & fits)
    return legal


def check_actions(actions: FactoredActions[Tensor], slot_config: SlotConfig, num_hosts: int) -> None:
    """That there is one action for each host, every index a whole number within its head.

    Raises:
        ValueError: it names the head, what it holds and what was expected.
    """
    for name, size, head in zip(actions._fields, head_sizes(slot_config), actions, strict=True):
        if head.shape != (num_hosts,):
            raise ValueError(f"head {name!r} has shape {tuple(head.shape)}, there are {num_hosts} hosts")
        if head.is_floating_point() or head.is_complex() or head.dtype is torch.bool:
            raise ValueError(f"head {name!r} holds {head.dtype}, expected integers")
        if head.min() < 0 or head.max() >= size:
            raise ValueError(f"head {name!r} has {size} choices, got {int(head.min())} to {int(head.max())}")


def apply_actions(
    state: Lifecycle, actions: FactoredActions[Tensor], slots: SlotRules, gates: Gates, measured: GateInputs
) -> Applied:
    """Do what is legal and passes its gate; leave every other host as it is.

    GERMINATE passes freely. ADVANCE moves GERMINATED to TRAINING freely, TRAINING to
    BLENDING by improvement, age and gradient, BLENDING to HOLDING once alpha rests at its target. FOSSILIZE asks for a
    contribution. SET_ALPHA_TARGET sends a HOLDING seed back to BLENDING, and takes effect if target or algorithm
    differ from the seed's. PRUNE runs alpha down first, unless it is 0 already or the speed is INSTANT.
    """
    legal = is_legal(state, actions, slots)
    chosen = torch.arange(state.stage.shape[1]) == actions.slot[:, None]

    def do(op: LifecycleOp) -> Bool[Tensor, "host slot"]:
        return chosen & (legal & (actions.op == op))[:, None]

    germinate = do(LifecycleOp.GERMINATE)
    advance = do(LifecycleOp.ADVANCE)
    to_training = advance & (state.stage == SeedStage.GERMINATED)
    to_blending = (
        advance
        & (state.stage == SeedStage.TRAINING)
        & (state.epochs_in_stage >= gates.min_training_epochs)
        & (measured.improvement >= gates.min_improvement)
        & (measured.gradient_ratio >= gates.min_gradient_ratio)
    )
    to_holding = advance & (state.stage == SeedStage.BLENDING) & (state.alpha_mode == AlphaMode.HOLD)
    to_holding = to_holding & (state.alpha == state.alpha_target)
    fossilize = do(LifecycleOp.FOSSILIZE) & (measured.contribution >= gates.min_contribution)
    target, algorithm = look_up(_TARGETS, actions.alpha_target), look_up(_ALGORITHMS, actions.style)
    differs = (target != state.alpha) | (algorithm != state.algorithm)
    retarget = do(LifecycleOp.SET_ALPHA_TARGET) & differs
    prune = do(LifecycleOp.PRUNE)
    at_once = prune & ((state.alpha == 0) | (actions.alpha_speed == AlphaSpeedAction.INSTANT)[:, None])

    new = state.enter(germinate, SeedStage.GERMINATED).where(
        germinate,
        blueprint=actions.blueprint[:, None],
        alpha_target=target,
        algorithm=algorithm,
        tempo_epochs=look_up(_TEMPOS, actions.tempo),
        curve=look_up(_STYLE_CURVES, actions.style),
    )
    new = new.enter(to_training, SeedStage.TRAINING).enter(to_blending, SeedStage.BLENDING)
    new = new.start_ramp(to_blending, new.alpha_target, new.tempo_epochs, new.curve)
    new = new.enter(to_holding, SeedStage.HOLDING).enter(fossilize, SeedStage.FOSSILIZED)
    moves_back = (retarget | (prune & ~at_once)) & (state.stage == SeedStage.HOLDING)
    new = new.enter(moves_back, SeedStage.BLENDING).where(retarget, algorithm=algorithm)
    steps = look_up(_SPEEDS, actions.alpha_speed).expand_as(new.steps_total)
    curve = actions.alpha_curve[:, None].expand_as(new.curve)
    new = new.start_ramp(retarget, target, steps, curve)
    new = new.start_ramp(prune & ~at_once, 0.0, steps, curve)
    new = prune_now(new, at_once)
    changed = germinate | to_training | to_blending | to_holding | fossilize | retarget | prune
    waits = legal & (actions.op == LifecycleOp.WAIT)
    return Applied(new, legal, changed.any(1) | waits)


_TARGETS = tuple(choice.target for choice in AlphaTargetAction)
_ALGORITHMS = tuple(int(style.alpha_algorithm) for style in GerminationStyle)
_STYLE_CURVES = tuple(int(_FIRST_CURVES[style.blend_curve]) for style in GerminationStyle)
_TEMPOS = tuple(tempo.epochs for tempo in TempoAction)
_SPEEDS = tuple(speed.steps for speed in AlphaSpeedAction)


def look_up(table: tuple[float, ...], index: Int[Tensor, " host"]) -> Tensor:
    """The table's entry for each host, [host, 1]."""
    return torch.tensor(table)[index][:, None]
