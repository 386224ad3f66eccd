"""`tamiyo train`: a new run, or one that goes on."""

import argparse
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Final

import torch
from rich.console import Console

from simic_training.command.engines import check_engine, engine_of
from simic_training.command.failures import reason
from simic_training.command.grow import growing
from simic_training.command.growth_shown import show_growth
from simic_training.command.new_folder import new_folder
from simic_training.command.parsing import UsageError
from simic_training.command.progress import ProgressShown
from simic_training.command.run_log import logged
from simic_training.command.saying import quoted, say
from simic_training.command.setting_flags import chosen_preset, config_of, given_settings
from simic_training.command.tensorboard import TensorBoardLog, require_tensorboard
from simic_training.command.training_news import TrainingNews
from simic_training.command.workers_shown import show_workers
from simic_training.engines.faults import UnitFailedError
from simic_training.engines.unit import Engine
from simic_training.runs.config import TrainConfig
from simic_training.runs.folder import RunFolder
from simic_training.runs.interrupts import Interrupted, InterruptGuard
from simic_training.runs.lock import locked
from simic_training.runs.sources import flag
from simic_training.runs.training import Progress, fresh_state, train
from tamiyo_policies import PolicyContractError

RUNS: Final = Path("runs")
"""Where runs without a folder of their own are put."""


def train_command(
    options: argparse.Namespace, words: Sequence[str], console: Console, guard: InterruptGuard
) -> int:
    """Train until the run is done, then show what its policy does.

    Args:
        options: of `tamiyo train`.
        words: the whole command, for the log.
        console: for everything that is no complaint.
        guard: signals end the run between two updates.

    Raises:
        UsageError, ConfigError, RunFolderError, EngineError: the options cannot be followed; nothing was written.
        LoggedError: anything else went wrong.
        Interrupted: a signal came.
    """
    torch.set_num_threads(1)  # the networks are small, and more threads only wait for each other
    if options.tensorboard:
        require_tensorboard()
    check_engine(options)
    if hasattr(options, "resume"):
        _go_on(options, words, console, guard)
    else:
        _start(options, words, console, guard)
    return 0


def _start(
    options: argparse.Namespace, words: Sequence[str], console: Console, guard: InterruptGuard
) -> None:
    config = config_of(options)
    check_startable(config)
    with engine_of(options) as engine:  # before anything is written
        run = new_folder(partial(RunFolder.create, config=config), getattr(options, "run", None), parent=RUNS)
        config = run.read_config()  # with the digest of the data
        with logged(run, words, advice=partial(_advice, run)), locked(run):
            say(
                console,
                f"Preset {chosen_preset(options)}: {config.policy} policy, seed {config.seed}, "
                f"{config.updates * config.batch} episodes of {_lengths(config)} epochs, "
                f"{config.batch} at once; run folder {run.path}",
            )
            _train(config, run, engine, options, console, guard, resume=False)


def _go_on(
    options: argparse.Namespace, words: Sequence[str], console: Console, guard: InterruptGuard
) -> None:
    refused = [f"--{name}" for name in ("preset", "config", "run") if hasattr(options, name)]
    refused += [flag(name) for name in given_settings(options)]
    if refused:
        raise UsageError(f"--resume goes on with the run's own settings, without {', '.join(refused)}")
    run = RunFolder.open_run(options.resume)
    with engine_of(options) as engine, logged(run, words, advice=partial(_advice, run)), locked(run):
        config = run.read_config()
        say(console, f"Going on with {run.path}")
        _train(config, run, engine, options, console, guard, resume=True)


def _lengths(config: TrainConfig) -> str:
    least, greatest = config.env.family.max_epochs
    return str(least) if least == greatest else f"{least} to {greatest}"


def check_startable(config: TrainConfig) -> None:
    """See that a run with these settings can start, before anything is written.

    Raises:
        UsageError: there is no such policy or data, or the hosts cannot be built.
    """
    try:
        fresh_state(config)
    except (ValueError, OSError, PolicyContractError, ImportError, AttributeError) as error:
        raise UsageError(f"a run cannot start with these settings: {reason(error)}") from error


def _train(
    config: TrainConfig,
    run: RunFolder,
    engine: Engine,
    options: argparse.Namespace,
    console: Console,
    guard: InterruptGuard,
    *,
    resume: bool,
) -> None:
    with ProgressShown(console, "update") as shown, closing(TensorBoardLog(run)) as tensorboard:
        news = TrainingNews(shown)

        def tell(progress: Progress) -> None:
            news.tell(progress)
            if options.tensorboard:
                tensorboard.write(progress)

        try:
            state = train(config, run, guard, on_progress=tell, resume=resume, engine=engine)
        except Interrupted:
            done = run.whole_lines()
            say(console, f"Stopped after update {done}/{config.updates}; {_resuming(run)}")
            raise
    if news.load is not None:
        show_workers(console, news.load)
        show_growth(state, config, console)
    else:
        say(
            console,
            f"The run was finished before, after {config.updates} updates: there is nothing left to do",
        )
    say(console, f"Run folder {run.path}: {', '.join(sorted(path.name for path in run.path.iterdir()))}")
    say(console, f"Next: tamiyo report {quoted(run.path)}")
    say(console, f"      tamiyo evaluate {quoted(run.path)}")


def _advice(run: RunFolder, error: Exception) -> str:
    match error:
        case UnitFailedError():
            return f"{growing(run, error.unit)}, and once that works {_resuming(run)}"
        case OSError() if not run.path.exists():
            return f"{run.path} is not there any more: tamiyo train --resume with its new path goes on"
        case OSError() | MemoryError():
            return f"nothing is lost: {_resuming(run)}"
        case _:
            return ""


def _resuming(run: RunFolder) -> str:
    return f"tamiyo train --resume {quoted(run.path)} goes on"
