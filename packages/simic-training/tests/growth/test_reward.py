"""The growth reward: by hand, that it pays only for first and last state, and each host at its own price."""

import itertools

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from leyline_types import Observation
from simic_training.growth.config import GrowthConfig
from simic_training.growth.draws import draw_groups
from simic_training.growth.reward import growth_reward
from simic_training.growth.world import GrowthWorld

_WORLD = GrowthWorld()
_BLANK = _WORLD.reset(draw_groups(GrowthConfig(), 2, 0))


def state(accuracy: list[float], params: list[int], prices: list[float]) -> Observation[Tensor]:
    signals = _BLANK.signals._replace(
        val_accuracy=torch.tensor(accuracy),
        total_params=torch.tensor(params),
        host_params=torch.full((len(params),), 1000),
        parameter_price=torch.tensor(prices),
    )
    return _BLANK._replace(signals=signals)


def test_by_hand() -> None:
    prices = [0.2, 0.5]
    terms = growth_reward(
        state([50.0, 60.0], [1000, 3000], prices), state([55.0, 58.0], [2000, 1000], prices)
    )
    torch.testing.assert_close(terms.accuracy, torch.tensor([0.5, -0.2]))
    torch.testing.assert_close(terms.rent, torch.tensor([-0.2, 1.0]))
    torch.testing.assert_close(terms.total, torch.tensor([0.3, 0.8]))


@given(
    st.lists(st.tuples(st.floats(0, 100), st.integers(1000, 9000)), min_size=2, max_size=8),
    st.floats(0.01, 2),
)
def test_only_first_and_last_state_count(path: list[tuple[float, int]], price: float) -> None:
    states = [state([accuracy], [params], [price]) for accuracy, params in path]
    steps = [growth_reward(before, after).total for before, after in itertools.pairwise(states)]
    direct = growth_reward(states[0], states[-1]).total
    torch.testing.assert_close(torch.stack(steps).sum(0), direct, atol=1e-4, rtol=1e-4)


@given(st.floats(0, 100), st.integers(0, 9000), st.floats(0.01, 2), st.floats(0.01, 2))
def test_the_price_is_paid_for_growth_alone(points: float, added: int, low: float, high: float) -> None:
    before, after = ([0.0, 0.0], [1000, 1000]), ([points, points], [1000 + added, 1000 + added])
    terms = growth_reward(state(*before, [low, high]), state(*after, [low, high]))
    assert terms.accuracy[0] == terms.accuracy[1]
    torch.testing.assert_close(terms.rent, -torch.tensor([low, high]) * added / 1000)
    torch.testing.assert_close(terms.total, terms.accuracy + terms.rent)
