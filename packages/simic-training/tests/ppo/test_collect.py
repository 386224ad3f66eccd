"""What is recorded is what happened, and it can be recomputed: from features, masks and states at chunk starts."""

import pytest
import torch
from chance_world import ChanceWorld
from made_up_rollouts import ENVS, LENGTH, STEPS, roll, states_before_each_step, strange_normalizer
from torch import Tensor
from toy_training import make_policy, sharpen

from simic_training.ppo.collect import collect, first_carry
from simic_training.ppo.config import PPOConfig
from simic_training.ppo.stopwatch import Stopwatch
from simic_training.ppo.trajectory import Chunks, in_chunks
from simic_training.ppo.update import evaluate
from tamiyo_features import FrozenNormalizer, normalize
from tamiyo_policies import HiddenState, PolicyBundle

KINDS = pytest.mark.parametrize(("kind", "frame_stack"), [("lstm", 1), ("mlp", 1), ("mlp", 3)])


@pytest.fixture
def policy() -> PolicyBundle:
    return sharpen(make_policy("lstm", slots=3))


@pytest.fixture
def normalizer() -> FrozenNormalizer:
    return strange_normalizer()


def test_what_happened_is_recorded(policy: PolicyBundle) -> None:
    world = ChanceWorld(ENVS)
    trajectory, carry = roll(policy, world)
    steps = trajectory.steps
    assert trajectory.chunk_length == LENGTH
    for time, (seen, step) in enumerate(zip(world.seen, world.steps, strict=False)):
        assert torch.equal(steps.observed[:, time], seen.features)
        assert torch.equal(steps.features[:, time], seen.features)
        for recorded, mask in zip(steps.masks.at((slice(None), time)), seen.masks, strict=True):
            assert torch.equal(recorded, mask)
        assert torch.equal(steps.reward[:, time], step.reward)
        assert torch.equal(steps.terminated[:, time], step.terminated)
        assert torch.equal(steps.truncated[:, time], step.truncated)
    assert torch.equal(carry.seen.features, world.seen[-1].features)
    ended = steps.terminated | steps.truncated
    assert torch.equal(steps.starts[:, 1:], ended[:, :-1])
    assert steps.starts[:, 0].all()
    assert torch.equal(carry.starts, ended[:, -1])
    torch.testing.assert_close(steps.log_prob, steps.head_log_probs.sum(-1))


def test_what_is_recorded_can_be_trained_on_and_altered(policy: PolicyBundle) -> None:
    trajectory, carry = roll(policy, ChanceWorld(ENVS))
    masks, actions = trajectory.steps.masks, trajectory.steps.actions
    others = [each for each in trajectory.steps if isinstance(each, Tensor)]
    for tensor in (*others, *masks, *actions, *trajectory.hidden, trajectory.last_value, *carry.hidden):
        assert not tensor.is_inference()


def test_actions_are_legal(policy: PolicyBundle) -> None:
    steps = roll(policy, ChanceWorld(ENVS))[0].steps
    assert steps.masks.op.gather(-1, steps.actions.op[..., None]).all()
    slots = steps.masks.slots_given(steps.actions.op)
    assert slots.gather(-1, steps.actions.slot[..., None]).all()
    assert steps.log_prob.isfinite().all()


def test_features_are_recorded_as_the_policy_saw_them(
    policy: PolicyBundle, normalizer: FrozenNormalizer
) -> None:
    world = ChanceWorld(ENVS)
    steps = roll(policy, world, normalizer=normalizer)[0].steps
    observed = torch.stack([seen.features for seen in world.seen[:-1]], dim=1)
    assert torch.equal(steps.observed, observed)
    assert torch.equal(steps.features, normalize(normalizer, observed))
    assert not torch.equal(steps.features, observed)


