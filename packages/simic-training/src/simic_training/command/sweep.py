"""`tamiyo sweep`: every fixed schedule on the same hosts."""

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

import torch
from rich.console import Console

from simic_training.command.engines import check_engine, engine_of
from simic_training.command.failures import reason
from simic_training.command.new_folder import create_plain, new_folder
from simic_training.command.only import play_only, playing
from simic_training.command.parsing import UsageError
from simic_training.command.progress import ProgressShown
from simic_training.command.run_log import logged
from simic_training.command.saying import say
from simic_training.command.setting_flags import config_of
from simic_training.command.shown import show_table
from simic_training.command.units_shown import UnitsShown
from simic_training.evaluation.run import sweep, sweep_batches, sweep_lots
from simic_training.evaluation.stages import EvaluationOptions
from simic_training.evaluation.tables import table_to_json
from simic_training.runs.folder import SCHEDULES
from simic_training.runs.interrupts import InterruptGuard
from simic_training.runs.settings import config_to_mapping
from simic_training.runs.size import check_hosts

SWEEPS: Final = Path("sweeps")


def sweep_command(
    options: argparse.Namespace, words: Sequence[str], console: Console, guard: InterruptGuard
) -> int:
    """Play the schedules, print their table and keep it in a folder of its own.

    Raises:
        UsageError, ConfigError, RunFolderError, EngineError: the options cannot be followed; nothing was written.
        LoggedError: anything else went wrong.
        Interrupted: a signal came.
    """
    torch.set_num_threads(1)  # the networks are small, and more threads only wait for each other
    check_engine(options)
    config = config_of(options)
    members, hosts = options.members_per_lack, options.hosts_per_member
    try:
        chosen = EvaluationOptions(members_per_lack=members, hosts_per_member=hosts, seed=config.seed)
        check_hosts(config, hosts)
        lots = sweep_lots(config.env, chosen)
    except (ValueError, OSError) as error:
        raise UsageError(reason(error)) from error
    if hasattr(options, "only"):
        play_only(options.only, sweep_batches(config.env, lots), lots, None, words, console)
        return 0
    with engine_of(options) as engine:  # before anything is written
        folder = new_folder(create_plain, getattr(options, "out", None), parent=SWEEPS)
        with logged(folder, words, advice=partial(playing, words, config.seed)):
            with ProgressShown(console, "") as shown:
                played = UnitsShown(shown, console, guard)
                table = sweep(config.env, chosen, engine=engine, on_progress=played.tell)
            played.tell_workers(console)
            content = {
                "config": config_to_mapping(config),
                "members_per_lack": members,
                "hosts_per_member": hosts,
                "table": table_to_json(table),
            }
            with guard.shield():
                written = folder.write_json(SCHEDULES, content)
            show_table(console, table)
            say(console, f"Written to {written}")
    return 0
