"""The hidden state as a typed value that cannot slip into training unnoticed."""

import pytest
import torch
from torch.utils._pytree import tree_map

from tamiyo_policies import HiddenState, InferenceHiddenStateError, PolicyBundle


def test_initial_state_is_zero_and_of_no_use_to_autograd(policy: PolicyBundle) -> None:
    hidden = policy.initial_hidden(3)
    assert hidden.h.shape == hidden.c.shape == (3, 16)
    assert not hidden.h.any()
    assert not hidden.c.any()
    assert hidden.is_inference
    assert hidden.h.data_ptr() != hidden.c.data_ptr()


def test_for_training_copies(policy: PolicyBundle) -> None:
    hidden = policy.initial_hidden(3)
    usable = hidden.for_training()
    assert not usable.is_inference
    usable.h.add_(1)
    assert not hidden.h.any()


def test_one_inference_tensor_suffices_to_mark_a_state(policy: PolicyBundle) -> None:
    hidden = policy.initial_hidden(2)
    assert HiddenState(torch.zeros(2, 16), hidden.c).is_inference
    assert HiddenState(hidden.h, torch.zeros(2, 16)).is_inference


def test_no_usable_copy_can_be_made_in_inference_mode(policy: PolicyBundle) -> None:
    with (
        torch.inference_mode(),
        pytest.raises(InferenceHiddenStateError, match=r"outside torch\.inference_mode"),
    ):
        policy.initial_hidden(1).for_training()


def test_reset_zeroes_the_rows_named_even_where_they_are_not_finite() -> None:
    state = HiddenState(torch.tensor([[1.0], [torch.nan]]), torch.tensor([[2.0], [torch.inf]]))
    fresh = state.reset(torch.tensor([False, True]))
    assert fresh.h.tolist() == [[1.0], [0.0]]
    assert fresh.c.tolist() == [[2.0], [0.0]]


def test_it_is_a_pytree() -> None:
    doubled = tree_map(lambda tensor: tensor * 2, HiddenState(torch.ones(1, 2), torch.ones(1, 2)))
    assert isinstance(doubled, HiddenState)
    assert doubled.c.tolist() == [[2.0, 2.0]]
