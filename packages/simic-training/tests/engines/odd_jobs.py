"""Units of work that do odd things to the process that does them."""

import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from simic_training.engines.unit import Done, Engine, OnDone, Unit, Work


def tell_nobody(done: Done) -> None:
    """For tests that do not ask who did what."""


def do(
    engine: Engine, work: Work, shared: bytes, units: Sequence[Unit], on_done: OnDone = tell_nobody
) -> list[bytes]:
    """All of the units."""
    return engine.start(work, shared, units).results(on_done)


def answer(shared: bytes, number: int, seconds: float = 0.0) -> bytes:
    time.sleep(seconds)
    return shared + str(number).encode()


def slowly(shared: bytes) -> bytes:
    time.sleep(2.0)
    return shared


def who(shared: bytes) -> bytes:
    return str(os.getpid()).encode()


def where(shared: bytes, seconds: float) -> bytes:
    """The node of a Ray cluster."""
    import ray

    time.sleep(seconds)
    return str(ray.get_runtime_context().get_node_id()).encode()


def threads(shared: bytes) -> bytes:
    return str(torch.get_num_threads()).encode()


def imported(shared: bytes, module: str) -> bytes:
    return str(module in sys.modules).encode()


def stumble(shared: bytes, notes: Path, errors: list[str]) -> bytes:
    """Raises each of the errors, one at a time; then does its work. "die" and "interrupt" are what they say."""
    tried = len(notes.read_text()) if notes.exists() else 0
    notes.write_text("x" * (tried + 1))
    if tried < len(errors):
        match errors[tried]:
            case "die":
                os.kill(os.getpid(), signal.SIGKILL)
            case "interrupt":
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.2)
            case text:
                raise AwkwardError(text, 1)
    return b"done"


class AwkwardError(Exception):
    """One that does not survive pickling: what it is made from is not what it keeps."""

    def __init__(self, text: str, number: int) -> None:
        super().__init__(f"{text}{'' if number else None}")


def at_work(shared: bytes, notes: Path, patient: int) -> bytes:
    """Says who it is, and takes its time; so many times at most."""
    if len(list(notes.iterdir())) < patient:
        (notes / str(os.getpid())).touch()
        time.sleep(60)
    return b"late"


def send_much(shared: bytes, notes: Path) -> bytes:
    """More than a pipe holds; the first time the process dies while it is sent."""
    if not notes.exists():
        notes.touch()
        threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGKILL)).start()
        time.sleep(0.005)
    return bytes(50_000_000)


def at_work_or_stumble(shared: bytes, notes: Path, what: int | list[str]) -> bytes:
    """One of the two."""
    return at_work(shared, notes, what) if isinstance(what, int) else stumble(shared, notes, what)
