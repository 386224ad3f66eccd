"""`tamiyo evaluate`: tables of a policy beside everything else, on hosts that it never saw."""

import argparse
from collections.abc import Sequence

import torch
from rich.console import Console

from simic_training.command.failures import reason
from simic_training.command.parsing import UsageError
from simic_training.command.progress import ProgressShown, StagesShown
from simic_training.command.run_log import logged
from simic_training.command.saying import quoted, say
from simic_training.command.shown import show_table
from simic_training.evaluation.hosts import paired_hosts
from simic_training.evaluation.options import EvaluationOptions
from simic_training.evaluation.results import evaluation_to_json
from simic_training.evaluation.run import evaluate_run
from simic_training.growth.draws import read_data
from simic_training.runs.config import TrainConfig
from simic_training.runs.folder import EVALUATION, RunFolder
from simic_training.runs.interrupts import InterruptGuard


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
        UsageError, RunFolderError: the options cannot be followed.
        LoggedError: anything else went wrong.
        Interrupted: a signal came.
    """
    torch.set_num_threads(1)  # the networks are small, and more threads only wait for each other
    run = RunFolder.open_run(options.run)
    with logged(run, words):
        config = run.read_config()
        chosen = evaluation_options(options, config)
        with ProgressShown(console, "") as shown:
            stages = StagesShown(shown)

            def tell(stage: str, done: float) -> None:
                guard.check()
                stages.update(stage, done)

            evaluation = evaluate_run(
                config,
                run.checkpoint,
                chosen,
                trained_episodes=run.whole_lines() * config.batch,
                on_progress=tell,
            )
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
            hosts_per_member=options.hosts_per_member,
            schedules=options.schedules,
            transfer=options.transfer,
            budget=getattr(options, "budget", 0),
            seed=options.seed,
            data=tuple(options.data),
        )
        paired_hosts(config.env, chosen.hosts_per_member, chosen.seed)
        for path in chosen.data:
            read_data(str(path))
    except (ValueError, OSError) as error:
        raise UsageError(reason(error)) from error
    return chosen
