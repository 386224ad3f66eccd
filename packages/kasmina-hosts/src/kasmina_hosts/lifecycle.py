"""The life of every seed of every host, as columns, and what the passing of an epoch does to it."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from kasmina_hosts.alpha import ramp, ramp_progress
from kasmina_hosts.gates import Gates
from leyline_types import AlphaMode, SeedStage

LIVE_STAGES = (
    SeedStage.GERMINATED,
    SeedStage.TRAINING,
    SeedStage.BLENDING,
    SeedStage.HOLDING,
    SeedStage.FOSSILIZED,
)
"""Stages in which the host holds the seed's module; after PRUNED it is gone."""
SEES_SLOT = (SeedStage.TRAINING, SeedStage.BLENDING, SeedStage.HOLDING, SeedStage.FOSSILIZED)
"""Stages in which a seed computes: in TRAINING beside the host, later as part of it."""
ALTERS_HOST = SEES_SLOT[1:]


class Lifecycle(NamedTuple):
    """The state of each slot, [host, slot]. An empty slot is DORMANT and 0 elsewhere.

    Args:
        stage, previous_stage: `SeedStage`. epochs_in_stage, previous_epochs_in_stage, age: epochs.
        blueprint: `BlueprintAction`.
        alpha, alpha_velocity: amplitude, and its change in the last epoch.
        alpha_start, alpha_target: ends of the current or last ramp. alpha_mode: `AlphaMode`.
        steps_total, steps_done: of the ramp, epochs. curve: `AlphaCurveAction`.
        algorithm: `AlphaAlgorithm`, 0 if empty.
        tempo_epochs: length of the first rise.
    """

    stage: Int[Tensor, "host slot"]
    previous_stage: Int[Tensor, "host slot"]
    epochs_in_stage: Int[Tensor, "host slot"]
    previous_epochs_in_stage: Int[Tensor, "host slot"]
    age: Int[Tensor, "host slot"]
    blueprint: Int[Tensor, "host slot"]
    alpha: Float[Tensor, "host slot"]
    alpha_velocity: Float[Tensor, "host slot"]
    alpha_start: Float[Tensor, "host slot"]
    alpha_target: Float[Tensor, "host slot"]
    alpha_mode: Int[Tensor, "host slot"]
    steps_total: Int[Tensor, "host slot"]
    steps_done: Int[Tensor, "host slot"]
    curve: Int[Tensor, "host slot"]
    algorithm: Int[Tensor, "host slot"]
    tempo_epochs: Int[Tensor, "host slot"]

    @property
    def occupied(self) -> Bool[Tensor, "host slot"]:
        """Slots that hold a seed or cool down after one."""
        return self.stage != SeedStage.DORMANT

    @property
    def live(self) -> Bool[Tensor, "host slot"]:
        """Slots whose seed's module is part of the host."""
        return in_stages(self.stage, LIVE_STAGES)

    @property
    def learns(self) -> Bool[Tensor, "host slot"]:
        """Slots whose seed computes and is not frozen, as it is while its alpha falls."""
        return in_stages(self.stage, SEES_SLOT) & (self.alpha_mode != AlphaMode.DOWN)

    @property
    def alters_output(self) -> Bool[Tensor, "host slot"]:
        """Slots whose seed changes what the host computes."""
        return in_stages(self.stage, ALTERS_HOST) & (self.alpha > 0)

    def where(self, mask: Bool[Tensor, "host slot"], **values: Tensor | float) -> "Lifecycle":
        """A copy with these columns set where the mask is true."""
        columns = {
            name: torch.where(
                mask, torch.as_tensor(value, dtype=getattr(self, name).dtype), getattr(self, name)
            )
            for name, value in values.items()
        }
        return self._replace(**columns)

    def enter(self, mask: Bool[Tensor, "host slot"], stage: SeedStage) -> "Lifecycle":
        """A copy in which the seeds under the mask have just entered a stage."""
        return self.where(
            mask,
            previous_stage=self.stage,
            previous_epochs_in_stage=self.epochs_in_stage,
            stage=float(stage),
            epochs_in_stage=0,
        )

    def start_ramp(
        self, mask: Bool[Tensor, "host slot"], target: Tensor | float, steps: Tensor, curve: Tensor
    ) -> "Lifecycle":
        """A copy in which alpha under the mask sets out for `target`; a ramp of 0 steps is there at once."""
        goal = torch.as_tensor(target, dtype=self.alpha.dtype).expand_as(self.alpha)
        instant = mask & (steps == 0)
        mode = torch.where(goal > self.alpha, int(AlphaMode.UP), int(AlphaMode.DOWN))
        moving = self.where(
            mask,
            alpha_start=self.alpha,
            alpha_target=goal,
            steps_total=torch.where(goal == self.alpha, 0, steps),
            steps_done=0,
            curve=curve,
            alpha_mode=torch.where((steps == 0) | (goal == self.alpha), int(AlphaMode.HOLD), mode),
        )
        return moving.where(instant, alpha=goal)


