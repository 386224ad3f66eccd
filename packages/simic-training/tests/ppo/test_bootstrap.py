"""What comes after a rollout or after an episode's cut is worth what the policy, with its memory, thinks of it."""

from typing import final

import pytest
import torch
from chance_world import ChanceWorld
from made_up_rollouts import ENVS, roll, states_before_each_step, strange_normalizer
from torch import Tensor
from toy_masks import allow
from toy_training import make_policy, sharpen

from leyline_types import FactoredActions, LifecycleOp, SlotConfig, observation_schema
from simic_training.ppo.collect import collect, first_carry
from simic_training.ppo.environments import EnvStep, Seen
from tamiyo_features import FrozenNormalizer, normalize
from tamiyo_policies import PolicyBundle


@pytest.fixture
def policy() -> PolicyBundle:
    return sharpen(make_policy("lstm", slots=3))


@pytest.fixture
def normalizer() -> FrozenNormalizer:
    return strange_normalizer()


def test_states_that_were_cut_off_are_valued_with_the_state_that_led_there(
    policy: PolicyBundle, normalizer: FrozenNormalizer
) -> None:
    world = ChanceWorld(ENVS, cut=0.4)
    trajectory, _ = roll(policy, world, normalizer=normalizer)
    steps, states = trajectory.steps, states_before_each_step(policy, trajectory)
    for time, step in enumerate(world.steps):
        place = (slice(None), time)
        hidden = policy.get_action(steps.features[:, time], steps.masks.at(place), states[time]).hidden
        assert step.final is not None
        value = policy.get_value(normalize(normalizer, step.final.features), hidden, step.final.masks)
        expected = torch.where(step.truncated & ~step.terminated, value, 0.0)
        assert torch.equal(steps.cut_value[:, time], expected)
    assert (steps.truncated & steps.terminated).any()
    assert (steps.truncated & ~steps.terminated).any()


def test_the_last_value_is_that_of_what_is_seen_next(
    policy: PolicyBundle, normalizer: FrozenNormalizer
) -> None:
    trajectory, carry = roll(policy, ChanceWorld(ENVS), normalizer=normalizer)
    features = normalize(normalizer, carry.seen.features)
    assert torch.equal(trajectory.last_value, policy.get_value(features, carry.hidden, carry.seen.masks))


@final
class CutOffCues:
    """Two environments that differ in the first step alone and are cut off after the third."""

    num_envs = 2

    def __init__(self) -> None:
        self._width = observation_schema(SlotConfig.for_grid(1, 1)).dim
        self._masks = allow(2, 1, {LifecycleOp.WAIT: [0]})
        self._time = 0

    def reset(self) -> Seen:
        features = torch.zeros(2, self._width)
        features[0, 0], features[1, 0] = 1.0, -1.0
        return Seen(features, self._masks)

    def step(self, actions: FactoredActions[Tensor]) -> EnvStep:
        self._time += 1
        cut_off = torch.full((2,), self._time % 3 == 0)
        same = Seen(torch.ones(2, self._width), self._masks)
        seen, final = (self.reset(), same) if cut_off[0] else (same, None)
        return EnvStep(seen, torch.zeros(2), torch.zeros_like(cut_off), cut_off, final)


@pytest.mark.parametrize(("kind", "tells_apart"), [("lstm", True), ("mlp", False)])
def test_only_memory_tells_equal_last_states_apart(kind: str, tells_apart: bool) -> None:
    world, policy = CutOffCues(), make_policy(kind)
    trajectory, _ = collect(
        world, policy, first_carry(world, policy), 6, generator=torch.Generator().manual_seed(0)
    )
    for time in (2, 5):
        one, other = trajectory.steps.cut_value[:, time].tolist()
        assert (abs(one - other) > 1e-3) == tells_apart
        assert one != 0
    assert not trajectory.steps.cut_value[:, [0, 1, 3, 4]].any()


@final
class WithoutFinals:
    """Cuts episodes off and says not where."""

    num_envs = 2

    def reset(self) -> Seen:
        return CutOffCues().reset()

    def step(self, actions: FactoredActions[Tensor]) -> EnvStep:
        cut_off = torch.ones(2, dtype=torch.bool)
        return EnvStep(self.reset(), torch.zeros(2), ~cut_off, cut_off)


def test_cut_off_episodes_without_final_states_are_refused() -> None:
    world, policy = WithoutFinals(), make_policy("lstm")
    with pytest.raises(ValueError, match="gave no final states"):
        collect(world, policy, first_carry(world, policy), 1, generator=torch.Generator())
