"""`tamiyo list`: names that can be given to the other commands, and runs."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from kasmina_hosts import build_blueprint
from leyline_types import BlueprintAction, Topology, germinable_blueprints
from simic_training.command.parsing import UsageError
from simic_training.command.run_rows import run_rows
from simic_training.command.saying import say
from simic_training.command.setting_flags import defaults_of, value_in
from simic_training.command.shown import show_rows
from simic_training.runs.interrupts import InterruptGuard
from simic_training.runs.presets import PRESETS, preset
from simic_training.runs.setting_names import described, every_setting
from simic_training.runs.sources import to_text
from tamiyo_policies import (
    CONTROLLER_NAMES,
    get_policy,
    list_policies,
    load_controller,
    register_builtin_policies,
)

_WIDTHS: Final = MappingProxyType({Topology.CNN: 4, Topology.TRANSFORMER: 16})


def list_command(
    options: argparse.Namespace, words: Sequence[str], console: Console, guard: InterruptGuard
) -> int:
    """Print what was asked for, or everything that is no run.

    Raises:
        UsageError: a folder was given for something else than runs.
    """
    what: str | None = options.what
    folder: Path | None = options.folder
    if folder is not None and what != "runs":
        raise UsageError(f"only tamiyo list runs takes a folder, not tamiyo list {what}")
    if what == "runs":
        list_runs(console, Path("runs") if folder is None else folder)
    for name, show in _SHOWN.items():
        if what in (None, name):
            show(console)
    return 0


def list_policies_here(console: Console) -> None:
    """Policies by name."""
    register_builtin_policies()
    rows = []
    for name in list_policies():
        try:
            found = get_policy(name)
        except Exception as error:  # whatever a foreign module does when it is imported
            rows.append((name, f"broken, see tamiyo doctor: {type(error).__name__}"))
        else:
            rows.append((name, f"{found.__module__}.{getattr(found, '__qualname__', found)}"))
    show_rows(console, "Policies (tamiyo train --policy NAME)", ("name", "class"), rows)


def list_controllers(console: Console) -> None:
    """What `load_controller` takes besides paths."""
    rows = [(name, _first_sentence(load_controller(name).__doc__)) for name in CONTROLLER_NAMES]
    rows.append(("FILE or RUN", "The policy in a checkpoint, or that of a run."))
    show_rows(console, "Controllers (load_controller(NAME))", ("name", ""), rows)


def list_presets(console: Console) -> None:
    """Presets, and each setting in which they differ from each other or from the defaults."""
    configs = {name: preset(name) for name in PRESETS}
    rows = []
    for setting in every_setting():
        texts = [to_text(value_in(config, setting.name)) for config in configs.values()]
        if any(_sets(name, setting.name) for name in PRESETS):
            rows.append((setting.name, *texts))
    show_rows(console, "Presets (tamiyo train --preset NAME)", ("setting", *configs), rows)


def list_settings(console: Console) -> None:
    """Every setting with its type, default and meaning."""
    say(console, "Settings (tamiyo train --NAME VALUE, or in FILE.toml); in brackets the defaults")
    for setting in every_setting():
        say(console, f"{setting.name}: {described(setting.hint)} [{defaults_of(setting)}]")
        console.print(Padding(Text(setting.meaning), (0, 0, 0, 4)))


def list_blueprints(console: Console) -> None:
    """Blueprints, where they fit, and how many parameters they add to a narrow host."""
    rows = [
        (blueprint.blueprint_id, *(_parameters(blueprint, topology) for topology in Topology))
        for blueprint in BlueprintAction
        if blueprint is not BlueprintAction.NOOP
    ]
    headings = [f"parameters, {topology} of width {_WIDTHS[topology]}" for topology in Topology]
    show_rows(console, "Blueprints", ("name", *headings), rows)


def list_runs(console: Console, folder: Path) -> None:
    """The runs in a folder.

    Raises:
        UsageError: there is no such folder.
    """
    if not folder.is_dir():
        raise UsageError(f"folder {folder} does not exist")
    show_rows(console, f"Runs in {folder}", ("run", "updates", "return", "state"), list(run_rows(folder)))


def _first_sentence(text: str | None) -> str:
    return (text or "").partition(". ")[0].partition("\n")[0].rstrip(".") + "."


def _sets(preset_name: str, setting: str) -> bool:
    content: object = PRESETS[preset_name]
    for part in setting.split("."):
        if not isinstance(content, dict) or part not in content:
            return False
        content = content[part]
    return True


def _parameters(blueprint: BlueprintAction, topology: Topology) -> str:
    if blueprint not in germinable_blueprints(topology):
        return "-"
    module = build_blueprint(blueprint, topology, _WIDTHS[topology])
    return str(sum(parameter.numel() for parameter in module.parameters()))


_SHOWN: Final = MappingProxyType[str, Callable[[Console], None]](
    {
        "policies": list_policies_here,
        "controllers": list_controllers,
        "presets": list_presets,
        "blueprints": list_blueprints,
        "settings": list_settings,
    }
)
LISTS: Final = (*_SHOWN, "runs")
