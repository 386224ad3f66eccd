"""Damaged and forged files by the thousand, put into everything that reads files.

`nox -s fuzz` runs it; `-- --inputs N`, `--seed S` and names of targets ask for more, for others and for fewer. Each
target is a reader, a few good files, and the errors that its documentation names. Hypothesis alters the files; a
reader must take the result or raise one of its errors, within `SECONDS` and with `BYTES` beyond the input's own size.
What fails is kept in `tests/fuzz_cases/TARGET/`, where `tests/test_fuzz_cases.py` plays it again for good.
"""

import argparse
import contextlib
import faulthandler
import gzip
import hashlib
import io
import json
import logging
import os
import signal
import sys
import tempfile
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from safetensors.torch import load, save

from kasmina_hosts import ArrayTask, DigitsTask, HostConfig, HostFamily, HostPopulation, StateError
from simic_training.growth.config import GrowthConfig
from simic_training.ppo.config import PPOConfig
from simic_training.report.page import render
from simic_training.report.records import read_run
from simic_training.runs.config import TrainConfig
from simic_training.runs.folder import RunFolder, RunStorageError
from simic_training.runs.interrupts import InterruptGuard
from simic_training.runs.settings import ConfigError, config_to_mapping
from simic_training.runs.sources import combine, from_preset, from_toml
from simic_training.runs.state import newest_state, state_files
from simic_training.runs.tensor_bytes import seal, unseal
from simic_training.runs.training import fresh_state, train
from tamiyo_policies import CheckpointError, load_checkpoint
from tamiyo_policies.checkpoint_metadata import digest
from tamiyo_policies.tensor_files import to_bytes

SECONDS = 5.0
BYTES = 512 * 2**20
HANGS = 120
"""Seconds after which a reader is stopped."""
CASES = Path(__file__).parents[1] / "tests/fuzz_cases"

_RUN = TrainConfig(
    episodes=4,
    groups=1,
    hidden_dim=8,
    env=GrowthConfig(
        family=HostFamily(class_counts=(2, 2), widths=(4, 4), max_label_noise=0.0, max_epochs=(2, 2)),
        host=HostConfig(interactions=False, batch_size=256),
        group_size=2,
    ),
    ppo=PPOConfig(epochs=1, minibatches=1),
)


class HungError(BaseException):
    """Raised in a reader that hangs: nothing that it catches."""


@dataclass(frozen=True)
class Target:
    """Something that reads a file.

    Args:
        good: contents that it takes.
        read: takes the path of a file.
        errors: what it may raise.
        suffix: of the file's name.
        reseal: makes a forgery of an altered content: what a checksum covers is altered, and the checksum fits.
    """

    good: list[bytes]
    read: Callable[[Path], object]
    errors: tuple[type[Exception], ...]
    suffix: str = ""
    reseal: Callable[[bytes], bytes] | None = None


@dataclass
class Tally:
    """What came of a target's inputs."""

    tried: int = 0
    taken: int = 0
    slowest: float = 0.0
    largest: int = 0
    faults: dict[str, bytes] = field(default_factory=dict)


def targets(folder: Path) -> dict[str, Target]:
    """Every target, with good files made in a folder."""
    run = RunFolder.create(folder / "run", _RUN)
    with InterruptGuard() as guard:
        train(_RUN, run, guard, on_progress=lambda progress: None)
    return {
        "checkpoint": Target(
            [run.checkpoint.read_bytes()],
            load_checkpoint,
            (CheckpointError,),
            ".safetensors",
            _checkpoint_resealed,
        ),
        "state": _state_target(run, folder),
        "npz": Target(list(_npz_files()), ArrayTask.from_npz, (ValueError,), ".npz"),
        "idx": _idx_target(folder),
        "toml": Target(
            [_toml().encode()],
            lambda path: combine([from_preset("quick"), from_toml(path)]),
            (ConfigError,),
            ".toml",
        ),
        "metrics": _line_target(run, "metrics.jsonl"),
        "episodes": _line_target(run, "episodes.jsonl"),
        "config": _line_target(run, "config.json"),
        "population": _population_target(),
    }


def _state_target(run: RunFolder, folder: Path) -> Target:
    """States of a run in a folder with nothing but the one that was altered."""
    content = state_files(run)[0].read_bytes()
    config = run.read_config()
    other = RunFolder.create(folder / "other", config)
    for path in (run.metrics, run.episodes):
        (other.path / path.name).write_bytes(path.read_bytes())
    place = other.states / state_files(run)[0].name
    fresh = fresh_state(config)

    def read(path: Path) -> object:
        path.replace(place)
        return newest_state(other, config, fresh)

    return Target(
        [content],
        read,
        (RunStorageError,),
        "",
        lambda altered: seal(altered[len(content) - len(unseal(content)) :]),
    )


