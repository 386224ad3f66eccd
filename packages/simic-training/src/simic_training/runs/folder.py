"""The folder of a run. Everything in it is written whole or appended, and nothing outside it is ever written."""

import json
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from errno import EEXIST, ENAMETOOLONG, ENOTDIR, ENOTEMPTY
from pathlib import Path
from shutil import rmtree
from typing import Any, Final

from leyline_types import FileRefusedError, open_file, read_file
from simic_training.growth.draws import with_data_digest
from simic_training.runs.config import TrainConfig
from simic_training.runs.settings import ConfigError, config_from_mapping, config_to_mapping
from tamiyo_policies import CHECKPOINT_NAME, parse_object

CONFIG: Final = "config.json"
METRICS: Final = "metrics.jsonl"
EPISODES: Final = "episodes.jsonl"
STATES: Final = "states"
LOG: Final = "log.txt"
REPORT: Final = "report.html"
EVALUATION: Final = "evaluation.json"
EVALUATION_PARTS: Final = "evaluation"
HEADROOM: Final = "headroom"
LOCK: Final = "lock"
_FILES: Final = (CONFIG, METRICS, EPISODES, LOG, REPORT, EVALUATION, LOCK, CHECKPOINT_NAME)
_CHUNK: Final = 2**20
MAX_CONFIG_BYTES: Final = 2**16
"""Settings take some kilobytes."""


class RunFolderError(ValueError):
    """A run folder that cannot be made, or that is not one."""


class RunFolderExistsError(RunFolderError):
    """What was to be made is there already."""


class RunStorageError(RunFolderError):
    """A run folder whose files are damaged, or that the disk does not let anybody write."""