def empty_lifecycle(num_hosts: int, num_slots: int) -> Lifecycle:
    """All slots empty."""
    shape = (num_hosts, num_slots)
    integers, numbers = torch.zeros(shape, dtype=torch.long), torch.zeros(shape)
    columns = {
        name: numbers if name in ("alpha", "alpha_velocity", "alpha_start", "alpha_target") else integers
        for name in Lifecycle._fields
    }
    dormant = torch.full(shape, int(SeedStage.DORMANT))
    return Lifecycle(**{**columns, "stage": dormant, "previous_stage": dormant})


def in_stages(stage: Int[Tensor, "*slot"], stages: tuple[SeedStage, ...]) -> Bool[Tensor, "*slot"]:
    """Whether each stage is one of these."""
    return torch.isin(stage, torch.tensor(stages))


def prune_now(state: Lifecycle, mask: Bool[Tensor, "host slot"]) -> Lifecycle:
    """The seeds under the mask are gone: PRUNED, alpha 0 and at rest."""
    pruned = state.enter(mask, SeedStage.PRUNED)
    rest = int(AlphaMode.HOLD)
    return pruned.where(
        mask, alpha=0.0, alpha_start=0.0, alpha_target=0.0, alpha_mode=rest, steps_total=0, steps_done=0
    )


def tick(state: Lifecycle, gates: Gates, alpha_before: Float[Tensor, "host slot"]) -> Lifecycle:
    """One epoch passes: cooling slots move on, alphas move, seeds grow older.

    A ramp lands exactly on its target. A seed whose alpha was run down to 0 is pruned. Cooldown: PRUNED one epoch,
    EMBARGOED `gates.embargo_epochs`, RESETTING one, then the slot is empty.

    Args:
        state: after the actions of the epoch.
        gates: how long an embargo lasts, and how steep the sigmoid curve of alpha is.
        alpha_before: alpha before those actions, from which the velocity is counted.
    """
    state = _cool_down(state, gates)
    moving = state.alpha_mode != AlphaMode.HOLD
    done = state.steps_done + moving
    progress = ramp_progress(done, state.steps_total, state.curve, steepness=gates.steepness)
    alpha = torch.where(moving, ramp(state.alpha_start, state.alpha_target, progress), state.alpha)
    landed = moving & (done >= state.steps_total)
    state = state._replace(
        steps_done=done, alpha=alpha, alpha_mode=torch.where(landed, int(AlphaMode.HOLD), state.alpha_mode)
    )
    state = prune_now(state, landed & (state.alpha_target == 0))
    alive = state.occupied
    return state._replace(
        age=state.age + alive,
        epochs_in_stage=state.epochs_in_stage + alive,
        alpha_velocity=torch.where(alive, state.alpha - alpha_before, 0.0),
    )


def _cool_down(state: Lifecycle, gates: Gates) -> Lifecycle:
    rested = state.epochs_in_stage
    pruned = (state.stage == SeedStage.PRUNED) & (rested >= 1)
    embargoed = (state.stage == SeedStage.EMBARGOED) & (rested >= gates.embargo_epochs)
    reset = (state.stage == SeedStage.RESETTING) & (rested >= 1)
    state = state.enter(pruned, SeedStage.EMBARGOED).enter(embargoed, SeedStage.RESETTING)
    fresh = empty_lifecycle(*state.stage.shape)
    return Lifecycle(*(torch.where(reset, new, old) for new, old in zip(fresh, state, strict=True)))
