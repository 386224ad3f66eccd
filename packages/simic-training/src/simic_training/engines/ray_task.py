"""A unit as a task of Ray: what a worker does with it, and what comes of that."""

import os
import platform
from collections.abc import Mapping
from time import perf_counter
from typing import Any, Final, NamedTuple

import torch

from simic_training.engines.faults import in_words
from simic_training.engines.ray_library import import_ray
from simic_training.engines.unit import Work
from simic_training.engines.versions import versions

_RAY: Final = "Ray"


class Reply(NamedTuple):
    """What comes of a unit.

    Args:
        content: its result; None where it failed. fault: what happened then, in words.
        worker: who did it. seconds: what it took. died: whether the worker died of it.
    """

    content: bytes | None
    fault: str
    worker: str
    seconds: float = 0.0
    died: bool = False


def do_unit(expected: Mapping[str, str], work: Work, shared: bytes, *arguments: Any) -> Reply:
    """Do a unit on one thread; nothing that it raises is raised here.

    Args:
        expected: `versions` of the process that asked; others might give other results.
        work, shared, arguments: see `Work`.
    """
    worker = f"{platform.node()}:{os.getpid()}"
    unlike = [
        f"{name} {found} instead of {expected.get(name)}"
        for name, found in versions().items()
        if found != expected.get(name)
    ]
    if unlike:
        return Reply(None, f"the node has {', '.join(unlike)}", worker)
    torch.set_num_threads(1)
    started = perf_counter()
    try:
        content = work(shared, *arguments)
    except Exception as error:
        return Reply(None, in_words(error), worker)
    return Reply(content, "", worker, perf_counter() - started)


def unit_task(cores: int) -> Any:
    """`do_unit` as a task that takes so many cores. Ray tries nothing twice: whoever asks counts what failed."""
    return import_ray().remote(num_cpus=cores, max_retries=0)(do_unit)


def reply_of(ready: Any) -> Reply:
    """What came of a task that has ended. Units raise nothing, so an error is that of a worker, a node or the store."""
    ray = import_ray()
    try:
        reply: Reply = ray.get(ready)
    except ray.exceptions.RayTaskError as error:
        return Reply(None, f"it could not be begun there: {_last_words(error)}", _RAY)
    except ray.exceptions.RayError as error:
        said = " ".join(str(error).split())
        return Reply(None, f"the worker died: {type(error).__name__}: {said}", _RAY, died=True)
    return reply


def _last_words(error: Any) -> str:
    """What is behind an error whose text is a traceback, unless Ray itself lost something."""
    if isinstance(error.cause, import_ray().exceptions.ObjectLostError):
        return f"{type(error.cause).__name__}: {' '.join(str(error.cause).split())}"
    return str(error).split("\n")[-1]
