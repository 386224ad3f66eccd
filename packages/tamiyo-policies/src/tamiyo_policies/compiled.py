"""torch.compile as policies use it: one graph per function, over changing batch and time."""

from collections.abc import Callable, Sequence
from functools import cache
from itertools import count
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar, TypeVarTuple, cast, final

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from tamiyo_policies.config import CompileMode
from tamiyo_policies.errors import CompilerMissingError

if TYPE_CHECKING:
    from torch._dynamo.exc import BackendCompilerFailed, FailOnRecompileLimitHit
    from torch._inductor.exc import InvalidCxxCompiler

_Ts = TypeVarTuple("_Ts")
_T = TypeVar("_T")

_CUDA_GRAPH_MODES: Final = (CompileMode.REDUCE_OVERHEAD, CompileMode.MAX_AUTOTUNE)
_numbers: Final = count()


@final
class CompiledFunction(Generic[*_Ts, _T]):
    """A function, compiled on its first call as one graph (a graph break is an error) with sizes left open.

    On CUDA the two modes that use CUDA graphs write every result into the same memory; rollouts keep theirs, so there
    results are copied out. A copy of a compiled function, pickled ones among them, compiles anew when it is called.

    Args:
        function: of tensors and named tuples of them.
        weights: the parameters that it uses.
        mode: how to compile it.
        device: where it runs.
    """

    def __init__(
        self,
        function: Callable[[*_Ts], _T],
        weights: Sequence[Tensor],
        mode: CompileMode,
        device: torch.device,
    ) -> None:
        self._function, self._weights, self._mode, self._device = function, weights, mode, device
        self._reuses_memory = device.type == "cuda" and mode in _CUDA_GRAPH_MODES
        self._compiled: dict[tuple[bool, ...], Callable[[*_Ts], _T]] = {}

    def __call__(self, *args: *_Ts) -> _T:
        """The function's result.

        Raises:
            CompilerMissingError: at the first call, on a machine that cannot compile C++.
        """
        # Which weights learn is part of a graph, and nothing in it asks again.
        learning = tuple(weight.requires_grad for weight in self._weights) if torch.is_grad_enabled() else ()
        if learning not in self._compiled:
            self._compiled[learning] = _compile_alone(self._function, self._mode)
        errors = _compiler_errors()
        try:
            result = self._compiled[learning](*args)
        except errors.too_many_graphs:
            self._compiled[learning] = _compile_alone(self._function, self._mode)
            result = self._compiled[learning](*args)
        except errors.backend_failed as error:
            if isinstance(error.inner_exception, errors.no_compiler):
                raise CompilerMissingError(
                    "compiling a policy needs a C++ compiler, and there is none: install g++ or clang (Debian and "
                    "Ubuntu: apt install g++; macOS: xcode-select --install), name one in the environment variable "
                    "CXX, or make the policy with CompileMode.OFF"
                ) from None
            raise
        return tree_map_only(Tensor, torch.clone, result) if self._reuses_memory else result

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        return CompiledFunction, (self._function, self._weights, self._mode, self._device)


class _CompilerErrors(NamedTuple):
    too_many_graphs: type["FailOnRecompileLimitHit"]
    backend_failed: type["BackendCompilerFailed"]
    no_compiler: type["InvalidCxxCompiler"]


@cache
def _compiler_errors() -> _CompilerErrors:
    """What the compiler raises. It takes seconds to import, and most processes compile nothing."""
    from torch._dynamo.exc import BackendCompilerFailed, FailOnRecompileLimitHit
    from torch._inductor.exc import InvalidCxxCompiler

    return _CompilerErrors(FailOnRecompileLimitHit, BackendCompilerFailed, InvalidCxxCompiler)


def _compile_alone(function: Callable[[*_Ts], _T], mode: CompileMode) -> Callable[[*_Ts], _T]:
    """The function, to be compiled under a code object of its own.

    By that dynamo keeps its graphs: policies that shared one would use each other's, and their number would count
    against one limit.
    """

    def run(*args: *_Ts) -> _T:
        return function(*args)

    code = run.__code__.replace(co_name=f"compiled_{next(_numbers)}")
    own: Any = FunctionType(code, run.__globals__, code.co_name, closure=run.__closure__)
    options = {**torch._inductor.list_mode_options(mode.value), "guard_filter_fn": _guards_of_inputs}
    compiled: Any = torch.compile(own, fullgraph=True, dynamic=True, options=options)
    return cast(Callable[[*_Ts], _T], compiled)


def _guards_of_inputs(guards: Sequence[Any]) -> list[bool]:
    """Which guards are looked at again at each call: those of inputs alone.

    At small batches the others take as long as the work. None of the globals that these functions read ever changes,
    and a compiled network stays where it is (`settled`); that layers are replaced or get hooks is not noticed.
    """
    of_locals: list[bool] = torch.compiler.skip_guard_on_globals_unsafe(guards)
    not_of_modules: list[bool] = torch.compiler.skip_guard_on_all_nn_modules_unsafe(guards)
    return [one and other for one, other in zip(of_locals, not_of_modules, strict=True)]
