"""`tamiyo evaluate`: tables of a policy beside everything else, on hosts that it never saw."""

import argparse
from collections.abc import Sequence
from functools import partial

import torch
from rich.console import Console

from simic_training.command.engines import check_engine, engine_of
from simic_training.command.failures import reason
from simic_training.command.only import play_only, playing
from simic_training.command.parsing import UsageError
from simic_training.command.progress import ProgressShown
from simic_training.command.run_log import logged
from simic_training.command.saying import quoted, say
from simic_training.command.shown import show_table
from simic_training.command.units_shown import UnitsShown
from simic_training.evaluation.options import EvaluationOptions
from simic_training.evaluation.results import evaluation_to_json
from simic_training.evaluation.run import evaluate_run, weights_in
from simic_training.evaluation.stages import stages_of
from simic_training.growth.draws import check_data
from simic_training.runs.config import TrainConfig
from simic_training.runs.folder import EVALUATION, RunFolder
from simic_training.runs.interrupts import InterruptGuard
from simic_training.runs.size import check_hosts


def evaluate_command(
    options: argparse.Namespace, words: Sequence[str], console: Console, guard: InterruptGuard
) -> int:
    """Evaluate a run, print the tables and keep them in its folder.

    Args:
        options: of `tamiyo evaluate`.
        words: the whole command, for the log.
        console: for everything that is no complaint.
        guard: signals end the evaluation at once; an older one is then left as it was.

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
    if hasattr(options, "only"):
        play_only(options.only, weights_in(run.checkpoint), config.env, chosen, words, console)
        return 0
    with engine_of(options) as engine, logged(run, words, advice=partial(playing, words, options.seed)):
        with ProgressShown(console, "") as shown:
            played = UnitsShown(shown, guard)
            evaluation = evaluate_run(
                config,
                run.checkpoint,
                chosen,
                trained_episodes=run.whole_lines() * config.batch,
                engine=engine,
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
    if options.data and not options.transfer:
        raise UsageError(
            "--data needs --transfer: your data are something that the policy was not trained on"
        )
    try:
        chosen = EvaluationOptions(
            members_per_lack=options.members_per_lack,
            hosts_per_member=options.hosts_per_member,
            schedules=options.schedules,
            transfer=options.transfer,
            seed=options.seed,
            data=tuple(options.data),
        )
        check_hosts(config, chosen.hosts_per_member)
        stages_of(config.env, chosen)
    except (ValueError, OSError) as error:
        raise UsageError(reason(error)) from error
    return chosen
