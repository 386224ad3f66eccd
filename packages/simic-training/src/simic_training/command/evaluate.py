"""`tamiyo evaluate`: verdicts on a policy beside everything else, on hosts that it never saw."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch
from rich.console import Console

from simic_training.command.engines import check_engine, engine_of
from simic_training.command.failures import reason
from simic_training.command.only import advice, play_only
from simic_training.command.options import given_counts
from simic_training.command.parsing import UsageError
from simic_training.command.progress import ProgressShown
from simic_training.command.run_log import logged
from simic_training.command.saying import quoted, say
from simic_training.command.shown import show_table
from simic_training.command.units_shown import UnitsShown
from simic_training.evaluation.parts import PartsFolder
from simic_training.evaluation.run import evaluate_run, evaluation_to_json, weights_in
from simic_training.evaluation.stages import FULL, EvaluationOptions
from simic_training.evaluation.units import evaluation_batches, plan_of
from simic_training.growth.draws import check_data
from simic_training.runs.config import TrainConfig
from simic_training.runs.folder import EVALUATION, RunFolder
from simic_training.runs.interrupts import InterruptGuard
from simic_training.runs.size import check_hosts


def evaluate_command(
    options: argparse.Namespace, words: Sequence[str], console: Console, guard: InterruptGuard
) -> int:
    """Evaluate a run, print the tables and keep them in its folder, where finished parts lie from the first one on.

    Args:
        options: of `tamiyo evaluate`.
        words: the whole command, for the log.
        console: for everything that is no complaint.
        guard: signals end the evaluation at once; an older one is then left as it was, and finished parts stay.

    Raises:
        UsageError, DataError, RunFolderError, EngineError: the options cannot be followed.
        LoggedError: anything else went wrong.
        Interrupted: a signal came.
    """
    torch.set_num_threads(1)  # the networks are small, and more threads only wait for each other
    check_engine(options)
    run = RunFolder.open_run(options.run)
    config = run.read_config()
    try:
        check_data(config.env)
    except OSError as error:
        raise UsageError(f"the data of the run cannot be read: {reason(error)}") from error
    chosen = evaluation_options(options, config)
    folder = PartsFolder(run.evaluation_parts)
    if hasattr(options, "only"):
        plan = plan_of(config.env, chosen)
        batches = evaluation_batches(weights_in(run.checkpoint), plan)
        play_only(options.only, batches, plan.lots, folder, words, console)
        return 0
    with engine_of(options) as engine, logged(run, words, advice=partial(advice, words, options.seed)):
        with ProgressShown(console, "") as shown:
            played = UnitsShown(shown, console, guard)
            evaluation = evaluate_run(
                config,
                run.checkpoint,
                chosen,
                trained_episodes=run.whole_lines() * config.batch,
                engine=engine,
                folder=folder,
                on_progress=played.tell,
            )
        played.tell_workers(console)
        with guard.shield():
            written = run.write_json(EVALUATION, evaluation_to_json(evaluation), indent=None)
        for table in evaluation.tables:
            show_table(console, table)
        say(console, f"Written to {written}")
        say(console, f"Next: tamiyo report {quoted(run.path)}")
    return 0


def evaluation_options(options: argparse.Namespace, config: TrainConfig) -> EvaluationOptions:
    """What the options ask to play.

    Raises:
        UsageError: there are too few hosts, or data that cannot be used.
    """
    try:
        usual = FULL if options.full else EvaluationOptions()
        chosen = replace(usual, **given_counts(options), seed=options.seed, data=tuple(options.data))
        check_hosts(config, chosen.hosts_per_member)
        plan_of(config.env, chosen)
    except (ValueError, OSError) as error:
        raise UsageError(reason(error)) from error
    return chosen
