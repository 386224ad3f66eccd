"""Frames stacked step by step and over whole sequences are the same, and missing ones can be told from zeros."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tamiyo_policies import HiddenState, PolicyConfig, create_policy
from tamiyo_policies.frames import FrameStack


def test_by_hand() -> None:
    """Three frames of two features: oldest first, each remembered one followed by a 1."""
    frames = FrameStack(feature_dim=2, count=3)
    hidden = HiddenState(torch.zeros(1, frames.state_dim), torch.zeros(1, 0))
    seen = []
    for features in ([1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]):
        inputs, hidden = frames.step(torch.tensor([features]), hidden)
        assert inputs.shape == (1, frames.input_dim)
        seen.append(inputs[0].tolist())
    assert seen == [
        [0, 0, 0, 0, 0, 0, 1, 2],
        [0, 0, 0, 1, 2, 1, 3, 4],
        [1, 2, 1, 3, 4, 1, 5, 6],
        [3, 4, 1, 5, 6, 1, 7, 8],
    ]
    assert hidden.h.tolist() == [[5, 6, 1, 7, 8, 1]]


@settings(deadline=None, max_examples=60)
@given(
    batch=st.integers(1, 5),
    time=st.integers(1, 9),
    count=st.integers(1, 6),
    share=st.sampled_from([None, 0.0, 0.3, 1.0]),
    seed=st.integers(0, 2**31),
)
def test_sequence_equals_steps_with_episodes_starting_anywhere(
    batch: int, time: int, count: int, share: float | None, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    frames = FrameStack(feature_dim=3, count=count)
    features = torch.randn(batch, time, 3, generator=generator)
    hidden = HiddenState(torch.randn(batch, frames.state_dim, generator=generator), torch.zeros(batch, 0))
    starts = None if share is None else torch.rand(batch, time, generator=generator) < share
    inputs, last = frames.unroll(features, hidden, starts)
    for now in range(time):
        if starts is not None:
            hidden = hidden.reset(starts[:, now])
        expected, hidden = frames.step(features[:, now], hidden)
        assert torch.equal(inputs[:, now], expected)
    assert torch.equal(last.h, hidden.h)
    assert last.c.shape == (batch, 0)


def test_what_an_earlier_episode_left_behind_is_gone_even_where_it_is_not_finite() -> None:
    frames = FrameStack(feature_dim=1, count=2)
    features = torch.tensor([[[torch.nan], [1.0]]])
    inputs, _ = frames.unroll(
        features, HiddenState(torch.zeros(1, 2), torch.zeros(1, 0)), torch.tensor([[False, True]])
    )
    assert inputs[0, 1].tolist() == [0, 0, 1]


def test_a_policy_is_recurrent_as_far_as_it_remembers() -> None:
    for name in ("mlp", "mlp-q"):
        alone, stacked = (create_policy(PolicyConfig(policy=name, frame_stack=count)) for count in (1, 4))
        assert not alone.is_recurrent
        assert alone.initial_hidden(2).h.shape == alone.initial_hidden(2).c.shape == (2, 0)
        assert stacked.is_recurrent
        assert stacked.initial_hidden(2).h.shape == (2, 3 * (stacked.feature_dim + 1))


def test_a_policy_with_memory_of_its_own_stacks_nothing() -> None:
    with pytest.raises(ValueError, match="'lstm' remembers by itself: `frame_stack` must be 1, not 2"):
        create_policy(PolicyConfig(frame_stack=2))
