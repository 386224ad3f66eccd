"""MaskedCategorical equals a categorical over the legal subset, at every magnitude."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch import Tensor
from torch.distributions import Categorical, kl_divergence

from tamiyo_masks import InvalidStateMachineError, MaskedCategorical
from tamiyo_masks.softmax import draw

CHOICES = 6


def random_case(seed: int) -> tuple[Tensor, Tensor]:
    """Logits [4, CHOICES] and masks with at least one legal choice per row."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(4, CHOICES, generator=generator, dtype=torch.float64) * 3
    mask = torch.rand(4, CHOICES, generator=generator) < 0.5
    mask[torch.arange(4), torch.randint(0, CHOICES, (4,), generator=generator)] = True
    return logits, mask


@given(st.integers(0, 2**31))
def test_equals_a_categorical_on_the_legal_subset(seed: int) -> None:
    logits, mask = random_case(seed)
    other_logits, _ = random_case(seed + 1)
    ours, other = MaskedCategorical(logits, mask), MaskedCategorical(other_logits, mask)
    for row in range(len(logits)):
        legal = mask[row].nonzero().flatten()
        reference = Categorical(logits=logits[row, legal])
        torch.testing.assert_close(ours.probs[row, legal], reference.probs)
        torch.testing.assert_close(ours.entropy(normalized=False)[row], reference.entropy())
        for position, action in enumerate(legal):
            log_prob = ours.log_prob(action.expand(4))[row]
            torch.testing.assert_close(log_prob, reference.log_prob(torch.tensor(position)))
        divergence = kl_divergence(reference, Categorical(logits=other_logits[row, legal]))
        torch.testing.assert_close(ours.kl(other)[row], divergence)
        assert ours.mode()[row] == legal[logits[row, legal].argmax()]
    assert not ours.probs[~mask].any()


@given(st.integers(0, 2**31))
def test_gradients_equal_those_on_the_legal_subset(seed: int) -> None:
    logits, mask = random_case(seed)
    logits.requires_grad_()
    action = MaskedCategorical(logits, mask).sample(torch.Generator().manual_seed(seed))
    distribution = MaskedCategorical(logits, mask)
    loss = (distribution.log_prob(action) + distribution.entropy(normalized=False)).sum()
    (found,) = torch.autograd.grad(loss, logits)
    assert not found[~mask].any()
    for row in range(len(logits)):
        legal = mask[row].nonzero().flatten()
        subset = logits[row, legal].detach().requires_grad_()
        reference = Categorical(logits=subset)
        position = (legal == action[row]).nonzero()[0, 0]
        (expected,) = torch.autograd.grad(reference.log_prob(position) + reference.entropy(), subset)
        torch.testing.assert_close(found[row, legal], expected)


def test_one_legal_choice() -> None:
    logits = torch.randn(3, CHOICES, requires_grad=True)
    mask = torch.zeros(3, CHOICES, dtype=torch.bool)
    mask[:, 2] = True
    only = MaskedCategorical(logits, mask)
    assert only.sample().tolist() == only.mode().tolist() == [2, 2, 2]
    assert only.log_prob(torch.tensor([2, 2, 2])).tolist() == [0.0, 0.0, 0.0]
    assert only.entropy().tolist() == only.entropy(normalized=False).tolist() == [0.0, 0.0, 0.0]
    (gradient,) = torch.autograd.grad(only.log_prob(torch.tensor([2, 2, 2])).sum(), logits)
    assert not gradient.any()


def test_illegal_choice_has_no_probability() -> None:
    mask = torch.tensor([[True, False, True]])
    assert MaskedCategorical(torch.zeros(1, 3), mask).log_prob(torch.tensor([1])).item() == -torch.inf


