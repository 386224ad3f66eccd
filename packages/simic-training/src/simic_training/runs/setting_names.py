"""Every setting of a run by its dotted name: type, default and meaning; and the nearest one to a wrong name."""

import inspect
import re
import types
import typing
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from difflib import SequenceMatcher
from enum import Enum, IntEnum
from functools import cache
from typing import Any, Final, NamedTuple

from simic_training.runs.config import TrainConfig

_WORDS: Final = {int: "an integer", float: "a number", str: "text", bool: "true or false"}


class Setting(NamedTuple):
    """A setting.

    Args:
        name: dotted, for example "env.host.batch_size".
        hint: its type, as annotated.
        default: its value where nothing sets it.
        meaning: from the docstring of the dataclass that has it.
    """

    name: str
    hint: Any
    default: Any
    meaning: str


@cache
def every_setting() -> tuple[Setting, ...]:
    """All settings of `TrainConfig`, those of a table together, in the order in which they are declared."""
    return tuple(_settings_of(TrainConfig, TrainConfig(), ""))


@cache
def every_table() -> tuple[str, ...]:
    """Dotted names of the tables that settings stand in."""
    names = [setting.name for setting in every_setting()]
    return tuple(dict.fromkeys(name[: dot.start()] for name in names for dot in re.finditer(r"\.", name)))


def _settings_of(kind: type[Any], default: Any, prefix: str) -> Iterator[Setting]:
    hints, meanings = typing.get_type_hints(kind), argument_meanings(kind)
    tables = [field.name for field in fields(kind) if is_dataclass(hints[field.name])]
    for field in fields(kind):
        if field.name not in tables:
            yield Setting(
                prefix + field.name, hints[field.name], getattr(default, field.name), meanings[field.name]
            )
    for name in tables:
        yield from _settings_of(hints[name], getattr(default, name), f"{prefix}{name}.")


def argument_meanings(kind: type[Any]) -> dict[str, str]:
    """What the docstring of a dataclass says under Args about each field; names that stand together share a meaning.

    A line may tell of several: "width, height: of the image. depth: of both."
    """
    _, _, section = (inspect.getdoc(kind) or "").partition("\nArgs:\n")
    field_name = "|".join(field.name for field in fields(kind))
    # After a sentence a name of no field is a word with a colon.
    beginning = re.compile(rf"(?:^ {{4}}|(?<=\.) )((?:{field_name})(?:, (?:{field_name}))*): ")
    meanings: dict[str, str] = {}
    names: list[str] = []
    for line in section.splitlines():
        if not line.startswith("    "):
            break
        more, *told = beginning.split(line)
        meanings |= {name: f"{meanings[name]} {more.strip()}".rstrip() for name in names}
        for joined, meaning in zip(told[::2], told[1::2], strict=True):
            names = joined.split(", ")
            meanings |= dict.fromkeys(names, meaning)
    return meanings


def optional(hint: Any) -> Any:
    """What `hint | None` may be besides None; None for other types."""
    if typing.get_origin(hint) not in (typing.Union, types.UnionType):
        return None
    (inner,) = (option for option in typing.get_args(hint) if option is not type(None))
    return inner


def described(hint: Any) -> str:
    """A type in words: "an integer", "one of head, joint", "a list, each an integer", "a list of 2, each a number"."""
    inner = optional(hint)
    if inner is not None:
        return f"{described(inner)}, or none"
    if typing.get_origin(hint) is tuple:
        item, *others = typing.get_args(hint)
        length = "" if others == [...] else f" of {1 + len(others)}"
        return f"a list{length}, each {described(item)}"
    if issubclass(hint, IntEnum):
        return f"one of {', '.join(member.name.lower() for member in hint)}"
    if issubclass(hint, Enum):
        return f"one of {', '.join(str(member.value) for member in hint)}"
    return _WORDS[hint]


def nearest_setting(name: str) -> str:
    """The setting or table whose dotted name is most like this one; a wrong table before a right name weighs less."""
    return nearest(name, [*(setting.name for setting in every_setting()), *every_table()])


def nearest_table(name: str) -> str:
    """The table whose dotted name is most like this one."""
    return nearest(name, every_table())


def nearest(name: str, known: Sequence[str]) -> str:
    """The most similar of the known names, by the whole name and by what stands after its last dot."""
    return max(known, key=lambda each: _likeness(name, each) + _likeness(_leaf(name), _leaf(each)))


def _likeness(left: str, right: str) -> float:
    return SequenceMatcher(None, left.lower(), right.lower()).ratio()


def _leaf(name: str) -> str:
    return name.rpartition(".")[2]
