"""Signals that are held back, and come through all the same."""

import signal
import threading
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from simic_training.engines.signals_later import HELD_BACK, handlers_kept, signals_later
from simic_training.runs.interrupts import Interrupted, InterruptGuard

BOTH = pytest.mark.parametrize("signum", HELD_BACK)


def block(*acts: Callable[[], object]) -> None:
    with signals_later():
        for act in acts:
            act()


def fail() -> None:
    raise ZeroDivisionError


def handlers() -> list[object]:
    return [signal.getsignal(signum) for signum in HELD_BACK]


@pytest.fixture(autouse=True)
def python_handlers() -> Iterator[None]:
    """Handlers that raise, also where the tests were started with SIGINT ignored."""
    former = {signum: signal.signal(signum, signal.default_int_handler) for signum in HELD_BACK}
    yield
    for signum, handler in former.items():
        signal.signal(signum, handler)


@BOTH
def test_a_signal_comes_when_the_block_is_done(signum: signal.Signals) -> None:
    done: list[int] = []
    before = handlers()
    with pytest.raises(KeyboardInterrupt):
        block(partial(signal.raise_signal, signum), partial(done.append, 1))
    assert done
    assert handlers() == before


@BOTH
def test_the_second_one_comes_at_once(signum: signal.Signals) -> None:
    """And is met once; the guard leaves later ones to the handlers that were there before."""
    met = 0
    before = handlers()
    with InterruptGuard():
        try:
            block(*[partial(signal.raise_signal, signum)] * 2, partial(pytest.fail, "nothing came"))
        except Interrupted:
            met += 1
        assert handlers() == before
    assert met == 1


def test_handlers_are_what_they_were_when_the_block_fails() -> None:
    before = handlers()
    with pytest.raises(ZeroDivisionError):
        block(fail)
    assert handlers() == before


def test_a_library_does_not_take_the_signals_for_itself() -> None:
    before, quit_before = handlers(), signal.getsignal(signal.SIGQUIT)
    with handlers_kept():
        assert [signal.signal(signum, signal.SIG_IGN) for signum in HELD_BACK] == before
        assert signal.signal(signal.SIGQUIT, signal.SIG_IGN) == quit_before
        assert handlers() == before
        assert signal.signal(signal.SIGQUIT, quit_before) == signal.SIG_IGN
    assert signal.signal(signal.SIGTERM, signal.SIG_IGN) == before[1]
    assert signal.signal(signal.SIGTERM, signal.default_int_handler) == signal.SIG_IGN


def test_a_signal_is_not_lost_when_the_block_fails() -> None:
    with pytest.raises(KeyboardInterrupt):
        block(partial(signal.raise_signal, signal.SIGINT), fail)


def test_other_threads_hold_nothing_back() -> None:
    seen: list[object] = []

    def work() -> None:
        with signals_later():
            seen.extend(handlers())

    before = handlers()
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == before