@pytest.mark.parametrize(
    ("dtype", "big"),
    [
        (torch.float32, 1e4),
        (torch.float32, 3e38),
        (torch.float64, 1e300),
        (torch.float16, 6.5e4),
        (torch.bfloat16, 3e38),
    ],
)
def test_no_magnitude_lets_an_illegal_choice_win(dtype: torch.dtype, big: float) -> None:
    for legal, illegal in ((-big, big), (big, -big), (0.0, big), (-big, -big), (big, big)):
        logits = torch.tensor([[legal, illegal, legal, illegal]], dtype=dtype, requires_grad=True)
        mask = torch.tensor([[True, False, True, False]])
        distribution = MaskedCategorical(logits, mask)
        torch.testing.assert_close(distribution.probs[0, :3:2].float(), torch.tensor([0.5, 0.5]))
        assert distribution.mode().item() == 0
        draws = {MaskedCategorical(logits.detach(), mask).sample().item() for _ in range(20)}
        assert draws <= {0, 2}
        loss = distribution.log_prob(torch.tensor([2])).sum() + distribution.entropy().sum()
        (gradient,) = torch.autograd.grad(loss, logits)
        assert gradient.isfinite().all()
        assert not gradient[~mask].any()


def test_opposite_legal_extremes_stay_finite() -> None:
    logits = torch.tensor([[3e38, -3e38]], requires_grad=True)
    distribution = MaskedCategorical(logits, torch.ones(1, 2, dtype=torch.bool))
    assert distribution.probs.tolist() == [[1.0, 0.0]]
    assert distribution.entropy().item() == 0.0
    (gradient,) = torch.autograd.grad(distribution.entropy().sum(), logits)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    logits, mask = random_case(0)
    half = MaskedCategorical(logits.to(dtype), mask)
    assert half.probs.dtype == half.entropy().dtype == torch.float32
    torch.testing.assert_close(half.probs, MaskedCategorical(logits.to(dtype).float(), mask).probs)


def test_samples_follow_the_probabilities() -> None:
    logits = torch.tensor([0.5, -1.0, 2.0, 0.0, 1.0])
    mask = torch.tensor([True, True, False, True, True])
    count = 20_000
    drawn = MaskedCategorical(logits.expand(count, -1), mask.expand(count, -1)).sample(
        torch.Generator().manual_seed(0)
    )
    observed = torch.bincount(drawn, minlength=5)
    assert observed[2] == 0
    expected = MaskedCategorical(logits, mask).probs * count
    assert chisquare(observed[mask].numpy(), expected[mask].double().numpy(), sum_check=False).pvalue > 1e-3


def test_edges_of_the_unit_interval_give_legal_choices() -> None:
    logits = torch.tensor([-80.0, 0.0, -80.0, 0.0, -80.0])
    mask = torch.tensor([False, True, True, True, False])
    probs = MaskedCategorical(logits, mask).probs
    for uniform in (0.0, 1e-38, 0.5, 1 - 2**-24, 1.0):
        assert mask[draw(probs, torch.tensor(uniform), -1)]


@pytest.mark.parametrize("dim", [0, -1])
def test_probabilities_that_rounding_leaves_short_of_one_are_drawn_in_proportion(dim: int) -> None:
    probs = torch.tensor([0.0, 0.25, 0.5, 0.15, 0.0])  # a tenth is missing
    for dtype in (torch.float32, torch.float64):
        uniform = torch.tensor([0.0, 0.27, 0.28, 0.83, 0.84, 1.0], dtype=dtype)
        assert [int(draw(probs, number, dim)) for number in uniform] == [1, 1, 2, 2, 3, 3]
    assert int(draw(probs, torch.tensor(1.0, dtype=torch.bfloat16), dim)) == 3


def test_floor_mixes_in_the_uniform() -> None:
    logits, mask = random_case(3)
    plain, mixed = MaskedCategorical(logits, mask), MaskedCategorical(logits, mask, floor=0.3)
    uniform = mask / mask.sum(-1, keepdim=True).double()
    torch.testing.assert_close(mixed.probs, 0.7 * plain.probs + 0.3 * uniform, rtol=1e-12, atol=1e-14)


def test_normalised_entropy_is_one_for_uniform() -> None:
    mask = torch.tensor([[True, True, False, True]])
    assert MaskedCategorical(torch.zeros(1, 4), mask).entropy().item() == pytest.approx(1.0)


