"""Hosts that explode are counted wherever a run tells of itself, and a run of nothing else ends."""

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from run_settings import TINY

from simic_training.report.page import write_report
from simic_training.runs.divergence import DivergedRunError, DivergenceWatch
from simic_training.runs.folder import EPISODES, METRICS, RunFolder, RunStorageError
from simic_training.runs.interrupts import InterruptGuard
from simic_training.runs.state import state_files
from simic_training.runs.training import train

EXPLODING = replace(TINY, env=replace(TINY.env, host=replace(TINY.env.host, learning_rate=1e30)))
SAID = (
    "in each of the updates 1, 2, 3 at least half of the hosts diverged; in the last, 4 of 4 hosts diverged and "
    "were rolled back (8 times) under learning rate 1e+30: a new run needs a lower "
    "`env.host.learning_rate`. Nothing is lost"
)


@pytest.fixture(scope="module")
def exploded(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run of which every host diverges in every epoch, as it ended by itself."""
    run = RunFolder.create(tmp_path_factory.mktemp("runs") / "run", EXPLODING)
    with pytest.raises(DivergedRunError) as raised, InterruptGuard() as guard:
        train(EXPLODING, run, guard, on_progress=lambda progress: None)
    assert str(raised.value) == SAID
    return run


def test_rollbacks_are_in_metrics_and_episodes_and_nothing_is_lost(exploded: RunFolder) -> None:
    rows, episodes = exploded.read_lines(METRICS), exploded.read_lines(EPISODES)
    assert [row["rollbacks"] for row in rows] == [{"hosts": 4, "of": 4, "times": 8}] * 3
    assert [episode["rolled_back"] for episode in episodes] == [[1, 2]] * 12
    assert [path.name for path in state_files(exploded)] == ["000003.state", "000002.state"]


def test_going_on_ends_at_once_with_the_same_line(exploded: RunFolder) -> None:
    with pytest.raises(DivergedRunError) as raised, InterruptGuard() as guard:
        train(EXPLODING, exploded, guard, on_progress=lambda progress: None, resume=True)
    assert str(raised.value) == SAID
    assert len(exploded.read_lines(METRICS)) == 3


def test_the_page_counts_diverged_hosts(exploded: RunFolder) -> None:
    page = write_report(exploded).read_text()
    assert '<dt>Diverged hosts</dt><dd class="figure">12</dd>' in page
    assert "of 12 were rolled back to their last sound state; most in update 1: 4 of 4" in page
    assert "diverged and was rolled back in epoch 1, 2" in page


def record(update: int, hosts: int, *, of: int = 8) -> dict[str, Any]:
    return {"update": update, "rollbacks": {"hosts": hosts, "of": of, "times": hosts}}


@pytest.mark.parametrize(
    ("hosts", "ends"),
    [
        ([4, 4, 4], True),
        ([8, 8, 3, 8, 8], False),
        ([0, 5, 4, 8], True),
        ([3, 3, 3, 3, 3, 3], False),
        ([3, 4, 4], False),
    ],
)
@pytest.mark.parametrize("before", [0, 1, 2])
def test_three_updates_in_a_row_of_at_least_half(hosts: Sequence[int], ends: bool, before: int) -> None:
    """Whether some of them were before the run was interrupted or not."""
    records = [record(update, count) for update, count in enumerate(hosts, start=1)]
    watch = DivergenceWatch(TINY, records[:before])
    for each in records[before:-1]:
        watch.look(each)
    if ends:
        with pytest.raises(DivergedRunError, match=r"under learning rate 0\.01: a new run"):
            watch.look(records[-1])
    else:
        watch.look(records[-1])


def test_what_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    watch = DivergenceWatch(TINY, [])
    with caplog.at_level(logging.INFO):
        for update, hosts in enumerate((0, 1, 4), start=1):
            watch.look(record(update, hosts))
    assert [(entry.levelname, entry.getMessage()[:40]) for entry in caplog.records] == [
        ("INFO", "update 2: 1 of 8 hosts diverged and were"),
        ("WARNING", "update 3: 4 of 8 hosts diverged and were"),
    ]


@pytest.mark.parametrize("rollbacks", [None, [], {"hosts": "4", "of": 8, "times": 4}, {"hosts": 4, "of": 8}])
def test_a_line_of_metrics_without_rollbacks_is_refused(tmp_path: Path, rollbacks: object) -> None:
    run = RunFolder.create(tmp_path / "run", TINY)
    run.append_lines(METRICS, [{"update": 1, "rollbacks": rollbacks}])
    with pytest.raises(RunStorageError, match=r"metrics\.jsonl is damaged or of another version"):
        DivergenceWatch(TINY, run.read_lines(METRICS))
    assert json.loads(run.metrics.read_text())["rollbacks"] == rollbacks
