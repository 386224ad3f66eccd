"""Metrics for TensorBoard, which is an extra of this package."""

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, final

from simic_training.command.parsing import UsageError
from simic_training.runs.folder import RunFolder
from simic_training.runs.training import Progress

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

FOLDER = "tensorboard"


@final
class TensorBoardLog:
    """Writes the numbers of every update into the folder `tensorboard` of a run.

    Args:
        run: its folder.
    """

    def __init__(self, run: RunFolder) -> None:
        self._folder = run.path / FOLDER
        self._writer: SummaryWriter | None = None

    def write(self, progress: Progress) -> None:
        """Write an update's numbers. Points of a run that was here before and had come further are discarded."""
        if self._writer is None:
            self._writer = open_writer(self._folder, progress.updates_done)
        for name, value in numbers(progress.record):
            self._writer.add_scalar(name, value, progress.updates_done)
        self._writer.flush()

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.close()


def numbers(record: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Every number of a line of metrics, those of tables inside it by "table/name"."""
    for name, value in record.items():
        if isinstance(value, Mapping):
            yield from numbers(value, f"{prefix}{name}/")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield prefix + name, float(value)


def open_writer(folder: Path, first_step: int) -> "SummaryWriter":
    """A writer whose readers forget what earlier files of the folder hold from `first_step` on."""
    return _writer_class()(str(folder), purge_step=first_step)


def require_tensorboard() -> None:
    """See that TensorBoard is installed.

    Raises:
        UsageError: it is not; says how to install it.
    """
    try:
        _writer_class()
    except ImportError as error:
        raise UsageError(
            f"--tensorboard needs an extra: pip install 'simic-training[tensorboard]' ({error})"
        ) from None


@cache
def _writer_class() -> "type[SummaryWriter]":
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter
