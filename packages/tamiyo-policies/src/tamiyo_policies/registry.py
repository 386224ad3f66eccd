"""Policies by name: those registered here, and those that installed packages offer as entry points.

A third party offers a class under the group `tamiyo.policies` in its pyproject.toml; it is found by name, and imported
and checked when it is first asked for.
"""

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Final, TypeVar, cast

from tamiyo_policies.config import PolicyConfig
from tamiyo_policies.contract import contract_faults
from tamiyo_policies.errors import PolicyContractError, UnknownPolicyError
from tamiyo_policies.protocol import PolicyBundle

ENTRY_POINT_GROUP: Final = "tamiyo.policies"


PolicyClass = Callable[[PolicyConfig], PolicyBundle]
"""A class of policies: called with a configuration, it gives a policy on the CPU in float32, uncompiled, its first
weights drawn from torch's global generator. Constructors may not read values of their tensors: loading a checkpoint
builds a policy on torch's meta device first, where there are none."""

_ClassT = TypeVar("_ClassT", bound=PolicyClass)
_registered: Final[dict[str, PolicyClass]] = {}


def register_policy(name: str) -> Callable[[_ClassT], _ClassT]:
    """Class decorator: make a policy available under this name. Registering the same class again changes nothing.

    Raises:
        ValueError: the name is empty or another class has it.
        PolicyContractError: the class is not a `PolicyBundle`; lists everything that differs.
    """
    if not name:
        raise ValueError("`name` must not be empty")

    def register(policy_class: _ClassT) -> _ClassT:
        if _registered.get(name, policy_class) is not policy_class:
            raise ValueError(f"policy {name!r} is registered already, as {_registered[name]}")
        _check(name, policy_class)
        _registered[name] = policy_class
        return policy_class

    return register


def get_policy(name: str) -> PolicyClass:
    """The class registered under this name, or offered under it by an installed package.

    Raises:
        UnknownPolicyError: there is none; lists those that exist.
        PolicyContractError: an installed package offers something else than a `PolicyBundle`, or two offer one each.
    """
    if name not in _registered:
        offered = {
            point.value: point for point in entry_points(group=ENTRY_POINT_GROUP) if point.name == name
        }
        if not offered:
            known = ", ".join(list_policies()) or "none (register_builtin_policies() adds the built-in ones)"
            raise UnknownPolicyError(f"policy {name!r} is unknown; policies are {known}")
        if len(offered) > 1:
            raise PolicyContractError(
                f"policy {name!r} is offered twice, as {' and as '.join(offered)}: uninstall one"
            )
        (found,) = offered.values()
        register_policy(name)(cast(PolicyClass, found.load()))
    return _registered[name]


def list_policies() -> tuple[str, ...]:
    """Names of all policies registered or offered by installed packages, sorted. Imports none of them."""
    return tuple(sorted(_registered.keys() | entry_points(group=ENTRY_POINT_GROUP).names))


def registered_policy(name: str) -> PolicyClass | None:
    """The class registered under this name; what installed packages offer is not looked at."""
    return _registered.get(name)


def clear_registry() -> None:
    """Forget every registration. What installed packages offer can still be found."""
    _registered.clear()


def _check(name: str, policy_class: object) -> None:
    if not isinstance(policy_class, type):
        raise PolicyContractError(f"policy {name!r} must be a class, not {policy_class!r}")
    faults = contract_faults(policy_class)
    if faults:
        listing = "".join(f"\n  - {fault}" for fault in faults)
        raise PolicyContractError(
            f"{policy_class.__qualname__}, to be policy {name!r}, is no PolicyBundle:{listing}"
        )
