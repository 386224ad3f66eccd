"""Parts of long work that are kept in a folder as they are done, so that the same work goes on after any end."""

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, partial
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NamedTuple, final

from leyline_types import FileRefusedError, read_file
from simic_training.engines.unit import Done, Engine, Unit, Work
from simic_training.engines.versions import PACKAGES, versions
from simic_training.runs.lock import locked_folder
from simic_training.runs.tensor_bytes import DamagedBytesError, seal, unseal

_SUFFIX: Final = ".part"
_DRAFT: Final = ".draft"
_DIGITS: Final = 64
"""Of a name: a SHA-256 in hexadecimal digits."""

_log = logging.getLogger(__name__)


class Part(NamedTuple):
    """A unit of work, and how long it takes beside others, as far as is known before: at least 0, in any measure."""

    unit: Unit
    cost: float


class Progress(NamedTuple):
    """How far the work has come.

    Args:
        done: the part that was done just now; None before the first one of those that are not there yet.
        finished: parts that are there, `kept` of them from before.
        total: parts in all.
        share, kept_share: of the cost of all parts, that of the finished and of the kept ones, 0 to 1.
    """

    done: Done | None
    finished: int
    kept: int
    total: int
    share: float
    kept_share: float


OnProgress = Callable[[Progress], None]
"""Told before the first part that has to be done, and of every part that was."""


def tell_nobody(progress: Progress) -> None:
    """For those who do not ask."""


@final
class PartsFolder:
    """Contents by names that say all that they depend on (`name_of`).

    A file is written whole or not at all, and proves by a SHA-256 that it is what was written, under this name. The
    folder is made with the first of them or by `locked`, and so are those above it.

    Args:
        path: of the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from working in the folder while the block runs: `keep_only` would damage their work.

        Raises:
            RunFolderError: another process is at work in it.
            OSError: the folder cannot be made or written to.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with locked_folder(self.path, "at work"):
            yield

    def read(self, name: str) -> bytes | None:
        """The content that is kept under a name. None where there is none; a damaged one is told of by a warning."""
        path = self._file(name)
        if not path.exists():
            return None
        try:
            content = unseal(read_file(path))
            if not content.startswith(name.encode()):
                raise DamagedBytesError("it is another part under this name")
        except (DamagedBytesError, FileRefusedError, OSError) as error:
            _log.warning("%s cannot be used (%s); this part is done again", path, error)
            return None
        return content[_DIGITS:]

    def keep(self, name: str, content: bytes) -> None:
        """Write a content, in place of an older one.

        Raises:
            OSError: it cannot be written; an older one is then as it was.
        """
        path = self._file(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(f".{os.getpid()}{_DRAFT}")
        try:
            with draft.open("wb") as file:
                file.write(seal(name.encode() + content))
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)

    def keep_only(self, names: set[str]) -> None:
        """Take away the parts of other work, and drafts of a process that was killed. For who has it `locked`.

        Raises:
            OSError: one cannot be removed.
        """
        for path in [*self.path.glob(f"*{_SUFFIX}"), *self.path.glob(f"*{_DRAFT}")]:
            if path.suffix != _SUFFIX or path.stem not in names:
                path.unlink(missing_ok=True)

    def _file(self, name: str) -> Path:
        return self.path / f"{name}{_SUFFIX}"


def name_of(work: Work, shared: bytes, unit: Unit) -> str:
    """A SHA-256 of all that the result of a unit depends on: who does it with what, and which code there is.

    Two units with equal names give equal results on processors of one kind. The `repr` of arguments must tell all of
    them, as that of frozen dataclasses, enums, numbers and texts does: data that a path leads to are told by a digest.
    """
    told = (
        f"{work.__module__}.{work.__qualname__}",
        sha256(shared).hexdigest(),
        repr(unit.arguments),
        repr(sorted(versions().items())),
        code_digest(),
    )
    return sha256("\n".join(told).encode()).hexdigest()


@cache
def code_digest() -> str:
    """Of the source of the workspace's packages: an installation that is edited keeps its version."""
    digest = sha256()
    for package in PACKAGES:
        spec = find_spec(package.replace("-", "_"))
        for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
            for path in sorted(Path(folder).rglob("*.py")):
                digest.update(f"{package}/{path.relative_to(folder)}\n".encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()


@final
class PartsRunner:
    """Does parts of work, one lot after the other, and keeps each as it comes.

    Args:
        engine: does what is not there yet; it is left open.
        folder: where parts are kept; None keeps none.
        total: parts of all lots together. total_cost: their cost.
        on_progress: see `OnProgress`.
    """

    def __init__(
        self,
        engine: Engine,
        folder: PartsFolder | None,
        *,
        total: int,
        total_cost: float,
        on_progress: OnProgress = tell_nobody,
    ) -> None:
        self._engine, self._folder, self._on_progress = engine, folder, on_progress
        self._total, self._total_cost = total, total_cost
        self._finished, self._kept = 0, 0
        self._cost, self._kept_cost = 0.0, 0.0
        self._used: set[str] = set()

    def do_units(self, work: Work, shared: bytes, parts: Sequence[Part]) -> list[bytes]:
        """Read the parts that are there, do the others, the longest first, and keep each of them once it is done.

        Args:
            work, shared: see `Engine.start`.
            parts: their units have names of their own.

        Returns:
            What each gave, in order.

        Raises:
            ValueError: two units have the same name.
            UnitFailedError: see `Batch`; what was done before is kept.
            OSError: a part cannot be written.
        """
        names = {part.unit.name: name_of(work, shared, part.unit) for part in parts}
        if len(names) < len(parts):
            raise ValueError("units must have names of their own, by which their results are told apart")
        contents = {} if self._folder is None else _read_all(self._folder, names)
        self._used |= set(names.values())
        costs = {part.unit.name: part.cost for part in parts}
        for unit in contents:
            self._count(costs[unit], kept=True)
        missing = [part for part in parts if part.unit.name not in contents]
        missing.sort(key=lambda part: -part.cost)  # no worker is left alone with a long one in the end
        if missing:
            self._tell(None)
            take = partial(self._take, contents, names, costs)
            self._engine.start(work, shared, [part.unit for part in missing]).results(take)
        return [contents[part.unit.name] for part in parts]

    def tidy(self) -> None:
        """Take away the parts that none of these lots consists of, once all is done.

        Raises:
            OSError: one cannot be removed.
        """
        if self._folder is not None:
            self._folder.keep_only(self._used)

    def _take(
        self,
        contents: dict[str, bytes],
        names: Mapping[str, str],
        costs: Mapping[str, float],
        done: Done,
        content: bytes,
    ) -> None:
        """Keep what a unit gave, among the contents of its lot too."""
        if self._folder is not None:
            self._folder.keep(names[done.unit], content)
        contents[done.unit] = content
        self._count(costs[done.unit], kept=False)
        self._tell(done)

    def _count(self, cost: float, *, kept: bool) -> None:
        self._finished += 1
        self._cost += cost
        if kept:
            self._kept += 1
            self._kept_cost += cost

    def _tell(self, done: Done | None) -> None:
        whole = self._total_cost or 1.0
        self._on_progress(
            Progress(
                done,
                self._finished,
                self._kept,
                self._total,
                1.0 if self._finished == self._total else min(1.0, self._cost / whole),
                min(1.0, self._kept_cost / whole),
            )
        )


def _read_all(folder: PartsFolder, names: Mapping[str, str]) -> dict[str, bytes]:
    found = {unit: folder.read(name) for unit, name in names.items()}
    return {unit: content for unit, content in found.items() if content is not None}
