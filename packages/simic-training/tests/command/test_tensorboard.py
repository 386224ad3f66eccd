"""Events for TensorBoard: what is written, what a resumed run discards, and that it is an extra."""

import sys
from pathlib import Path
from typing import Any

import pytest
from commands import train

from simic_training.command import tensorboard as module
from simic_training.command.main import main
from simic_training.command.tensorboard import numbers
from simic_training.runs.folder import METRICS, RunFolder
from simic_training.runs.state import state_files


class Recorder:
    """Stands for torch's SummaryWriter."""

    made: list["Recorder"]

    def __init__(self, folder: str, *, purge_step: int) -> None:
        self.folder, self.purge_step = Path(folder), purge_step
        self.points: list[tuple[str, float, int]] = []
        self.closed = False
        type(self).made.append(self)

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.points.append((name, value, step))

    def flush(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True


def test_every_number_is_written_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Recorder.made = []
    monkeypatch.setattr(module, "_writer_class", lambda: Recorder)
    folder = tmp_path / "run"
    assert train(folder, 6, "--tensorboard") == 0
    run = RunFolder(folder)
    state_files(run)[0].unlink()  # as if it had been killed before its last update was whole
    assert main(["train", "--resume", str(folder), "--tensorboard"]) == 0
    first, second = Recorder.made
    assert (first.folder, first.purge_step, second.purge_step) == (folder / "tensorboard", 1, 3)
    assert first.closed
    assert second.closed
    expected = [
        (name, value, int(row["update"])) for row in run.read_lines(METRICS) for name, value in numbers(row)
    ]
    kept = [point for point in first.points if point[2] < second.purge_step] + second.points
    clocks = ("seconds/", "steps_per_second")
    assert [point[::2] for point in kept] == [point[::2] for point in expected]
    assert [each for each in kept if not each[0].startswith(clocks)] == [
        each for each in expected if not each[0].startswith(clocks)
    ]


def test_numbers_of_a_record() -> None:
    record: dict[str, Any] = {
        "update": 3,
        "return": {"mean": 1.5, "low": 1},
        "head_entropy": {"op": None},
        "held_back": ["PRUNE"],
        "flag": True,
        "actions": {"op": [1, 2]},
    }
    assert list(numbers(record)) == [("update", 3.0), ("return/mean", 1.5), ("return/low", 1.0)]


def test_without_the_extra_the_option_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module._writer_class.cache_clear()
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    assert train(tmp_path / "run", 4, "--tensorboard") == 2
    printed = capsys.readouterr().err
    assert "--tensorboard needs an extra: pip install 'simic-training[tensorboard]'" in printed
    assert printed.count("\n") == 1
    assert not (tmp_path / "run").exists()
    assert train(tmp_path / "run", 2) == 0


def test_real_events_can_be_read(tmp_path: Path) -> None:
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    module._writer_class.cache_clear()
    folder = tmp_path / "run"
    assert train(folder, 6, "--tensorboard") == 0
    run = RunFolder(folder)
    state_files(run)[0].unlink()
    assert main(["train", "--resume", str(folder), "--tensorboard"]) == 0
    events = reading.EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    read = [(event.step, event.value) for event in events.Scalars("val_accuracy")]
    assert read == [(row["update"], pytest.approx(row["val_accuracy"])) for row in run.read_lines(METRICS)]
