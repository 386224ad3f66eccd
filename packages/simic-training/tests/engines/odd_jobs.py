"""Units of work that do odd things to the process that does them."""

import os
import signal
import sys
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from processes import PATIENCE, wait_until

from simic_training.engines.unit import Done, Engine, OnDone, Unit, Work


def tell_nobody(done: Done, content: bytes) -> None:
    """For tests that do not ask who did what."""


def do(
    engine: Engine, work: Work, shared: bytes, units: Sequence[Unit], on_done: OnDone = tell_nobody
) -> list[bytes]:
    """All of the units."""
    return engine.start(work, shared, units).results(on_done)


def answer(shared: bytes, number: int) -> bytes:
    return shared + str(number).encode()


def answer_when(shared: bytes, number: int, notes: Path, count: int) -> bytes:
    """Answers once there are so many notes."""
    wait_until(f"there are {count} notes", lambda: len(list(notes.iterdir())) >= count)
    return answer(shared, number)


def hold(shared: bytes, note: Path, go: Path) -> bytes:
    """Leaves a note, and takes its time until there is something at the other path."""
    note.touch()
    wait_until(f"{go} is there", go.exists)
    return shared


def who(shared: bytes) -> bytes:
    return str(os.getpid()).encode()


def meet(shared: bytes, notes: Path, number: int, all_of: int) -> bytes:
    """Who it is, once so many do this at the same time."""
    (notes / str(number)).touch()
    answer_when(shared, number, notes, all_of)
    return who(shared)


def where(shared: bytes, notes: Path, number: int, all_of: int) -> bytes:
    """The node of a Ray cluster, once so many do this at the same time."""
    import ray

    meet(shared, notes, number, all_of)
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
    """Says who it is, and waits to be killed; so many times at most."""
    if len(list(notes.iterdir())) < patient:
        (notes / str(os.getpid())).touch()
        time.sleep(PATIENCE)
    return b"late"


def send_much(shared: bytes, notes: Path) -> bytes:
    """More than a pipe holds; the first time the process dies while it is sent."""
    if not notes.exists():
        notes.touch()
        vars(Connection)["_send"].__defaults__ = (write_and_die,)
    return bytes(50_000_000)


def write_and_die(descriptor: int, content: Any) -> int:
    """As `os.write`, but of much only the beginning is written."""
    if len(content) < 1000:
        return os.write(descriptor, content)
    os.write(descriptor, content[:1000])
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def at_work_or_stumble(shared: bytes, notes: Path, what: int | list[str]) -> bytes:
    """One of the two."""
    return at_work(shared, notes, what) if isinstance(what, int) else stumble(shared, notes, what)
