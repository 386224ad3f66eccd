"""What a worker of a Ray cluster does with a unit."""

import os
import platform
from collections.abc import Mapping
from time import perf_counter
from typing import Any, NamedTuple

import torch

from simic_training.engines.faults import in_words
from simic_training.engines.unit import Work
from simic_training.engines.versions import versions


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
