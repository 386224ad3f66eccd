"""Where settings come from: a preset, a TOML file, flags. Every complaint says which of them is to blame, and where."""

import tomllib
import typing
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from leyline_types import FileRefusedError, read_file
from simic_training.growth.config import DIGITS
from simic_training.runs.config import TrainConfig
from simic_training.runs.folder import MAX_CONFIG_BYTES
from simic_training.runs.presets import preset_mapping
from simic_training.runs.setting_names import every_setting, optional
from simic_training.runs.settings import ConfigError, build, merge, read_values

_LONGEST_LINE: Final = 10_000
_MOST_LINES: Final = 1000
"""Of a settings file whose lines are looked at one by one: the time that this takes grows with their square."""


class Source(NamedTuple):
    """Some settings.

    Args:
        values: nested, as `read_values` gives them.
        place: where the setting of a dotted name stands, for messages.
    """

    values: dict[str, Any]
    place: Callable[[str], str]


def combine(sources: Sequence[Source]) -> TrainConfig:
    """The settings of all sources; a later one wins.

    Raises:
        ConfigError: a value outside its range; says where the last of those that disagree was given.
    """
    values: dict[str, Any] = {}
    for source in sources:
        values = merge(values, source.values)
    try:
        return build(TrainConfig, values)
    except ConfigError as error:
        for source in reversed(sources):
            for key in error.keys:
                if _holds(source.values, key):
                    raise ConfigError(f"{source.place(key)}: {error}", error.keys) from None
        raise


def from_preset(name: str) -> Source:
    """The settings of a preset.

    Raises:
        ConfigError: there is none of this name.
    """
    return Source(read_values(TrainConfig, preset_mapping(name)), lambda key: f"preset {name}")


def from_toml(path: Path) -> Source:
    """The settings in a TOML file; `env.data` is understood from the file's folder.

    Raises:
        ConfigError: the file cannot be read, is no TOML, or holds an unknown key or a value of the wrong type.
    """
    try:
        text = read_file(path, max_bytes=MAX_CONFIG_BYTES).decode("utf-8")
        content = _parse_toml(text)
    except OSError as error:
        raise ConfigError(f"settings file {path} cannot be read: {error.strerror}") from None
    except FileRefusedError as error:
        raise ConfigError(f"settings file cannot be read: {error}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"settings file {path} is not UTF-8 text: {error}") from None
    except ValueError as error:
        raise ConfigError(f"settings file {path} is not valid TOML: {error}") from None
    place = partial(_place_in_file, path, text)
    try:
        values = read_values(TrainConfig, content)
    except ConfigError as error:
        raise ConfigError(f"{place(error.keys[0])}: {error}", error.keys) from None
    return Source(_with_whole_path(values, path.parent), place)


def _parse_toml(text: str) -> dict[str, Any]:
    """What TOML says.

    Raises:
        ValueError: it says nothing, holds a number of more digits than Python reads, is nested too deeply, or has a
            line that nobody typed: the time for a key of many parts grows with the square of their number.
    """
    longest = max(map(len, text.split("\n")))
    if longest > _LONGEST_LINE:
        raise ValueError(f"it has a line of {longest} characters, expected at most {_LONGEST_LINE}")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def from_flags(texts: Mapping[str, str]) -> Source:
    """The settings that were given as text by dotted name; `env.data` is understood from the present folder.

    Raises:
        ConfigError: an unknown name or a text that is no such value.
    """
    hints = {setting.name: setting.hint for setting in every_setting()}
    content: dict[str, Any] = {}
    for name, text in texts.items():
        first, *parts = name.split(".")
        value = _from_text(hints[name], text) if name in hints else text
        for part in reversed(parts):
            value = {part: value}
        content = merge(content, {first: value})
    try:
        values = read_values(TrainConfig, content)
    except ConfigError as error:
        raise ConfigError(f"{flag(error.keys[0])}: {error}", error.keys) from None
    return Source(_with_whole_path(values, Path()), flag)


def flag(name: str) -> str:
    """The option of the command that sets the setting of this name."""
    return "--" + name.replace("_", "-")


def to_text(value: Any) -> str:
    """Plain data as it would stand after a flag: "none", "true", "4,6"."""
    match value:
        case None:
            return "none"
        case bool():
            return str(value).lower()
        case list():
            return ",".join(to_text(each) for each in value)
        case _:
            return str(value)


def _from_text(hint: Any, text: str) -> Any:
    """The plain value that a text stands for; where it is none of its type, the text itself, which is refused then."""
    inner = optional(hint)
    if inner is not None:
        return None if text.lower() == "none" else _from_text(inner, text)
    if typing.get_origin(hint) is tuple:
        return _list_from_text(hint, text)
    if hint is bool:
        return {"true": True, "false": False}.get(text.lower(), text)
    if hint in (int, float):
        try:
            return hint(text)
        except ValueError:
            return text
    return text


def _list_from_text(hint: Any, text: str) -> Any:
    if text.lstrip().startswith("["):
        try:
            return _parse_toml(f"value = {text}")["value"]
        except ValueError:
            return text
    item = typing.get_args(hint)[0]
    return [_from_text(item, part.strip()) for part in text.split(",")] if text.strip() else []


def _with_whole_path(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A run goes on from any folder, so that the path of its data must not depend on one."""
    data = values.get("env", {}).get("data", DIGITS)
    if data == DIGITS:
        return values
    try:
        path = str((folder / data).resolve())
        path.encode()  # as it is recorded
    except (OSError, ValueError) as error:  # a NUL, links in a circle, no Unicode
        raise ConfigError(f"`env.data` is not a path: {error}", ["env.data"]) from None
    return merge(values, {"env": {"data": path}})


def _holds(values: Mapping[str, Any], key: str) -> bool:
    first, _, rest = key.partition(".")
    if first not in values or not rest:
        return first in values
    return isinstance(values[first], Mapping) and _holds(values[first], rest)


def _place_in_file(path: Path, text: str, key: str) -> str:
    """File and line: the first line that, with those above it, makes a TOML file which holds the key."""
    lines = text.splitlines(keepends=True)
    if len(lines) > _MOST_LINES:
        return str(path)
    for number in range(1, len(lines) + 1):
        try:
            content = _parse_toml("".join(lines[:number]))
        except ValueError:
            continue  # in the middle of a value
        if _holds(content, key):
            return f"{path}, line {number}"
    return str(path)
