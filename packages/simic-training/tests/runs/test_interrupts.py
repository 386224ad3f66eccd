"""Signals end a run between whole steps."""

import signal
import sys
from collections.abc import Iterator
from signal import raise_signal as send  # to this thread: two sent to the process may arrive as one

import pytest

from simic_training.runs.interrupts import Interrupted, InterruptGuard


@pytest.fixture(autouse=True)
def _python_handles_ctrl_c() -> Iterator[None]:
    """Where the tests run in the background of a shell, SIGINT would be ignored."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_signal_raises_at_once_outside_a_shield(signum: int) -> None:
    with InterruptGuard(), pytest.raises(Interrupted) as caught:
        send(signum)
    assert caught.value.signum == signum


def test_shield_holds_the_signal_back_until_its_end() -> None:
    reached = []

    def shielded(guard: InterruptGuard) -> None:
        with guard.shield():
            send(signal.SIGINT)
            reached.append("the end of the block")
        reached.append("too far")

    with InterruptGuard() as guard, pytest.raises(Interrupted):
        shielded(guard)
    assert reached == ["the end of the block"]


def test_a_signal_that_python_drops_is_not_lost() -> None:
    class Destroyed:
        def __del__(self) -> None:
            send(signal.SIGTERM)

    def worked(guard: InterruptGuard) -> None:
        hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
        Destroyed()
        sys.unraisablehook = hook
        reached.append("after the drop")
        guard.check()
        reached.append("too far")

    reached: list[str] = []
    with InterruptGuard() as guard, pytest.raises(Interrupted):
        worked(guard)
    assert reached == ["after the drop"]


def test_second_signal_takes_the_former_handler() -> None:
    def shielded(guard: InterruptGuard) -> None:
        with guard.shield():
            send(signal.SIGINT)
            send(signal.SIGINT)

    with InterruptGuard() as guard, pytest.raises(KeyboardInterrupt):
        shielded(guard)


def test_handlers_come_back() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with InterruptGuard():
        assert signal.getsignal(signal.SIGINT) != before[0]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_shield_without_a_signal_changes_nothing() -> None:
    with InterruptGuard() as guard, guard.shield():
        pass
