"""Settings as plain nested mappings (of JSON, TOML, flags) and back, strictly: a typing error is never a default."""

import re
import typing
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum, IntEnum
from typing import Any, Final, TypeVar, cast

from leyline_types import brief
from simic_training.runs.config import TrainConfig
from simic_training.runs.setting_names import described, nearest_setting, nearest_table, optional

ConfigT = TypeVar("ConfigT")

_INTEGERS: Final = 2**63


class ConfigError(ValueError):
    """Settings that cannot be used: an unknown key, a value of the wrong type or outside its range.

    Args:
        message: one line.
        keys: dotted names of the settings that it is about.
    """

    def __init__(self, message: str, keys: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.keys = tuple(keys)


def config_to_mapping(config: Any) -> dict[str, Any]:
    """A dataclass as nested plain data, every field of it: enumerations go by name (IntEnum) or value."""
    return {field.name: _to_plain(getattr(config, field.name)) for field in fields(config)}


def config_from_mapping(content: Mapping[str, Any], *, complete: bool = False) -> TrainConfig:
    """The settings of a run.

    Args:
        content: nested plain data by field name.
        complete: whether every setting must be there, as `config_to_mapping` writes them; else what is left out takes
            its default.

    Raises:
        ConfigError: names the key, the value and what was expected; an unknown key with the nearest known one.
    """
    return build(TrainConfig, read_values(TrainConfig, content, complete=complete))


def read_values(
    kind: type[Any], content: Mapping[str, Any], where: str = "", *, complete: bool = False
) -> dict[str, Any]:
    """Plain data with the types of a dataclass's fields; ranges are not looked at.

    Args:
        kind: the dataclass.
        content: by field name.
        where: dotted name of the table, for messages.
        complete: whether every field must be there.

    Raises:
        ConfigError: an unknown key, or a value of the wrong type.
    """
    if not isinstance(content, Mapping):
        raise _wrong(where or "the settings", content, "a table")
    hints = typing.get_type_hints(kind)
    prefix = f"{where}." if where else ""
    # Before any value: where names are of another version, values are too.
    for name, value in content.items():
        if name not in hints:
            dotted = brief(f"{prefix}{name}")
            near = nearest_table(dotted) if isinstance(value, Mapping) else nearest_setting(dotted)
            raise ConfigError(f"unknown key `{dotted}`; the nearest is `{near}`", [dotted])
    values = {
        name: _from_plain(hints[name], value, f"{prefix}{name}", complete) for name, value in content.items()
    }
    if complete and (missing := [name for name in hints if name not in values]):
        raise ConfigError(f"`{prefix}{missing[0]}` is missing", [f"{prefix}{missing[0]}"])
    return values


def build(kind: type[ConfigT], values: Mapping[str, Any], where: str = "") -> ConfigT:
    """A dataclass from what `read_values` gave; what is left out takes its default.

    Raises:
        ConfigError: a value outside its range.
    """
    hints = typing.get_type_hints(kind)
    arguments = {
        name: build(hints[name], value, f"{where}.{name}" if where else name)
        if is_dataclass(hints[name])
        else value
        for name, value in values.items()
    }
    try:
        return kind(**arguments)
    except ValueError as error:
        if isinstance(error, ConfigError):
            raise
        raise _out_of_range(kind, arguments, where, str(error)) from None


def merge(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    """Nested mappings as one; where both have a value, that of `upper`."""
    merged = dict(lower)
    for name, value in upper.items():
        below = merged.get(name)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        merged[name] = merge(cast(Mapping[str, Any], below), value) if both else value
    return merged


def _out_of_range(kind: type[Any], arguments: Mapping[str, Any], where: str, message: str) -> ConfigError:
    """The complaint of a dataclass, which knows its own fields only, with the names that the user knows."""
    prefix = f"{where}." if where else ""
    names = "|".join(field.name for field in fields(kind))
    own = rf"(?:{names})(?:\.\w+)?"  # a field, or a field of a table among them
    message, found = re.subn(rf"`({own})`", rf"`{prefix}\1`", message)
    if found:
        return ConfigError(message, re.findall(rf"`({re.escape(prefix)}{own})`", message))
    to_blame = [
        f"{prefix}{name}" for name, value in arguments.items() if not _stands_alone(kind, name, value)
    ]
    return ConfigError(f"`{'`, `'.join(to_blame)}`: {message}" if to_blame else message, to_blame)


def _stands_alone(kind: type[Any], name: str, value: Any) -> bool:
    try:
        kind(**{name: value})
    except ValueError:
        return False
    return True


def _to_plain(value: Any) -> Any:
    if is_dataclass(value):
        return config_to_mapping(value)
    match value:
        case IntEnum():
            return value.name.lower()
        case Enum():
            return value.value
        case tuple():
            return [_to_plain(each) for each in value]
        case _:
            return value


def _from_plain(hint: Any, value: Any, where: str, complete: bool) -> Any:
    inner = optional(hint)
    if inner is not None:
        return None if value is None else _from_plain(inner, value, where, complete)
    if is_dataclass(hint) and isinstance(hint, type):
        return read_values(hint, value, where, complete=complete)
    if typing.get_origin(hint) is tuple:
        item, *others = typing.get_args(hint)
        if not isinstance(value, list | tuple) or (others != [...] and len(value) != 1 + len(others)):
            raise _wrong(where, value, described(hint))
        return tuple(
            _from_plain(item, each, f"{where}[{index}]", complete) for index, each in enumerate(value)
        )
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _member(hint, value, where)
    if hint is float and type(value) is int:
        return _as_float(value, where)
    if type(value) is not hint:
        raise _wrong(where, value, described(hint))
    if hint is int and not -_INTEGERS <= value < _INTEGERS:
        raise _wrong(where, value, "an integer of 64 bits")
    return value


def _member(hint: type[Enum], value: Any, where: str) -> Enum:
    if isinstance(value, str):
        for member in hint:
            name = member.name if issubclass(hint, IntEnum) else str(member.value)
            if value.lower() == name.lower():
                return member
    raise _wrong(where, value, described(hint))


def _as_float(value: int, where: str) -> float:
    try:
        return float(value)
    except OverflowError:
        raise _wrong(where, value, "a number below 1.8e308") from None


def _wrong(where: str, value: Any, expected: str) -> ConfigError:
    try:
        shown = brief(repr(value))
    except RecursionError:
        shown = f"a {type(value).__name__} that is nested too deeply to be shown"
    return ConfigError(f"`{where}` must be {expected}, not {shown}", [where.partition("[")[0]])
