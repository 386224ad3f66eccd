"""The examples of the packages run, and show what they promise."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(example: str, *options: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", str(ROOT / example), *options],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_grow_your_own_gains_accuracy_with_parameters(tmp_path: Path) -> None:
    done = run("packages/kasmina-hosts/examples/grow_your_own.py", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    figures = re.findall(r"test accuracy +([\d.]+) % +(\d+) parameters", done.stdout)
    (plain, size), (grown, grown_size) = ((float(accuracy), int(count)) for accuracy, count in figures)
    assert grown > plain + 1
    assert grown_size > size == 386
    assert "fossilize r0c0: contributes" in done.stdout
    gain, added = re.findall(r"growth +\+([\d.]+) points for \+(\d+) parameters", done.stdout)[0]
    assert abs(float(gain) - (grown - plain)) < 0.2  # each is rounded
    assert int(added) == grown_size - size
    assert not list(tmp_path.iterdir())


def test_grow_your_own_refuses_no_epochs(tmp_path: Path) -> None:
    done = run("packages/kasmina-hosts/examples/grow_your_own.py", "--epochs", "0", folder=tmp_path)
    assert done.returncode == 2
    assert "--epochs must be at least 1" in done.stderr
