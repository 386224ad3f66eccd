"""Constant tensors that are made once per device and kept."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

_KeyT = TypeVar("_KeyT")
_MadeT = TypeVar("_MadeT")
_ParametersT = ParamSpec("_ParametersT")


def constant_when_compiled(function: Callable[_ParametersT, _MadeT]) -> Callable[_ParametersT, _MadeT]:
    """`torch.compiler.assume_constant_result`, which sets this mark too, but imports the compiler, and so seconds."""
    function.__dict__["_dynamo_marked_constant"] = True
    return function


def keep(cache: dict[_KeyT, _MadeT], key: _KeyT, make: Callable[[], _MadeT]) -> _MadeT:
    """What the cache holds under a key, made at the first call: ordinary tensors, in whatever mode or transform.

    While a graph is traced there are only stand-ins for tensors, which are not kept.
    """
    found = cache.get(key)
    if found is None:
        with torch.inference_mode(False), torch._C._DisableFuncTorch():
            found = make()
        if all(type(leaf) is Tensor for leaf in tree_leaves(found) if isinstance(leaf, Tensor)):
            cache[key] = found
    return found
