"""torch.compile as policies use it: one graph per function, over changing batch and time."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch
from torch.utils._pytree import tree_map_only

from tamiyo_policies.config import CompileMode

_P = ParamSpec("_P")
_T = TypeVar("_T")

_CUDA_GRAPH_MODES = (CompileMode.REDUCE_OVERHEAD, CompileMode.MAX_AUTOTUNE)


def compiled(function: Callable[_P, _T], mode: CompileMode, device: torch.device) -> Callable[_P, _T]:
    """The function, compiled on its first call as one graph (a graph break is an error) with sizes left open.

    No global that these functions read ever changes, so that none is looked at again at each call: at small batches
    that takes as long as the work.

    On CUDA the two modes that use CUDA graphs write every result into the same memory; rollouts keep theirs, so there
    results are copied out.
    """
    options = {
        **torch._inductor.list_mode_options(mode.value),
        "guard_filter_fn": torch.compiler.skip_guard_on_globals_unsafe,
    }
    fast: Callable[_P, _T] = torch.compile(function, fullgraph=True, dynamic=True, options=options)
    if device.type != "cuda" or mode not in _CUDA_GRAPH_MODES:
        return fast

    def copied(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        result: _T = tree_map_only(torch.Tensor, torch.clone, fast(*args, **kwargs))
        return result

    return copied