@KINDS
def test_chunks_start_from_the_state_of_a_replay(kind: str, frame_stack: int) -> None:
    policy = make_policy(kind, slots=3, frame_stack=frame_stack)
    trajectory, carry = roll(policy, ChanceWorld(ENVS))
    states = states_before_each_step(policy, trajectory)
    for chunk in range(STEPS // LENGTH):
        expected = states[chunk * LENGTH]
        assert torch.equal(trajectory.hidden.h[:, chunk], expected.h)
        assert torch.equal(trajectory.hidden.c[:, chunk], expected.c)
    assert torch.equal(carry.hidden.h, states[-1].reset(carry.starts).h)
    remembers = trajectory.hidden.h[:, 1:].any(-1)
    assert torch.equal(remembers, ~trajectory.steps.starts[:, LENGTH::LENGTH] & policy.is_recurrent)


@KINDS
@pytest.mark.parametrize("op_floor", [0.0, 0.3])
@pytest.mark.parametrize("normalized", [False, True])
def test_evaluating_gives_what_was_recorded(
    kind: str, frame_stack: int, op_floor: float, normalized: bool, normalizer: FrozenNormalizer
) -> None:
    policy = sharpen(make_policy(kind, slots=3, frame_stack=frame_stack))
    config = PPOConfig(op_floor=op_floor)
    trajectory, _ = roll(
        policy, ChanceWorld(ENVS), floors=config.floors, normalizer=normalizer if normalized else None
    )
    chunks = in_chunks(trajectory)
    assert chunks.steps.starts[:, 1:].any()  # inside chunks
    evaluated = evaluate(policy, chunks, config)
    torch.testing.assert_close(evaluated.head_log_probs, chunks.steps.head_log_probs, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(evaluated.log_prob, chunks.steps.log_prob, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(evaluated.value, chunks.steps.value, atol=1e-5, rtol=1e-5)


def test_evaluating_needs_floors_and_states(policy: PolicyBundle) -> None:
    """The test above could not pass without either."""
    config = PPOConfig(op_floor=0.3)
    chunks = in_chunks(roll(policy, ChanceWorld(ENVS), floors=config.floors)[0])
    recorded = chunks.steps.log_prob
    unfloored = evaluate(policy, chunks, PPOConfig(op_floor=0.0)).log_prob
    assert (unfloored - recorded).abs().max() > 1e-2
    forgetful = Chunks(chunks.steps, HiddenState(*map(torch.zeros_like, chunks.hidden)))
    assert (evaluate(policy, forgetful, config).log_prob - recorded).abs().max() > 1e-2


def test_two_rollouts_with_the_carry_are_one_long_rollout(policy: PolicyBundle) -> None:
    whole, end = roll(policy, ChanceWorld(ENVS))
    world, generator = ChanceWorld(ENVS), torch.Generator().manual_seed(0)
    carry, parts = first_carry(world, policy), []
    for steps in (LENGTH, STEPS - LENGTH):
        part, carry = collect(world, policy, carry, steps, generator=generator, chunk_length=LENGTH)
        parts.append(part)
    for name in (
        "observed",
        "features",
        "log_prob",
        "head_log_probs",
        "value",
        "reward",
        "starts",
        "cut_value",
    ):
        joined = torch.cat([getattr(part.steps, name) for part in parts], dim=1)
        assert torch.equal(joined, getattr(whole.steps, name)), name
    for head in range(8):
        joined = torch.cat([part.steps.actions[head] for part in parts], dim=1)
        assert torch.equal(joined, whole.steps.actions[head])
    for place in (0, 1):
        assert torch.equal(torch.cat([part.hidden[place] for part in parts], dim=1), whole.hidden[place])
        assert torch.equal(carry.hidden[place], end.hidden[place])
    assert torch.equal(parts[1].last_value, whole.last_value)
    # What the first half is continued by is worth what the second half starts with.
    torch.testing.assert_close(parts[0].last_value, parts[1].steps.value[:, 0])


def test_equal_generators_give_equal_rollouts(policy: PolicyBundle) -> None:
    first, second = (roll(policy, ChanceWorld(ENVS))[0] for _ in range(2))
    assert torch.equal(first.steps.log_prob, second.steps.log_prob)
    world = ChanceWorld(ENVS)
    other = torch.Generator().manual_seed(1)
    third, _ = collect(world, policy, first_carry(world, policy), STEPS, generator=other)
    assert not torch.equal(first.steps.actions.op, third.steps.actions.op)


@pytest.mark.parametrize(("steps", "length"), [(12, 5), (12, 0), (12, 24), (0, None), (-4, 4)])
def test_chunks_that_do_not_fit_are_refused(policy: PolicyBundle, steps: int, length: int | None) -> None:
    world = ChanceWorld(ENVS)
    with pytest.raises(ValueError, match="`chunk_length` must divide `num_steps`"):
        collect(
            world,
            policy,
            first_carry(world, policy),
            steps,
            generator=torch.Generator(),
            chunk_length=length,
        )


def test_seconds_are_split_between_policy_and_environments(policy: PolicyBundle) -> None:
    stopwatch, world = Stopwatch(), ChanceWorld(ENVS)
    collect(world, policy, first_carry(world, policy), 3, generator=torch.Generator(), stopwatch=stopwatch)
    assert set(stopwatch.seconds) == {"policy", "environments"}
    assert all(seconds > 0 for seconds in stopwatch.seconds.values())