def test_kl_to_a_distribution_that_forbids_a_choice_is_infinite() -> None:
    wide, narrow = torch.tensor([True, True, False]), torch.tensor([True, False, False])
    a, b = (MaskedCategorical(torch.zeros(3), mask) for mask in (wide, narrow))
    assert a.kl(b).item() == torch.inf
    logits = torch.zeros(3, requires_grad=True)
    (gradient,) = torch.autograd.grad(MaskedCategorical(logits, wide).kl(b), logits)
    assert gradient.isfinite().all()
    assert b.kl(a).item() == pytest.approx(torch.log(torch.tensor(2.0)).item())


def test_kl_between_opposite_extremes_has_finite_gradients() -> None:
    ours = torch.tensor([3e38, -3e38], requires_grad=True)
    theirs = torch.tensor([-3e38, 3e38], requires_grad=True)
    legal = torch.ones(2, dtype=torch.bool)
    divergence = MaskedCategorical(ours, legal).kl(MaskedCategorical(theirs, legal))
    assert divergence > 1e38
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(divergence, (ours, theirs)))


@pytest.mark.parametrize("floor", [0.0, 0.3])
def test_gradients_are_those_of_the_values(floor: float) -> None:
    logits, mask = random_case(5)
    action = MaskedCategorical(logits, mask).mode()

    def values(own: Tensor) -> tuple[Tensor, ...]:
        found = MaskedCategorical(own, mask, floor=floor)
        return found.log_prob(action), found.probs, found.entropy(), found.entropy(normalized=False)

    assert torch.autograd.gradcheck(values, logits.requires_grad_())


@pytest.mark.compile
def test_compiles_and_maps() -> None:
    logits, mask = random_case(2)

    def values(own: Tensor, legal: Tensor) -> tuple[Tensor, ...]:
        found = MaskedCategorical(own, legal, floor=0.1)
        return found.probs, found.mode(), found.entropy(), found.log_prob(found.mode())

    expected = values(logits, mask)
    torch.testing.assert_close(torch.compile(values, fullgraph=True)(logits, mask), expected)
    torch.testing.assert_close(torch.func.vmap(values)(logits, mask), expected)


def test_small_probabilities_are_kept() -> None:
    logits = torch.tensor([0.0, -20.0, -60.0])
    probs = MaskedCategorical(logits, torch.ones(3, dtype=torch.bool)).probs
    torch.testing.assert_close(probs, logits.double().softmax(0).float(), rtol=1e-5, atol=0.0)


def test_equal_generators_draw_equally() -> None:
    distribution = MaskedCategorical(torch.zeros(200, 6), torch.ones(200, 6, dtype=torch.bool))
    one, two, other = (distribution.sample(torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_immutable_and_checked() -> None:
    logits, mask = random_case(0)
    with pytest.raises(AttributeError, match="immutable"):
        MaskedCategorical(logits, mask).mask = mask
    with pytest.raises(ValueError, match=r"`mask` has shape \(4, 5\) but `logits` has \(4, 6\)"):
        MaskedCategorical(logits, mask[:, :5])
    with pytest.raises(ValueError, match=r"`floor` must lie in \[0, 1\), not 3.0"):
        MaskedCategorical(logits, mask, floor=3.0)
    with pytest.raises(ValueError, match="must be boolean"):
        MaskedCategorical(logits, mask.int())  # type: ignore[arg-type,unused-ignore]


def test_validation_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, mask = random_case(0)
    mask[2] = False
    MaskedCategorical(logits, mask)
    with pytest.raises(InvalidStateMachineError, match=r"row \[2\] of `mask` has no legal choice"):
        MaskedCategorical(logits, mask, validate=True)
    monkeypatch.setenv("TAMIYO_VALIDATE", "1")
    with pytest.raises(InvalidStateMachineError):
        MaskedCategorical(logits, mask)
    MaskedCategorical(logits, mask, validate=False)
    broken = logits.clone()
    broken[1, mask[1].nonzero()[0, 0]] = torch.nan
    with pytest.raises(InvalidStateMachineError, match="is nan, not finite"):
        MaskedCategorical(broken[:2], mask[:2])
    monkeypatch.setenv("TAMIYO_VALIDATE", "yes")
    with pytest.raises(ValueError, match="must be 0 or 1, not 'yes'"):
        MaskedCategorical(logits, mask)
