"""Signals that come while a library must not be interrupted."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final
from unittest.mock import patch

HELD_BACK: Final = (signal.SIGINT, signal.SIGTERM)
_set_handler: Final = signal.signal


@contextmanager
def signals_later(met: Callable[[int], object] = int) -> Iterator[None]:
    """Hold Ctrl-C and SIGTERM back until the block is done; the second one of them goes through at once.

    Their handlers may raise something, which a library would meet wherever it stands. Only the main thread meets them,
    and only there this does anything.

    Args:
        met: called at once with the number of a signal that is held back.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    former = {int(each): signal.getsignal(each) or signal.SIG_DFL for each in HELD_BACK}

    def note(signum: int, frame: FrameType | None) -> None:
        came.append(signum)
        restore()
        met(signum)

    def restore() -> None:
        for each, handler in former.items():
            _set_handler(each, handler)

    for each in HELD_BACK:
        _set_handler(each, note)
    try:
        yield
    finally:
        second = came and any(signal.getsignal(each) is not handler for each, handler in former.items())
        if not second:  # which has been met already
            restore()  # also if some were: native code may have put its own before them meanwhile
            for signum in came:
                signal.raise_signal(signum)


@contextmanager
def handlers_kept() -> Iterator[None]:
    """Have no library change the handlers of these signals in the block: `signal.signal` leaves them as they are.

    Nobody else is hindered: only the main thread may call it at all.
    """
    with patch.object(signal, "signal", _set_another_handler):
        yield


def _set_another_handler(signum: int, handler: Any) -> Any:
    return signal.getsignal(signum) if signum in HELD_BACK else _set_handler(signum, handler)
