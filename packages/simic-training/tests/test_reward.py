"""The growth reward: by hand, and that it pays only for first and last state."""

import itertools

import torch
from hypothesis import given
from hypothesis import strategies as st

from simic_training import HostState, growth_reward


def state(accuracy: list[float], params: list[int]) -> HostState:
    return HostState(torch.tensor(accuracy), torch.tensor(params), torch.full((len(params),), 1000))


def test_by_hand() -> None:
    terms = growth_reward(state([50.0, 60.0], [1000, 3000]), state([55.0, 58.0], [2000, 1000]), rent_rate=0.2)
    torch.testing.assert_close(terms.accuracy, torch.tensor([0.5, -0.2]))
    torch.testing.assert_close(terms.rent, torch.tensor([-0.2, 0.4]))
    torch.testing.assert_close(terms.total, torch.tensor([0.3, 0.2]))


@given(
    st.lists(st.tuples(st.floats(0, 100, width=32), st.integers(1000, 50_000)), min_size=2, max_size=20),
    st.floats(0, 1),
)
def test_terms_sum_and_telescope(path: list[tuple[float, int]], rent_rate: float) -> None:
    states = [state([accuracy], [params]) for accuracy, params in path]
    steps = [growth_reward(a, b, rent_rate=rent_rate) for a, b in itertools.pairwise(states)]
    whole = growth_reward(states[0], states[-1], rent_rate=rent_rate)
    for step in steps:
        torch.testing.assert_close(step.total, step.accuracy + step.rent)
    torch.testing.assert_close(
        torch.stack([step.total for step in steps]).sum(0), whole.total, atol=1e-3, rtol=1e-4
    )
