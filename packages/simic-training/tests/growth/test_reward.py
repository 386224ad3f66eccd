"""The growth reward: by hand, and that it pays only for first and last state."""

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

_WORLD = GrowthWorld(rent_rate=0.0)
_BLANK = _WORLD.reset(draw_groups(GrowthConfig(), 2, 0))


def state(accuracy: list[float], params: list[int]) -> Observation[Tensor]:
    signals = _BLANK.signals._replace(
        val_accuracy=torch.tensor(accuracy),
        total_params=torch.tensor(params),
        host_params=torch.full((len(params),), 1000),
    )
    return _BLANK._replace(signals=signals)


def test_by_hand() -> None:
    terms = growth_reward(state([50.0, 60.0], [1000, 3000]), state([55.0, 58.0], [2000, 1000]), rent_rate=0.2)
    torch.testing.assert_close(terms.accuracy, torch.tensor([0.5, -0.2]))
    torch.testing.assert_close(terms.rent, torch.tensor([-0.2, 0.4]))
    torch.testing.assert_close(terms.total, torch.tensor([0.3, 0.2]))


@given(
    st.lists(st.tuples(st.floats(0, 100), st.integers(1000, 9000)), min_size=2, max_size=8),
    st.floats(0, 1),
)
def test_only_first_and_last_state_count(path: list[tuple[float, int]], rent_rate: float) -> None:
    states = [state([accuracy], [params]) for accuracy, params in path]
    steps = [
        growth_reward(before, after, rent_rate=rent_rate).total
        for before, after in itertools.pairwise(states)
    ]
    direct = growth_reward(states[0], states[-1], rent_rate=rent_rate).total
    torch.testing.assert_close(torch.stack(steps).sum(0), direct, atol=1e-4, rtol=1e-4)
