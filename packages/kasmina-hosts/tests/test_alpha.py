"""Alpha's curves: by hand at start, middle and end; monotone; exact at the end."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kasmina_hosts import ramp, ramp_progress
from leyline_types import AlphaCurveAction


def progress(done: int, total: int, curve: AlphaCurveAction) -> float:
    return ramp_progress(torch.tensor(done), torch.tensor(total), torch.tensor(int(curve))).item()


@pytest.mark.parametrize("curve", list(AlphaCurveAction))
def test_ends_and_middle(curve: AlphaCurveAction) -> None:
    assert progress(0, 8, curve) == 0.0
    assert progress(4, 8, curve) == pytest.approx(0.5)
    assert progress(8, 8, curve) == 1.0
    assert progress(0, 0, curve) == 1.0


def test_quarter_by_hand() -> None:
    assert progress(2, 8, AlphaCurveAction.LINEAR) == pytest.approx(0.25)
    assert progress(2, 8, AlphaCurveAction.COSINE) == pytest.approx((1 - 2**-0.5) / 2)
    low, at = torch.sigmoid(torch.tensor(-6.0)).item(), torch.sigmoid(torch.tensor(-3.0)).item()
    assert progress(2, 8, AlphaCurveAction.SIGMOID) == pytest.approx((at - low) / (1 - 2 * low), rel=1e-4)


@pytest.mark.parametrize("curve", list(AlphaCurveAction))
def test_monotone(curve: AlphaCurveAction) -> None:
    values = [progress(done, 8, curve) for done in range(9)]
    assert values == sorted(values)
    assert len(set(values)) == 9


@given(
    st.floats(0, 1, width=32),
    st.floats(0, 1, width=32),
    st.integers(0, 8),
    st.sampled_from(list(AlphaCurveAction)),
)
def test_lands_exactly_on_the_target(
    start: float, target: float, steps: int, curve: AlphaCurveAction
) -> None:
    end = ramp(torch.tensor(start), torch.tensor(target), torch.tensor(progress(steps, steps, curve)))
    assert end.item() == torch.tensor(target).item()
