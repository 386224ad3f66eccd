"""What is recorded: which heads were free, and how steps become stretches, stretches batches and chunks."""

from itertools import product

import pytest
import torch
from chance_world import ChanceWorld
from torch import Tensor
from toy_masks import masks_by_chance
from toy_training import make_policy

from leyline_types import HEAD_NAMES, HEAD_RELEVANCE, FactoredActions, LifecycleOp
from simic_training.ppo.collect import collect, first_carry
from simic_training.ppo.trajectory import (
    Trajectory,
    Transitions,
    in_chunks,
    join_trajectories,
    map_tensors,
    stack_steps,
)
from tamiyo_masks import ActionMasks


@pytest.fixture
def trajectory() -> Trajectory:
    """Three environments, six steps in three chunks."""
    policy, world = make_policy("lstm", slots=3), ChanceWorld(3)
    generator = torch.Generator().manual_seed(0)
    return collect(world, policy, first_carry(world, policy), 6, generator=generator, chunk_length=2)[0]


def legal_actions(masks: ActionMasks) -> list[tuple[int, ...]]:
    """Every legal action under the masks of one step, in head order; heads that do not matter hold 0."""
    found = []
    for op in range(len(LifecycleOp)):
        if not masks.op[op]:
            continue
        choices = []
        for name in HEAD_NAMES:
            legal = masks.slot_by_op[op] if name == "slot" else masks.as_dict()[name]
            if name == "op":
                choices.append([op])
            elif name in HEAD_RELEVANCE[LifecycleOp(op)]:
                choices.append([choice for choice, allowed in enumerate(legal.tolist()) if allowed])
            else:
                choices.append([0])
        found += list(product(*choices))
    return found


def with_masks(masks: ActionMasks, op: Tensor) -> Transitions:
    """Steps of which only masks and ops are of account."""
    nothing, never = torch.zeros(op.shape), torch.zeros(op.shape, dtype=torch.bool)
    return Transitions(
        observed=nothing[..., None],
        features=nothing[..., None],
        masks=masks,
        actions=FactoredActions(**dict.fromkeys(HEAD_NAMES, torch.zeros_like(op)))._replace(op=op),
        log_prob=nothing,
        head_log_probs=nothing[..., None],
        value=nothing,
        reward=nothing,
        starts=never,
        terminated=never,
        truncated=never,
        cut_value=nothing,
    )


def test_free_heads_are_those_in_which_legal_actions_of_the_op_differ() -> None:
    generator = torch.Generator().manual_seed(0)
    masks = masks_by_chance(60, slots=3, generator=generator)
    op = torch.multinomial(masks.op.float(), 1, generator=generator)[:, 0]
    steps = with_masks(masks, op)
    for env in range(60):
        legal = legal_actions(masks.at(env))
        of_op = [action for action in legal if action[-1] == op[env]]
        # Two legal actions that differ in this head: of the same op, but for the head that chooses it.
        expected = [len({action[head] for action in of_op}) > 1 for head in range(7)]
        expected.append(len({action[-1] for action in legal}) > 1)
        assert steps.free_heads[env].tolist() == expected
        assert bool(steps.free[env]) == (len(legal) > 1)
    assert steps.free_heads.any(0).all()
    assert not steps.free.all()


def test_chunks_are_stretches_of_an_environment_with_the_state_they_start_from(
    trajectory: Trajectory,
) -> None:
    chunks = in_chunks(trajectory)
    assert trajectory.chunk_length == 2
    assert chunks.steps.features.shape == (9, 2, trajectory.steps.features.shape[-1])
    for env, chunk in product(range(3), range(3)):
        row, times = 3 * env + chunk, slice(2 * chunk, 2 * chunk + 2)
        assert torch.equal(chunks.steps.features[row], trajectory.steps.features[env, times])
        assert torch.equal(chunks.steps.masks.slot_by_op[row], trajectory.steps.masks.slot_by_op[env, times])
        assert torch.equal(chunks.steps.actions.slot[row], trajectory.steps.actions.slot[env, times])
        assert torch.equal(chunks.hidden.h[row], trajectory.hidden.h[env, chunk])
        assert torch.equal(chunks.hidden.c[row], trajectory.hidden.c[env, chunk])


def test_select_takes_whole_chunks_in_the_order_asked_for(trajectory: Trajectory) -> None:
    chunks = in_chunks(trajectory)
    some = chunks.select(torch.tensor([7, 0]))
    assert torch.equal(some.steps.reward, chunks.steps.reward[[7, 0]])
    assert torch.equal(some.steps.masks.op, chunks.steps.masks.op[[7, 0]])
    assert torch.equal(some.steps.actions.op, chunks.steps.actions.op[[7, 0]])
    assert torch.equal(some.hidden.c, chunks.hidden.c[[7, 0]])


def test_joined_trajectories_stand_one_below_the_other(trajectory: Trajectory) -> None:
    other = trajectory._replace(
        steps=map_tensors(lambda tensors: tensors[0].flip(0), [trajectory.steps]),
        last_value=trajectory.last_value + 1,
    )
    joined = join_trajectories([trajectory, other])
    assert joined.chunk_length == 2
    assert torch.equal(joined.steps.reward[:3], trajectory.steps.reward)
    assert torch.equal(joined.steps.reward[3:], trajectory.steps.reward.flip(0))
    assert torch.equal(joined.steps.masks.op[3:], trajectory.steps.masks.op.flip(0))
    assert torch.equal(joined.hidden.h, torch.cat([trajectory.hidden.h] * 2))
    assert torch.equal(joined.last_value[3:], trajectory.last_value + 1)


def test_what_cannot_be_joined_is_refused(trajectory: Trajectory) -> None:
    with pytest.raises(ValueError, match="at least one trajectory"):
        join_trajectories([])
    whole = trajectory._replace(hidden=type(trajectory.hidden)(*(x[:, :1] for x in trajectory.hidden)))
    with pytest.raises(ValueError, match=r"same steps and length of chunks, not \[\(6, 2\), \(6, 6\)\]"):
        join_trajectories([trajectory, whole])


def test_no_steps_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one step"):
        stack_steps([])