def _line_target(run: RunFolder, name: str) -> Target:
    """A file of a run, read for the page; the other files are good."""

    def read(path: Path) -> object:
        good = (run.path / name).read_bytes()
        path.replace(run.path / name)
        try:
            return render(read_run(run))
        finally:
            (run.path / name).write_bytes(good)

    return Target([(run.path / name).read_bytes()], read, (RunStorageError,))


def _population_target() -> Target:
    population = HostPopulation(DigitsTask([0, 1]), HostConfig(max_epochs=3, interactions=False))
    population.reset([1, 2])
    good = save({name: tensor.contiguous() for name, tensor in population.state_dict().items()})

    def read(path: Path) -> object:
        try:
            tensors = load(path.read_bytes())
        except Exception as error:  # torch's and safetensors' own; only what loads is put in
            raise StateError(str(error)) from None
        population.load_state_dict(tensors)
        return population.reports()

    return Target([good], read, (StateError,))


def _npz_files() -> Iterator[bytes]:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 4, 4)).astype("f4"), np.arange(30) % 3
    for write in (np.savez, np.savez_compressed):
        file = io.BytesIO()
        write(file, x=x, y=y)
        yield file.getvalue()
    for header in (
        b"{'descr': '<f4', 'fortran_order': False, 'shape': ((1, }",
        b"{'shape': (10**12,)}",
        b"[" * 5000,
    ):
        file = io.BytesIO()
        np.savez(file, y=y)
        with zipfile.ZipFile(file, "a") as archive:
            archive.writestr("x.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
        yield file.getvalue()


def _idx_target(folder: Path) -> Target:
    labels = folder / "labels.idx"
    labels.write_bytes(b"\0\0\x08\x01" + (30).to_bytes(4, "big") + bytes(index % 3 for index in range(30)))
    lengths = b"".join(length.to_bytes(4, "big") for length in (30, 4, 4))
    images = b"\0\0\x08\x03" + lengths + bytes(index % 251 for index in range(480))
    return Target(
        [images, gzip.compress(images, mtime=0), gzip.compress(bytes(2**22), mtime=0)],
        lambda path: ArrayTask.from_idx(path, labels),
        (ValueError,),
    )


def _toml() -> str:
    """Every setting that is not a table in one, as a user might write it."""
    lines: list[str] = []

    def write(table: Mapping[str, Any], prefix: str) -> None:
        tables = {name: value for name, value in table.items() if isinstance(value, dict)}
        if prefix:
            lines.append(f"[{prefix}]")
        lines.extend(
            f"{name} = {json.dumps(value)}"
            for name, value in table.items()
            if name not in tables and value is not None
        )
        for name, value in tables.items():
            write(value, f"{prefix}.{name}" if prefix else name)

    write(config_to_mapping(replace(_RUN, env=replace(_RUN.env, group_size=16))), "")
    return "\n".join(lines) + "\n"


def _checkpoint_resealed(altered: bytes) -> bytes:
    """The SHA-256 in the metadata made to fit again, where the file can be read at all."""
    tensors = load(altered)
    end = 8 + int.from_bytes(altered[:8], "little")
    content = json.loads(json.loads(altered[8:end])["__metadata__"]["tamiyo"])
    del content["sha256"]
    return to_bytes(tensors, {"tamiyo": json.dumps(content | {"sha256": digest(content, tensors)})})


PIECES = [
    b"\0" * 8, b"\xff" * 8, b"\x7f" + b"\xff" * 7, b"[", b"]" * 9, b"{", b'"', b"\\", b"-1", b"0", b"1e308", b"NaN",
    b"Infinity", b"null", b"true", b"9" * 30, b"9" * 5000, b"[" * 3000, b'{"a":' * 3000, b"\xed\xa0\x80", b"\\ud800",
    b"\n", b",", b"(", b"'", b"10000000000", b"\x93NUMPY", b"PK\x03\x04", b"\x1f\x8b\x08",
]  # fmt: skip
"""What has hurt readers before."""


@st.composite
def altered(draw: st.DrawFn, target: Target) -> bytes:
    """A good content with a few edits, most of them where headers are."""
    content = bytearray(draw(st.sampled_from(target.good)))
    for _ in range(draw(st.integers(1, 4))):
        size = len(content)
        reach = draw(st.sampled_from([min(16, size), min(400, size), size]))
        place = draw(st.integers(0, max(reach - 1, 0)))
        if draw(st.booleans()) and reach < size:
            place = size - 1 - place  # tables of contents of archives stand at the end
        match draw(st.sampled_from(["flip", "byte", "piece", "over", "drop", "double", "cut", "number"])):
            case "flip" if size:
                content[place] ^= 1 << draw(st.integers(0, 7))
            case "byte" if size:
                content[place] = draw(st.integers(0, 255))
            case "piece":
                content[place:place] = draw(st.sampled_from(PIECES))
            case "over":
                piece = draw(st.sampled_from(PIECES))[:16]
                content[place : place + len(piece)] = piece
            case "drop":
                del content[place : place + draw(st.integers(1, 64))]
            case "double":
                content[place:place] = content[place : place + draw(st.integers(1, 200))]
            case "cut":
                del content[place:]
            case "number" if size:
                digits = [index for index, byte in enumerate(content[:4096]) if 48 <= byte <= 57]
                if digits:
                    content[digits[draw(st.integers(0, len(digits) - 1))]] = 48 + draw(st.integers(0, 9))
    return bytes(content)


@contextlib.contextmanager
def measured(tally: Tally) -> Iterator[list[float]]:
    """Seconds and bytes that the block takes, at its end; the worst of them are kept."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak of memory counts from here on
    before, started = _memory("VmRSS"), time.perf_counter()
    taken: list[float] = []
    yield taken
    taken += [time.perf_counter() - started, _memory("VmHWM") - before]
    tally.slowest = max(tally.slowest, taken[0])
    tally.largest = max(tally.largest, int(taken[1]))


def _memory(name: str) -> int:
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split(f"{name}:", 1)[1].split(None, 1)[0])


def attempt(
    target: Target, path: Path, content: bytes, tally: Tally, *, seconds: float = SECONDS
) -> str | None:
    """What is wrong with how a content is read; None if nothing is.

    Args:
        target: who reads. path: where the content is put for it. content: of the file. tally: counts it.
        seconds: that it may take.
    """
    path.write_bytes(content)
    fault = None
    with measured(tally) as taken:
        try:
            target.read(path)
            tally.taken += 1
        except target.errors as error:
            line = str(error)
            if not line or len(line) > 2000 or not line.isprintable():
                fault = f"message of {type(error).__name__}: {line[:100]!r}"
        except (Exception, HungError) as error:
            fault = f"{type(error).__name__}: {str(error)[:100]}"
    tally.tried += 1
    if taken[0] > seconds:
        fault = f"{taken[0]:.1f} seconds"
    if taken[1] > BYTES + len(content):
        fault = f"{taken[1] / 2**20:.0f} MiB"
    return fault


def fuzz(target: Target, path: Path, inputs: int, first: int, *, seconds: float = SECONDS) -> Tally:
    """Put so many altered contents in; faults are told apart by what was raised.

    A reader that hangs is stopped, and its content is a fault like others; one that hangs where Python cannot stop it
    ends the process, and its content is left at `path`.
    """
    tally = Tally()

    @seed(first)
    @settings(
        max_examples=inputs,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(altered(target), st.booleans())
    def put_in(content: bytes, forged: bool) -> None:
        if forged and target.reseal is not None:
            with contextlib.suppress(Exception):  # what cannot be read has no checksum to mend
                content = target.reseal(content)
        faulthandler.dump_traceback_later(2 * HANGS, exit=True)
        signal.alarm(HANGS)
        fault = attempt(target, path, content, tally, seconds=seconds)
        signal.alarm(0)
        faulthandler.cancel_dump_traceback_later()
        if fault is not None:
            kind = fault.split(":", 1)[0] + ":" + fault.split(":", 1)[-1][:40]
            tally.faults.setdefault(kind, content)

    before = signal.signal(signal.SIGALRM, _stop)
    try:
        put_in()
    finally:
        signal.signal(signal.SIGALRM, before)
    return tally


def _stop(signum: int, frame: object) -> None:
    raise HungError(f"it hangs for {HANGS} s")


def main() -> int:
    """Fuzz the targets that the command line names; 1 if there was a fault."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("targets", nargs="*", help="some of them (default: all)")
    parser.add_argument("--inputs", type=int, default=10_000, help="in all (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the inputs (default: %(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    faults = tried = 0
    started = time.perf_counter()
    print(f"{'target':<12}{'inputs':>8}{'taken':>8}{'faults':>8}{'slowest s':>11}{'MiB beyond':>12}")
    with tempfile.TemporaryDirectory() as folder:
        known = targets(Path(folder))
        if unknown := set(options.targets) - known.keys():
            parser.error(f"there is no target {', '.join(sorted(unknown))}; there are {', '.join(known)}")
        chosen = {name: known[name] for name in options.targets or known}
        for name, target in chosen.items():
            tally = fuzz(
                target,
                Path(folder) / f"input{target.suffix}",
                -(-options.inputs // len(chosen)),
                options.seed,
            )
            row = f"{name:<12}{tally.tried:>8}{tally.taken:>8}{len(tally.faults):>8}"
            print(f"{row}{tally.slowest:>11.2f}{tally.largest / 2**20:>12.1f}", flush=True)
            for fault, content in tally.faults.items():
                case = CASES / name / hashlib.sha256(content).hexdigest()[:12]
                case.parent.mkdir(parents=True, exist_ok=True)
                case.write_bytes(content)
                print(f"  {fault} -> {case.relative_to(CASES.parent)}")
            faults, tried = faults + len(tally.faults), tried + tally.tried
    print(f"{tried} inputs in {time.perf_counter() - started:.0f} s, {faults} faults")
    return int(faults > 0)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
