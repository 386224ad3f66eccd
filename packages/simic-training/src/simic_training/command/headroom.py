"""`tamiyo headroom`: how much better than fixed schedules a rule that looks can be, before any policy is trained."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

import torch
from rich.console import Console

from simic_training.command.engines import check_engine, engine_of
from simic_training.command.failures import reason
from simic_training.command.only import advice, play_only
from simic_training.command.options import given_counts
from simic_training.command.parsing import UsageError
from simic_training.command.progress import ProgressShown
from simic_training.command.run_log import logged
from simic_training.command.saying import say
from simic_training.command.setting_flags import config_of
from simic_training.command.shown import show_table
from simic_training.command.units_shown import UnitsShown
from simic_training.evaluation.headroom import headroom_to_json, measure_headroom
from simic_training.evaluation.headroom_units import QUICK, USUAL, headroom_batches, headroom_plan
from simic_training.evaluation.parts import PartsFolder
from simic_training.evaluation.stages import EvaluationOptions
from simic_training.runs.config import TrainConfig
from simic_training.runs.folder import HEADROOM, RunFolder, RunFolderError, cannot_write
from simic_training.runs.interrupts import InterruptGuard
from simic_training.runs.size import check_hosts

ARMS: Final = "arms.safetensors"
PARTS: Final = "parts"


def headroom_command(
    options: argparse.Namespace, words: Sequence[str], console: Console, guard: InterruptGuard
) -> int:
    """Measure, print tables and gate, and keep them in a folder, where finished parts lie from the first one on.

    Args:
        options: of `tamiyo headroom`.
        words: the whole command, for the log.
        console: for everything that is no complaint.
        guard: signals end the work at once; finished parts stay.

    Raises:
        UsageError, ConfigError, RunFolderError, EngineError: the options cannot be followed; nothing was written.
        LoggedError: anything else went wrong.
        Interrupted: a signal came.
    """
    torch.set_num_threads(1)  # the networks are small, and more threads only wait for each other
    check_engine(options)
    config = config_of(options)
    try:
        chosen = headroom_options(options, config)
        plan = headroom_plan(config.env, chosen)
    except (ValueError, OSError) as error:
        raise UsageError(reason(error)) from error
    run = RunFolder(options.folder or Path(f"{HEADROOM}-quick" if options.quick else HEADROOM))
    folder = PartsFolder(run.path / PARTS)
    if hasattr(options, "only"):
        play_only(options.only, headroom_batches(config.env, plan), plan.lots, folder, words, console)
        return 0
    with engine_of(options) as engine:  # before anything is written
        try:
            run.path.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise RunFolderError(f"folder {run.path} is a file") from None
        except OSError as error:
            raise cannot_write(f"folder {run.path}", error) from None
        with logged(run, words, advice=partial(advice, words, config.seed)):
            with ProgressShown(console, "") as shown:
                played = UnitsShown(shown, console, guard)
                headroom = measure_headroom(
                    config, chosen, engine=engine, folder=folder, on_progress=played.tell
                )
            played.tell_workers(console)
            with guard.shield():
                (run.path / ARMS).write_bytes(headroom.arms)
                written = run.write_json(f"{HEADROOM}.json", headroom_to_json(headroom))
            for table in headroom.tables:
                show_table(console, table)
            for demand in headroom.gate:
                say(console, str(demand))
            say(console, f"Written to {written}")
    return 0


def headroom_options(options: argparse.Namespace, config: TrainConfig) -> EvaluationOptions:
    """How many hosts the options ask for.

    Raises:
        ValueError: too many, or more than `config.memory_limit` holds.
    """
    given = given_counts(options)
    if "hosts_per_member" in given:
        given["training_hosts_per_member"] = given["hosts_per_member"]
    chosen = replace(QUICK if options.quick else USUAL, **given, seed=config.seed)
    check_hosts(config, chosen.hosts_per_member)
    return chosen
