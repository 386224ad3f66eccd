"""torch.compile as policies use it: one graph per function, over changing batch and time."""

from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

import torch
from torch._dynamo.exc import BackendCompilerFailed
from torch._inductor.exc import InvalidCxxCompiler
from torch.utils._pytree import tree_map_only

from tamiyo_policies.config import CompileMode
from tamiyo_policies.errors import CompilerMissingError

_P = ParamSpec("_P")
_T = TypeVar("_T")

_CUDA_GRAPH_MODES = (CompileMode.REDUCE_OVERHEAD, CompileMode.MAX_AUTOTUNE)


def compiled(function: Callable[_P, _T], mode: CompileMode, device: torch.device) -> Callable[_P, _T]:
    """The function, compiled on its first call as one graph (a graph break is an error) with sizes left open.

    On CUDA the two modes that use CUDA graphs write every result into the same memory; rollouts keep theirs, so there
    results are copied out.

    Raises:
        CompilerMissingError: at the first call, on a machine that cannot compile C++.
    """
    options = {**torch._inductor.list_mode_options(mode.value), "guard_filter_fn": _guards_of_inputs}
    fast: Callable[_P, _T] = torch.compile(function, fullgraph=True, dynamic=True, options=options)
    reuses_memory = device.type == "cuda" and mode in _CUDA_GRAPH_MODES

    def call(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            result = fast(*args, **kwargs)
        except BackendCompilerFailed as error:
            if isinstance(error.inner_exception, InvalidCxxCompiler):
                raise CompilerMissingError(
                    "compiling a policy needs a C++ compiler, and there is none: install g++ or clang (Debian and "
                    "Ubuntu: apt install g++; macOS: xcode-select --install), name one in the environment variable "
                    "CXX, or use CompileMode.OFF"
                ) from None
            raise
        return tree_map_only(torch.Tensor, torch.clone, result) if reuses_memory else result

    return call


def _guards_of_inputs(guards: Sequence[Any]) -> list[bool]:
    """Which guards are looked at again at each call: those of inputs alone.

    At small batches the others take as long as the work. None of the globals that these functions read ever changes,
    and a compiled network stays where it is (`settled`); that layers are replaced or get hooks is not noticed.
    """
    of_locals: list[bool] = torch.compiler.skip_guard_on_globals_unsafe(guards)
    not_of_modules: list[bool] = torch.compiler.skip_guard_on_all_nn_modules_unsafe(guards)
    return [one and other for one, other in zip(of_locals, not_of_modules, strict=True)]
