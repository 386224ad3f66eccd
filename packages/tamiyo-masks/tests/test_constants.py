"""Constants that are kept are ordinary tensors, wherever they are first asked for."""

import torch
from torch import Tensor

from tamiyo_masks.constants import constant_when_compiled, keep


def test_a_first_call_inside_a_transform_keeps_an_ordinary_tensor() -> None:
    cache: dict[str, Tensor] = {}

    def scaled(x: Tensor) -> Tensor:
        return x * keep(cache, "ones", lambda: torch.ones(3)).sum()

    assert torch.func.grad(scaled)(torch.tensor(2.0)) == 3.0
    assert not torch._C._functorch.is_functorch_wrapped_tensor(cache["ones"])
    assert torch.equal(torch.compile(scaled, backend="aot_eager")(torch.tensor(2.0)), torch.tensor(6.0))


def test_a_first_call_in_inference_mode_keeps_an_ordinary_tensor() -> None:
    cache: dict[str, Tensor] = {}
    with torch.inference_mode():
        keep(cache, "ones", lambda: torch.ones(3))
    assert not cache["ones"].is_inference()


def test_made_once() -> None:
    cache: dict[str, Tensor] = {}
    first = keep(cache, "ones", lambda: torch.ones(3))
    assert keep(cache, "ones", lambda: torch.zeros(3)) is first


def test_the_mark_of_constants_is_torch_s_own() -> None:
    def ours() -> int:
        return 1

    def theirs() -> int:
        return 1

    assert constant_when_compiled(ours) is ours
    assert ours.__dict__ == torch.compiler.assume_constant_result(theirs).__dict__ != {}
