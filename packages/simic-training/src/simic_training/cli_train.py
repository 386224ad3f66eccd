"""`tamiyo train`: a progress bar, what was grown where, and a run folder."""

from datetime import UTC, datetime
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBar

from kasmina_hosts import HostPopulation
from simic_training.config import TrainConfig
from simic_training.episodes import play_episodes
from simic_training.interrupts import Interrupted, InterruptGuard
from simic_training.picture import draw_growth
from simic_training.run_folder import RunFolder
from simic_training.seeding import evaluation_seeds
from simic_training.story import final_slots, growth_events
from simic_training.training import Progress, train
from tamiyo_policies import PolicyBundle, PolicyController, WaitController


def train_command(config: TrainConfig, folder: Path | None, console: Console, guard: InterruptGuard) -> int:
    """Train, then grow one unseen host with the trained policy and show what it did.

    Raises:
        RunFolderError: the folder exists or cannot be written.
        Interrupted: a signal came; the checkpoint of the last whole update is there.
    """
    run = RunFolder.create(folder or _new_folder(), config)
    console.print(
        f"{config.policy} policy, {config.updates * config.envs} episodes of {config.host.max_epochs} epochs, "
        f"{config.envs} at once, seed {config.seed}; run folder {run.path}",
        soft_wrap=True,
    )
    try:
        policy, population = _train_with_bar(config, run, guard, console)
    except Interrupted:
        console.print(f"Stopped. The policy of the last whole update is in {run.checkpoint}", soft_wrap=True)
        raise
    _show_growth(policy, population, run, config, console)
    console.print(f"\nNext: tamiyo evaluate {run.path} --against heuristic,random,static", soft_wrap=True)
    return 0


def _new_folder() -> Path:
    return Path("runs") / datetime.now(UTC).strftime("%Y%m%d-%H%M%S")


def _train_with_bar(
    config: TrainConfig, run: RunFolder, guard: InterruptGuard, console: Console
) -> tuple[PolicyBundle, HostPopulation]:
    returns: list[float] = []
    bar = ProgressBar(
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.description}"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    with bar:
        task = bar.add_task("", total=config.updates)

        def show(progress: Progress) -> None:
            returns.append(progress.episode_return)
            news = f"return {progress.episode_return:.2f}  accuracy {progress.val_accuracy:.1f} %"
            bar.update(task, completed=progress.update, description=news)
            if not console.is_terminal:
                console.print(f"update {progress.update}/{progress.updates}  {news}")

        result = train(config, run, guard, on_progress=show)
    tenth = max(1, len(returns) // 10)
    first, last = sum(returns[:tenth]) / tenth, sum(returns[-tenth:]) / tenth
    console.print(f"Return per episode: {first:.2f} in the first tenth of the run, {last:.2f} in the last")
    return result


def _show_growth(
    policy: PolicyBundle, population: HostPopulation, run: RunFolder, config: TrainConfig, console: Console
) -> None:
    seeds = evaluation_seeds(1)
    slots = population.slot_config
    ungrown = play_episodes(WaitController(), population, seeds)
    grown = play_episodes(
        PolicyController(policy, seed=config.seed, rules=population.rules), population, seeds
    )
    console.print("\nWhat the trained policy grew on a host that it never saw:")
    for line in (*growth_events(grown, 0, slots), "in the end:", *final_slots(grown, 0, slots)):
        console.print(f"  {line}", soft_wrap=True)
    console.print(
        f"Test accuracy {float(grown.test_accuracy):.1f} % with {float(grown.size):.2f} times the host's parameters; "
        f"{float(ungrown.test_accuracy):.1f} % without growth",
        soft_wrap=True,
    )
    draw_growth(
        run.picture,
        grown,
        slots,
        host=0,
        ungrown=torch.as_tensor(ungrown.val_accuracy[0]),
        title=f"Handwritten digits, host {seeds[0]}, grown by the {config.policy} policy after "
        f"{config.updates * config.envs} episodes",
    )
    names = ", ".join(sorted(path.name for path in run.path.iterdir()))
    console.print(f"Run folder {run.path}: {names}", soft_wrap=True)
