"""What `tamiyo doctor` looks at."""

import importlib.util
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final, NamedTuple

import torch

from simic_training.engines.local import cores
from simic_training.engines.ray_engine import RayEngine
from simic_training.engines.ray_nodes import Node, nodes
from simic_training.engines.ray_start import FOLDER, START_TIMEOUT
from simic_training.engines.unit import EngineError
from simic_training.engines.versions import LIBRARIES, PACKAGES
from tamiyo_policies import get_policy, list_policies, register_builtin_policies

LEAST_DISK: Final = 100 * 2**20
"""Bytes; a run takes a tenth of it."""

_MOST_FAULTS: Final = 5
"""Nodes of a cluster whose faults are told one by one."""

_EXTRAS: Final = (
    ("sb3", "sb3_contrib", "sb3-contrib", "training with Stable Baselines 3"),
    ("torchrl", "torchrl", "torchrl", "training with TorchRL"),
    ("tensorboard", "tensorboard", "tensorboard", "tamiyo train --tensorboard"),
    ("ray", "ray", "ray", "--engine ray"),
)
_BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


class Check(NamedTuple):
    """Something that was looked at.

    Args:
        name: what. found: how it is.
        advice: what to do about it; empty where it is well.
        needed: whether training cannot do without it.
    """

    name: str
    found: str
    advice: str = ""
    needed: bool = False


def every_check(
    *, ray: bool = False, address: str | None = None, start_timeout: float = START_TIMEOUT
) -> list[Check]:
    """Look at everything.

    Args:
        ray: whether the engine is to be Ray, and not this machine's processes.
        address, start_timeout: see `RayEngine`.
    """
    return [
        *machine(),
        engine(ray, address, start_timeout),
        *packages(),
        *policies(),
        *folder(Path()),
        *extras(),
    ]


def machine() -> Iterator[Check]:
    """Interpreter, processors and compiler."""
    yield Check("Python", platform.python_version())
    yield Check("platform", platform.platform())
    yield Check("cores", str(cores()))
    for name in (*LIBRARIES, "gymnasium", "rich"):
        yield Check(name, version(name))
    yield Check("threads of torch", f"{torch.get_num_threads()}; tamiyo and each of its workers use 1")
    yield Check("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "not set"))
    accelerators = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    accelerators += ["mps"] if torch.backends.mps.is_available() else []
    yield Check("devices", ", ".join(["cpu", *accelerators]))
    compilers = [
        found for name in (os.environ.get("CXX", ""), "g++", "clang++") if (found := shutil.which(name))
    ]
    yield (
        Check("C++ compiler", compilers[0])
        if compilers
        else Check("C++ compiler", "missing", "for compiled policies: install g++ or clang, or set CXX")
    )


def engine(ray: bool, address: str | None, start_timeout: float) -> Check:
    """Who would do units of work."""
    if not ray:
        found = f"local: up to {cores()} worker processes of one thread each"
        return Check("engine", f"{found}; --engine ray looks for a cluster")
    try:
        with closing(RayEngine(address, start_timeout=start_timeout)):
            machines = nodes()
    except EngineError as error:
        return Check("engine", "ray: not there", str(error), needed=True)
    found = f"ray: {address or 'started for this command'}, nodes {len(machines)}"
    found += f", cores {sum(node.cores for node in machines)}"
    if address is None:
        kept = Path(tempfile.gettempdir(), f"{FOLDER}*")
        found += f"; this machine alone can reach it; until it ends its sockets and logs are in {kept}"
    return Check("engine", found, _lacking(machines), needed=True)


def _lacking(found: Sequence[Node]) -> str:
    """What to do about a cluster; empty where nothing needs to be done."""
    if not any(node.cores for node in found):
        return "nobody is there to do anything: ray start --address=HOST:PORT on other machines"
    faults = [f"{node.name}: {node.fault}" for node in found if node.fault and node.cores]
    more = len(faults) - _MOST_FAULTS
    return "; ".join([*faults[:_MOST_FAULTS], *([f"and on {more} more"] if more > 0 else [])])


def packages() -> Iterator[Check]:
    """The six packages, which must be of one version."""
    ours = version("simic-training")
    for name in PACKAGES:
        try:
            found = version(name)
        except PackageNotFoundError:
            yield Check(name, "missing", f"pip install {name}=={ours}", needed=True)
            continue
        advice = "" if found == ours else f"pip install {name}=={ours}"
        yield Check(name, found, advice, needed=True)


def policies() -> Iterator[Check]:
    """Everything registered, and what installed packages offer."""
    register_builtin_policies()
    for name in list_policies():
        try:
            get_policy(name)
        except Exception as error:  # whatever a foreign module does when it is imported
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            yield Check(
                f"policy {name}", f"broken: {reason}", "update or uninstall the package that offers it"
            )
        else:
            yield Check(f"policy {name}", "ready")


def folder(path: Path) -> Iterator[Check]:
    """Whether runs can be put here."""
    try:
        with tempfile.TemporaryFile(dir=path):
            yield Check("this folder", f"{path.resolve()}, writable")
    except OSError as error:
        advice = "go to another folder, or give tamiyo train a --run that can be written"
        yield Check("this folder", f"{path.resolve()}: {error.strerror}", advice, needed=True)
    free = shutil.disk_usage(path).free
    advice = "" if free >= LEAST_DISK else f"make room: a run needs up to {LEAST_DISK >> 20} MiB"
    yield Check("free disk space", f"{free / 2**30:.1f} GiB", advice, needed=True)


def extras() -> Iterator[Check]:
    """What only some need."""
    for extra, module, distribution, purpose in _EXTRAS:
        if importlib.util.find_spec(module) is None:
            advice = f"for {purpose}: pip install 'simic-training[{extra}]'"
            yield Check(f"extra {extra}", "missing", advice)
        else:
            yield Check(f"extra {extra}", f"{distribution} {version(distribution)}")
    browsers = [found for name in _BROWSERS if (found := shutil.which(name))]
    yield (
        Check("chromium", browsers[0])
        if browsers
        else Check("chromium", "missing", "for the tests of tamiyo report: install chromium")
    )
