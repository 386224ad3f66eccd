"""Run folders at a glance."""

from collections.abc import Iterator
from pathlib import Path

from leyline_types import read_file
from simic_training.runs.folder import RunFolder, RunFolderError
from simic_training.runs.lock import is_locked
from tamiyo_policies import parse_object


def run_rows(folder: Path) -> Iterator[tuple[str, str, str, str]]:
    """Name, updates, newest return and state of each run in a folder, by name."""
    for path in sorted(folder.iterdir()):
        try:
            run = RunFolder.open_run(path)
        except RunFolderError:
            continue  # something else
        try:
            yield path.name, *_standing(run)
        except (RunFolderError, OSError, ValueError, KeyError, TypeError) as error:
            yield path.name, "", "", f"damaged: {error}"


def _standing(run: RunFolder) -> tuple[str, str, str]:
    config = run.read_config()
    lines = read_file(run.metrics).splitlines(keepends=True) if run.metrics.exists() else []
    whole = [line for line in lines if line.endswith(b"\n")]
    mean = f"{parse_object(whole[-1], 'it')['return']['mean']:.2f}" if whole else "-"
    ended = "finished" if len(whole) >= config.updates else "stopped"
    return f"{len(whole)}/{config.updates}", mean, "running" if is_locked(run) else ended
