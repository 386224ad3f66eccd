"""Every setting of a run as an option of its own, made from the dataclasses."""

import argparse
import typing
from collections.abc import Mapping
from enum import Enum, IntEnum
from pathlib import Path
from typing import Any, Final

from simic_training.runs.config import TrainConfig
from simic_training.runs.presets import DEFAULT_PRESET, PRESETS, preset
from simic_training.runs.setting_names import Setting, every_setting, optional
from simic_training.runs.settings import config_to_mapping
from simic_training.runs.sources import combine, flag, from_flags, from_preset, from_toml, to_text

_METAVARS: Final = {int: "INTEGER", float: "NUMBER", str: "TEXT", bool: "true|false"}
_MOST_SHOWN = 4


def add_preset_and_file(parser: argparse.ArgumentParser) -> None:
    """The options that set many settings at once."""
    parser.add_argument(
        "--preset",
        choices=tuple(PRESETS),
        default=argparse.SUPPRESS,
        help=f"settings to start from (default: {DEFAULT_PRESET}); see tamiyo list presets",
    )
    parser.add_argument(
        "--config",
        type=Path,
        default=argparse.SUPPRESS,
        metavar="FILE.toml",
        help="settings that replace those of the preset; options replace both",
    )


def add_setting_flags(parser: argparse.ArgumentParser) -> None:
    """An option for each setting, in a group of their own."""
    group = parser.add_argument_group(
        "settings",
        f"Each can stand in FILE.toml too, with underscores (a.b is key b of table [a]). In brackets: the value under "
        f"preset {DEFAULT_PRESET}, and under others where it differs.",
    )
    for setting in every_setting():
        group.add_argument(
            flag(setting.name),
            dest=setting.name,
            default=argparse.SUPPRESS,
            metavar=metavar(setting.hint),
            help=f"{setting.meaning} [{defaults_of(setting)}]".replace("%", "%%"),
        )


def given_settings(options: argparse.Namespace) -> dict[str, str]:
    """The texts of those settings that were given as options, by dotted name."""
    given = vars(options)
    return {setting.name: given[setting.name] for setting in every_setting() if setting.name in given}


def chosen_preset(options: argparse.Namespace) -> str:
    """The name of the preset that the options start from."""
    name: str = getattr(options, "preset", DEFAULT_PRESET)
    return name


def config_of(options: argparse.Namespace) -> TrainConfig:
    """The settings that the options ask for: preset, then file, then flags.

    Raises:
        ConfigError: says what is wrong, with which value, and where it was given.
    """
    sources = [from_preset(chosen_preset(options))]
    if hasattr(options, "config"):
        sources.append(from_toml(options.config))
    return combine([*sources, from_flags(given_settings(options))])


def defaults_of(setting: Setting) -> str:
    """The value of a setting under the default preset, and under the others where it is another."""
    texts = {name: to_text(value_in(preset(name), setting.name)) for name in PRESETS}
    usual = texts.pop(DEFAULT_PRESET)
    return "; ".join([usual, *(f"{name}: {text}" for name, text in texts.items() if text != usual)])


def value_in(config: TrainConfig, name: str) -> Any:
    """The value of the setting of this dotted name, as plain data."""
    value: Any = config_to_mapping(config)
    for part in name.split("."):
        assert isinstance(value, Mapping)
        value = value[part]
    return value


def metavar(hint: Any) -> str:
    """What stands for a value in the help: "INTEGER", "head|joint", "NUMBER,...", "NUMBER,NUMBER"."""
    inner = optional(hint)
    if inner is not None:
        return f"{metavar(inner)}|none"
    if typing.get_origin(hint) is tuple:
        return ",".join("..." if item is ... else metavar(item) for item in typing.get_args(hint))
    if issubclass(hint, Enum):
        names = [member.name.lower() if issubclass(hint, IntEnum) else str(member.value) for member in hint]
        return "|".join(names) if len(names) <= _MOST_SHOWN else "NAME"
    return _METAVARS[hint]
