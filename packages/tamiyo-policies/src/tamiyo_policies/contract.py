"""Whether a class keeps to `PolicyBundle`: members, properties and signatures, every difference at once."""

import inspect
from functools import cached_property
from inspect import Parameter, Signature
from typing import Final

from tamiyo_policies.protocol import PolicyBundle

_MEMBERS: Final = {name: member for name, member in vars(PolicyBundle).items() if not name.startswith("_")}


def contract_faults(policy_class: type) -> tuple[str, ...]:
    """What keeps `policy_class` from being a `PolicyBundle`, one phrase each; empty if nothing does.

    Held against the Protocol: presence, whether it is a property or a method, parameter names, order, kinds and
    defaults. More parameters are fine if they have defaults. Annotations are a type checker's business.
    """
    faults = _constructor_faults(policy_class)
    for name, member in _MEMBERS.items():
        try:
            own = inspect.getattr_static(policy_class, name)
        except AttributeError:
            faults.append(f"{name} is missing")
            continue
        if isinstance(member, property):
            if not isinstance(own, property | cached_property):
                faults.append(f"{name} must be a property, not {_kind(own)}")
        elif not inspect.isfunction(own):
            faults.append(f"{name} must be a method, not {_kind(own)}")
        else:
            faults += _signature_faults(name, inspect.signature(own), inspect.signature(member))
    abstract: frozenset[str] = getattr(policy_class, "__abstractmethods__", frozenset())
    faults += [f"{name} is abstract" for name in sorted(abstract)]
    return tuple(faults)


def _constructor_faults(policy_class: type) -> list[str]:
    try:
        inspect.signature(policy_class).bind(None)
    except (TypeError, ValueError) as error:
        return [f"the class must be callable with one argument, its PolicyConfig ({error})"]
    return []


def _signature_faults(name: str, own: Signature, due: Signature) -> list[str]:
    faults = []
    mine, theirs = own.parameters, due.parameters
    for parameter in theirs.values():
        if parameter.name not in mine:
            faults.append(f"{name} lacks parameter {parameter.name!r}")
            continue
        found = mine[parameter.name]
        if found.kind is not parameter.kind:
            faults.append(
                f"{name}: parameter {parameter.name!r} must be {parameter.kind.description}, "
                f"not {found.kind.description}"
            )
        if found.default != parameter.default:
            faults.append(
                f"{name}: parameter {parameter.name!r} must {_default(parameter)}, but it {_has(found)}"
            )
    optional = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    faults += [
        f"{name}: parameter {extra.name!r} is not in the contract and has no default"
        for extra in mine.values()
        if extra.name not in theirs and extra.default is Parameter.empty and extra.kind not in optional
    ]
    ours = [each for each in mine if _is_positional(mine[each])]
    due_first = [each for each in theirs if _is_positional(theirs[each]) and each in ours]
    if ours[: len(due_first)] != due_first:
        faults.append(f"{name}: parameters stand in the order {', '.join(ours)}, not as in {name}{due}")
    return faults


def _is_positional(parameter: Parameter) -> bool:
    return parameter.kind is Parameter.POSITIONAL_OR_KEYWORD


def _default(parameter: Parameter) -> str:
    return "have no default" if parameter.default is Parameter.empty else f"default to {parameter.default!r}"


def _has(parameter: Parameter) -> str:
    return "has none" if parameter.default is Parameter.empty else f"defaults to {parameter.default!r}"


def _kind(member: object) -> str:
    return "a method" if inspect.isfunction(member) else f"a {type(member).__name__}"
