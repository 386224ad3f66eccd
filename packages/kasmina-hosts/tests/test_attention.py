"""Attention: by hand, by every kernel alike, within its window, for many hosts at once."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from kasmina_hosts.attention import (
    attention,
    flex_window_attention,
    formula_attention,
    split_heads,
    window_mask,
)

CPU = torch.device("cpu")
WINDOWS = (1, 2, 3, 8, None)


def heads(
    tokens: int, *batch: int, seed: int = 0, depth: int = 4, dtype: torch.dtype = torch.float64
) -> list[Tensor]:
    """Queries, keys and values, [*batch, 2, token, depth]."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(*batch, 2, tokens, depth, generator=generator, dtype=dtype) for _ in range(3)]


def test_three_tokens_by_hand() -> None:
    log = torch.tensor([2.0, 3.0, 5.0]).log()  # keys of one number: weights are in proportion 2 : 3 : 5
    q, k, v = (
        torch.ones(1, 1, 3, 1),
        log.reshape(1, 1, 3, 1),
        torch.tensor([10.0, 20.0, 40.0]).reshape(1, 1, 3, 1),
    )
    every = (2 * 10 + 3 * 20 + 5 * 40) / 10
    torch.testing.assert_close(attention(q, k, v, window=None).flatten(), torch.full((3,), every))
    near = torch.tensor([(2 * 10 + 3 * 20) / 5, every, (3 * 20 + 5 * 40) / 8])
    torch.testing.assert_close(attention(q, k, v, window=2).flatten(), near)
    torch.testing.assert_close(attention(q, k, v, window=1), v)


def test_scores_are_divided_by_the_root_of_the_depth() -> None:
    q, k = torch.full((1, 1, 2, 4), 1.0), torch.tensor([[0.0] * 4, [1.0] * 4])[None, None]
    v = torch.tensor([[0.0] * 4, [1.0] * 4])[None, None]
    share = torch.sigmoid(torch.tensor(4 / 2))
    for run in (attention, formula_attention):
        torch.testing.assert_close(run(q, k, v, window=None).flatten(), share.expand(8))


def test_windows_by_hand() -> None:
    assert window_mask(4, 1, CPU).int().tolist() == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    assert window_mask(4, 2, CPU).int().tolist() == [[1, 1, 0, 0], [1, 1, 1, 0], [0, 1, 1, 1], [0, 0, 1, 1]]
    assert window_mask(4, 3, CPU).equal(window_mask(4, 2, CPU))
    assert window_mask(4, 8, CPU).all()


def test_heads_are_consecutive_parts_of_a_token() -> None:
    x = torch.arange(12.0).reshape(1, 2, 6)
    assert split_heads(x, 3).tolist() == [[[[0, 1], [6, 7]], [[2, 3], [8, 9]], [[4, 5], [10, 11]]]]


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("tokens", [1, 4, 9, 16])
def test_kernels_agree(tokens: int, window: int | None) -> None:
    q, k, v = (tensor.requires_grad_() for tensor in heads(tokens, 3))
    mask = None if window is None else window_mask(tokens, window, CPU)
    found = [
        attention(q, k, v, window=window),
        formula_attention(q, k, v, window=window),
        scaled_dot_product_attention(q, k, v, attn_mask=mask),
    ]
    weight = torch.randn_like(q)
    gradients = [torch.autograd.grad((each * weight).sum(), (q, k, v)) for each in found]
    for other, gradient in zip(found[1:], gradients[1:], strict=True):
        torch.testing.assert_close(other, found[0], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(gradient, gradients[0], rtol=1e-12, atol=1e-12)


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile:UserWarning")
@pytest.mark.parametrize("window", [1, 2, 8])
@pytest.mark.parametrize("tokens", [4, 16])
def test_flex_attention_is_the_same(tokens: int, window: int) -> None:
    q, k, v = heads(tokens, 3, depth=16, dtype=torch.float32)
    with torch.no_grad():
        found = flex_window_attention(q, k, v, window=window)
    torch.testing.assert_close(found, formula_attention(q, k, v, window=window), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("window", [1, 2, 8])
def test_a_token_beyond_the_window_has_no_influence_at_all(window: int) -> None:
    tokens = 12
    q, k, v = (tensor.requires_grad_() for tensor in heads(tokens, 1))
    for run in (attention, formula_attention):
        for token in range(tokens):
            seen = run(q, k, v, window=window)[:, :, token].square().sum()
            reached = torch.tensor([abs(token - other) <= window // 2 for other in range(tokens)])
            for gradient in torch.autograd.grad(seen, (k, v)):
                touched = gradient.ne(0).any(-1)[0].any(0)
                assert not touched[~reached].any()
            assert torch.equal(touched, reached)  # of the values, every one within


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("tokens", [1, 4, 12, 13])
def test_many_hosts_at_once_equal_the_loop(tokens: int, window: int | None) -> None:
    q, k, v = (tensor.requires_grad_() for tensor in heads(tokens, 3, 2))
    found = attention(q, k, v, window=window)
    expected = torch.stack([attention(*own, window=window) for own in zip(q, k, v, strict=True)])
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    gradients = [torch.autograd.grad(each.sin().sum(), (q, k, v)) for each in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-12)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("window", [2, 8])
@pytest.mark.parametrize("tokens", [16, 200])
def test_on_cuda_windows_run_through_flex_attention(
    tokens: int, window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kasmina_hosts import attention as module

    calls: list[int] = []

    def counted(q: Tensor, k: Tensor, v: Tensor, *, window: int) -> Tensor:
        calls.append(window)
        return flex_window_attention(q, k, v, window=window)

    monkeypatch.setattr(module, "flex_window_attention", counted)
    q, k, v = (tensor.cuda().requires_grad_() for tensor in heads(tokens, 3, depth=16, dtype=torch.float32))
    with torch.inference_mode():
        module.attention(q, k, v, window=window)  # what is kept of this call is trained with in the next
    found = module.attention(q, k, v, window=window)
    assert calls == [window, window]
    expected = formula_attention(q, k, v, window=window)
    torch.testing.assert_close(found, expected, rtol=2e-3, atol=2e-3)  # TF32 products
    weight = torch.randn_like(q)
    gradients = [torch.autograd.grad((each * weight).sum(), (q, k, v)) for each in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=5e-3, atol=5e-3)
