"""Ctrl-C and SIGTERM end a run between two whole steps, never inside one."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupted(BaseException):
    """A signal asked the program to end. Not an Exception, so that no handler of errors swallows it."""

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.signum = signum


class InterruptGuard:
    """Turns SIGINT and SIGTERM into `Interrupted`, held back while a `shield` is up.

    Use as a context manager; the former handlers come back at its end. The second signal is left to them, so that
    a program that hangs can still be ended.

    Python drops an exception that is raised while something is being destroyed, and a signal may come right then: what
    has come is therefore raised again at the end of a shield and by `check`.
    """

    def __init__(self) -> None:
        self._shielded = False
        self._pending: int | None = None
        self._former: dict[int, object] = {}

    def __enter__(self) -> "InterruptGuard":
        for signum in (signal.SIGINT, signal.SIGTERM):
            self._former[signum] = signal.signal(signum, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    @contextmanager
    def shield(self) -> Iterator[None]:
        """Hold signals back until the block is done; one that came then raises `Interrupted` at its end."""
        self._shielded = True
        try:
            yield
        finally:
            self._shielded = False
        self.check()

    def check(self) -> None:
        """Let long work that has no shield look now and then.

        Raises:
            Interrupted: a signal has come.
        """
        if self._pending is not None:
            raise Interrupted(self._pending)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        self._restore()
        self._pending = signum
        if not self._shielded:
            raise Interrupted(signum)

    def _restore(self) -> None:
        for signum, handler in self._former.items():
            signal.signal(signum, handler)  # type: ignore[arg-type]
        self._former = {}