def cannot_write(folder: str, error: OSError) -> RunFolderError:
    """What is raised where a folder, told in words, cannot be made: a `RunStorageError` unless its path is no path."""
    kind = RunFolderError if error.errno in (ENOTDIR, ENAMETOOLONG) else RunStorageError
    return kind(f"{folder} cannot be written: {error.strerror}")


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Paths of a run. Make one with `create`, or find one with `open_run`."""

    path: Path

    @property
    def checkpoint(self) -> Path:
        """The policy as it is now, for `tamiyo_policies.load_controller`."""
        return self.path / CHECKPOINT_NAME

    @property
    def metrics(self) -> Path:
        """One JSON object per update."""
        return self.path / METRICS

    @property
    def episodes(self) -> Path:
        """One JSON object per training episode: what was grown where and when."""
        return self.path / EPISODES

    @property
    def states(self) -> Path:
        """What a run goes on from: the newest states of training."""
        return self.path / STATES

    @property
    def log(self) -> Path:
        """What happened to the run, and the whole story of every error."""
        return self.path / LOG

    @property
    def report(self) -> Path:
        """The page that `tamiyo report` writes."""
        return self.path / REPORT

    @property
    def evaluation(self) -> Path:
        """The tables of the newest evaluation."""
        return self.path / EVALUATION

    @property
    def evaluation_parts(self) -> Path:
        """Folder of what an evaluation goes on from: its finished parts."""
        return self.path / EVALUATION_PARTS

    @classmethod
    def create(cls, path: Path, config: TrainConfig) -> "RunFolder":
        """A new folder with its settings written, and the digest of its data among them.

        It appears with all of them or, whatever happens, not at all.

        Raises:
            FileNotFoundError, ValueError: `config.env.data` cannot be read as data, or are other than its digest says.
            RunFolderExistsError: the path exists already.
            RunFolderError: the path leads through a file, or the settings are too long to be read again.
            RunStorageError: it cannot be written.
        """
        exists = RunFolderExistsError(f"run folder {path} exists; a run never overwrites another")
        try:
            if path.exists():
                raise exists
        except OSError as error:
            raise cannot_write(f"run folder {path}", error) from None
        recorded = replace(config, env=with_data_digest(config.env))
        settings = _as_json(config_to_mapping(recorded))
        if len(settings) > MAX_CONFIG_BYTES:
            raise RunFolderError(
                f"{CONFIG} would take {len(settings)} bytes, more than the {MAX_CONFIG_BYTES} that are read again: "
                "some setting has very many values"
            )
        draft = cls(path.with_name(f".{path.name}.{os.getpid()}"))
        try:
            draft.states.mkdir(parents=True)
            write_whole(draft.path / CONFIG, settings)
            draft.path.rename(path)
        except OSError as error:
            if error.errno in (ENOTEMPTY, EEXIST):  # made by another process in the meantime
                raise exists from None
            raise cannot_write(f"run folder {path}", error) from None
        finally:
            rmtree(draft.path, ignore_errors=True)
        return cls(path)

    @classmethod
    def open_run(cls, path: Path) -> "RunFolder":
        """An existing run.

        Raises:
            RunFolderError: there is no such folder, or it holds no run.
        """
        try:
            if not path.exists():
                raise RunFolderError(f"run folder {path} does not exist")
        except OSError as error:
            raise RunFolderError(f"run folder {path} cannot be looked at: {error.strerror}") from None
        if not path.is_dir():
            raise RunFolderError(f"run folder {path} is a file")
        if not (path / CONFIG).exists():
            raise RunFolderError(f"{path} is not the folder of a run: it holds no {CONFIG}")
        for name in _FILES:  # a named pipe, say, would be waited for
            if (path / name).exists() and not (path / name).is_file():
                raise RunFolderError(f"{path / name} is no regular file, as those of a run are")
        return cls(path)

    def read_config(self) -> TrainConfig:
        """The settings of the run.

        Raises:
            RunStorageError: the file is damaged or of another version.
        """
        path = self.path / CONFIG
        try:
            content = parse_object(read_file(path, max_bytes=MAX_CONFIG_BYTES).decode("utf-8"), "it")
            config = config_from_mapping(content, complete=True)
            if config.env.data_digest is None:
                raise ConfigError("`env.data_digest` is missing", ["env.data_digest"])
        except (OSError, ValueError) as error:
            raise RunStorageError(f"{path} cannot be read as the settings of a run: {error}") from None
        return config

    def read_lines(self, name: str) -> list[dict[str, Any]]:
        """The objects of a file of JSON lines; none where there is no such file yet.

        A last line that was not written to its end is left out.

        Raises:
            RunStorageError: a line that is no JSON object.
        """
        path = self.path / name
        if not path.exists():
            return []
        records: list[dict[str, Any]] = []
        try:
            *lines, _ = read_file(path).decode("utf-8").split("\n")
            for line in lines:
                records.append(parse_object(line, "it"))
        except FileRefusedError as error:
            raise RunStorageError(str(error)) from None
        except ValueError as error:
            raise RunStorageError(f"{path} is damaged: line {len(records) + 1}: {error}") from None
        return records

    def whole_lines(self, name: str = METRICS) -> int:
        """Lines of a file that were written to their end; of the metrics: updates done."""
        path = self.path / name
        return path.read_bytes().count(b"\n") if path.exists() else 0

    def lines_within(self, name: str, length: int) -> tuple[int, bool]:
        """Lines that end within the first `length` bytes of a file, and whether the last of these bytes ends one.

        Args:
            name: of the file; none is as good as an empty one.
            length: at most as long as the file.
        """
        if not length:
            return 0, True
        lines, last = 0, b""
        with open_file(self.path / name, max_bytes=sys.maxsize) as file:
            while length and (last := file.read(min(length, _CHUNK))):
                lines, length = lines + last.count(b"\n"), length - len(last)
        return lines, last.endswith(b"\n")

    def append_lines(self, name: str, records: Iterable[Mapping[str, Any]]) -> None:
        """Add a line per record, and wait until it is on the disk."""
        text = "".join(json.dumps(record, allow_nan=False) + "\n" for record in records)
        with (self.path / name).open("a", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())

    def length(self, name: str) -> int:
        """Bytes of a file; 0 where there is none."""
        path = self.path / name
        return path.stat().st_size if path.exists() else 0

    def cut(self, name: str, length: int) -> None:
        """Take off what was written after the first `length` bytes.

        Raises:
            RunStorageError: the file is shorter than that.
        """
        if (found := self.length(name)) < length:
            raise RunStorageError(f"{self.path / name} has {found} bytes, the run had written {length}")
        if found > length:
            os.truncate(self.path / name, length)

    def write_json(self, name: str, content: object, *, indent: int | None = 2) -> Path:
        """Write a file whole, in place of an older one; without `indent` on one line, for what is long."""
        return write_whole(self.path / name, _as_json(content, indent))


def _as_json(content: object, indent: int | None = 2) -> str:
    """As a file holds it; ASCII, so that characters are bytes."""
    return json.dumps(content, indent=indent, allow_nan=False) + "\n"


def write_whole(path: Path, text: str) -> Path:
    """Write a file whole, in place of an older one.

    Raises:
        OSError: it cannot be written; an older one is then as it was.
    """
    draft = path.with_name(path.name + ".draft")
    try:
        draft.write_text(
            text, encoding="utf-8", errors="backslashreplace"
        )  # names of files need not be UTF-8
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return path
