"""Rollouts in a world of chance, and the hidden states of their replay."""

import torch
from chance_world import ChanceWorld

from leyline_types import SlotConfig, observation_schema
from simic_training.ppo.collect import Carry, collect, first_carry
from simic_training.ppo.trajectory import Trajectory
from tamiyo_features import FrozenNormalizer, freeze, init_normalizer, update
from tamiyo_policies import HiddenState, PolicyBundle

ENVS, STEPS, LENGTH = 6, 12, 4


def strange_normalizer() -> FrozenNormalizer:
    """Learnt from features that are unlike those of the world."""
    slot_config = SlotConfig.for_grid(1, 3)
    generator = torch.Generator().manual_seed(9)
    others = 3 + 2 * torch.randn(50, observation_schema(slot_config).dim, generator=generator)
    return freeze(update(init_normalizer(slot_config), others))


def roll(
    policy: PolicyBundle,
    world: ChanceWorld,
    *,
    steps: int = STEPS,
    floors: dict[str, float] | None = None,
    normalizer: FrozenNormalizer | None = None,
) -> tuple[Trajectory, Carry]:
    return collect(
        world,
        policy,
        first_carry(world, policy),
        steps,
        generator=torch.Generator().manual_seed(0),
        chunk_length=LENGTH,
        floors=floors,
        normalizer=normalizer,
    )


def states_before_each_step(policy: PolicyBundle, trajectory: Trajectory) -> list[HiddenState]:
    """The hidden states of a replay; the last one is that after the last step, before any reset."""
    steps = trajectory.steps
    states = []
    hidden = policy.initial_hidden(ENVS)
    for time in range(STEPS):
        hidden = hidden.reset(steps.starts[:, time])
        states.append(hidden)
        place = (slice(None), time)
        hidden = policy.get_action(steps.features[:, time], steps.masks.at(place), hidden).hidden
    return [*states, hidden]
