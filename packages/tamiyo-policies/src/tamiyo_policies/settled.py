"""Compiled means settled: after compiling, nothing moves a network to another device or dtype."""

from collections.abc import Callable
from typing import NoReturn

from torch import Tensor, nn

from tamiyo_policies.errors import CompiledPolicyError


def settle(network: nn.Module) -> None:
    """Make every mover of the network and of its parts raise `CompiledPolicyError`, before it has moved anything.

    `to`, `cuda`, `cpu`, `half`, `bfloat16`, `float`, `double`, `type`, `to_empty` and `share_memory` all go through
    `nn.Module._apply`, so that one is replaced, on the instances. Types and state_dict keys stay as they are.
    """
    for module in network.modules():
        object.__setattr__(module, "_apply", _refuse)


def _refuse(fn: Callable[[Tensor], Tensor], recurse: bool = True) -> NoReturn:
    raise CompiledPolicyError(
        "a compiled policy keeps its device and dtype; make one where it is to live with "
        "create_policy(PolicyConfig(device=..., dtype=..., compile_mode=...)) and load its weights with "
        "load_state_dict, or load its checkpoint with load_checkpoint(path, device=...)"
    )
