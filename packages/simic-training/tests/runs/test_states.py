"""A state proves itself: no bit of it can change unseen, and what it says is held against what is there."""

import logging
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from run_settings import TINY
from run_traces import lasting
from torch import Tensor

from simic_training.runs.folder import EPISODES, METRICS, RunFolder, RunStorageError
from simic_training.runs.interrupts import InterruptGuard
from simic_training.runs.state import TrainingState, newest_state, save_state, state_files
from simic_training.runs.tensor_bytes import seal, tensors_from_bytes, tensors_to_bytes, unseal
from simic_training.runs.training import Progress, fresh_state, train

UPDATES = 3
"""Done when the run was ended."""


class StopError(Exception):
    """Ends a run from inside."""


def go(run: RunFolder, updates: int) -> None:
    """Go on until so many updates are done."""

    def stop(progress: Progress) -> None:
        if progress.updates_done == updates:
            raise StopError

    with InterruptGuard() as guard, pytest.raises(StopError):
        train(run.read_config(), run, guard, on_progress=stop, resume=True)


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run that was ended after `UPDATES` updates; tests copy it."""
    run = RunFolder.create(tmp_path_factory.mktemp("runs") / "ended", TINY)
    go(run, UPDATES)
    return run


@pytest.fixture(scope="module")
def unbroken(ended: RunFolder) -> dict[str, object]:
    """What the run leaves when it goes on for one more update, nothing being damaged."""
    run = copy_of(ended, ended.path.with_name("unbroken"))
    go(run, UPDATES + 1)
    return lasting(run)


def copy_of(run: RunFolder, path: Path) -> RunFolder:
    shutil.copytree(run.path, path)
    return RunFolder(path)


@pytest.fixture
def run(ended: RunFolder, tmp_path: Path) -> RunFolder:
    return copy_of(ended, tmp_path / "run")


def weights_of(state: TrainingState) -> dict[str, Tensor]:
    """Everything that is in a state, as it would be saved."""
    tensors = dict(state.policy.state_dict())
    for index, moments in state.optimizer.state_dict()["state"].items():
        tensors |= {f"{index}.{name}": value for name, value in moments.items()}
    assert state.normalizer is not None
    return tensors | dict(zip(state.normalizer._fields, state.normalizer, strict=True))


def same(found: TrainingState, expected: TrainingState) -> bool:
    left, right = weights_of(found), weights_of(expected)
    return (found.update, found.earlier, left.keys()) == (
        expected.update,
        expected.earlier,
        right.keys(),
    ) and all(torch.equal(left[name], right[name]) for name in left)


def bits_to_flip(content: bytes, others: int) -> Iterator[tuple[int, int]]:
    """Every bit of a state's note, and so many anywhere else: places of byte and bit."""
    start = content.index(b'{"__metadata__"')
    end = content.index(b'}}"}', start) + 4
    note = range(start, end)
    assert b"lengths" in content[start:end]
    yield from ((place, bit) for place in note for bit in range(8))
    rng = random.Random(0)
    places = [place for place in range(len(content)) if place not in note]
    yield from ((rng.choice(places), rng.randrange(8)) for _ in range(others))


def flipped(content: bytes, place: int, bit: int) -> bytes:
    changed = bytearray(content)
    changed[place] ^= 1 << bit
    return bytes(changed)


def test_any_flipped_bit_brings_the_state_before_back(
    run: RunFolder, caplog: pytest.LogCaptureFixture
) -> None:
    newest, _ = state_files(run)
    content = newest.read_bytes()
    newest.unlink()
    expected, lengths = newest_state(run, TINY, fresh_state(TINY))
    assert expected.update == UPDATES - 1
    fresh, tried = fresh_state(TINY), 0
    for place, bit in bits_to_flip(content, 250):
        newest.write_bytes(flipped(content, place, bit))
        caplog.clear()
        found, found_lengths = newest_state(run, TINY, fresh)
        assert found_lengths == lengths, (place, bit)
        assert same(found, expected), (place, bit)
        assert f"{newest} cannot be used (it is damaged: " in caplog.text, (place, bit)
        tried += 1
    assert tried > 1400
    newest.write_bytes(content)
    assert newest_state(run, TINY, fresh_state(TINY))[0].update == UPDATES


@pytest.mark.parametrize("number", range(6))
def test_a_run_with_a_flipped_bit_ends_as_the_unbroken_one(
    run: RunFolder, unbroken: dict[str, object], caplog: pytest.LogCaptureFixture, number: int
) -> None:
    newest = state_files(run)[0]
    content = newest.read_bytes()
    bits = list(bits_to_flip(content, 250))
    newest.write_bytes(flipped(content, *random.Random(number).choice(bits)))
    with caplog.at_level(logging.WARNING):
        go(run, UPDATES + 1)
    assert "going back to the state before it" in caplog.text
    assert lasting(run) == unbroken


def test_bytes_that_are_missing_or_too_many_are_damage(run: RunFolder) -> None:
    newest = state_files(run)[0]
    content = newest.read_bytes()
    for damaged in (*(content[:length] for length in range(0, len(content), 997)), content + b"\0"):
        newest.write_bytes(damaged)
        assert newest_state(run, TINY, fresh_state(TINY))[0].update == UPDATES - 1


Forgery = Callable[[dict[str, Tensor], dict[str, Any]], object]


def renamed(old: str, new: str) -> Forgery:
    return lambda tensors, note: tensors.__setitem__(new, tensors.pop(old))


def replaced(name: str, change: Callable[[Tensor], Tensor]) -> Forgery:
    return lambda tensors, note: tensors.__setitem__(name, change(tensors[name]))


def noted(**entries: Any) -> Forgery:
    return lambda tensors, note: note.update(entries)


def with_length(name: str, change: Callable[[int], Any]) -> Forgery:
    return lambda tensors, note: note["lengths"].__setitem__(name, change(note["lengths"][name]))


FORGERIES: dict[str, tuple[Forgery, str]] = {
    "a moment of no weight": (renamed("optimizer.0.exp_avg", "optimizer.x.exp_avg"), "'optimizer.x.exp_avg'"),
    "a moment of another kind": (
        renamed("optimizer.0.exp_avg", "optimizer.0.momentum"),
        "unknown 'optimizer.0.momentum'",
    ),
    "a moment beyond the weights": (
        renamed("optimizer.0.exp_avg", "optimizer.999.exp_avg"),
        "unknown 'optimizer.999.exp_avg'",
    ),
    "a moment less": (
        lambda tensors, note: tensors.pop("optimizer.0.exp_avg"),
        "of 'optimizer.0' it holds exp_avg_sq, step alone",
    ),
    "a moment of another shape": (
        replaced("optimizer.0.exp_avg", lambda old: old[:1].clone()),
        "'optimizer.0.exp_avg' is",
    ),
    "a moment of another type": (
        replaced("optimizer.0.exp_avg", Tensor.double),
        "'optimizer.0.exp_avg' is torch.float64",
    ),
    "a squared moment below 0": (replaced("optimizer.0.exp_avg_sq", lambda old: old - 1), "values below 0"),
    "weights of an update before": (
        lambda tensors, note: tensors.__setitem__("earlier.7", torch.zeros(3, dtype=torch.uint8)),
        "earlier weights 'earlier.7', expected 0",
    ),
    "a name without a part": (lambda tensors, note: tensors.__setitem__("x", torch.zeros(3)), "unknown 'x'"),
    "a weight less": (lambda tensors, note: tensors.pop(first_weight(tensors)), "is missing"),
    "a weight of another type": (
        lambda tensors, note: tensors.__setitem__(
            first_weight(tensors), tensors[first_weight(tensors)].double()
        ),
        "is torch.float64, expected torch.float32",
    ),
    "a weight that is NaN": (
        lambda tensors, note: tensors[first_weight(tensors)].view(-1)[0].fill_(float("nan")),
        "holds NaN or inf",
    ),
    "a moment that is inf": (
        replaced("optimizer.0.exp_avg", lambda old: old / 0),
        "'optimizer.0.exp_avg' holds NaN or inf",
    ),
    "a normaliser less": (
        lambda tensors, note: [tensors.pop(name) for name in list(tensors) if name.startswith("normalizer.")],
        "a normaliser has",
    ),
    "update as text": (noted(update="3"), "its 'update' is '3', expected an integer"),
    "update as a truth value": (noted(update=True), "its 'update' is True"),
    "update below 0": (noted(update=-1), "its 'update' is -1"),
    "another update": (noted(update=2), "it says update 2, its name says 3"),
    "a length as a fraction": (with_length(METRICS, float), "its 'metrics.jsonl' is"),
    "a length below 0": (with_length(EPISODES, lambda old: -old), "its 'episodes.jsonl' is -"),
    "lengths as a list": (noted(lengths=[1, 2]), "its `lengths` are [1, 2]"),
    "one length": (lambda tensors, note: note["lengths"].pop(METRICS), "its `lengths` are {"),
    "a length beyond the file": (
        with_length(METRICS, lambda old: old + 1),
        "bytes of metrics.jsonl, which has",
    ),
    "a length inside a line": (with_length(EPISODES, lambda old: old - 5), "and a part of one, expected 12"),
    "a length of fewer lines": (with_length(METRICS, lambda old: 0), "these hold 0 whole lines, expected 3"),
    "another format": (noted(format="tamiyo-training-1"), "its format is 'tamiyo-training-1'"),
    "a key too many": (noted(more=1), "its note is {"),
}


def first_weight(tensors: dict[str, Tensor]) -> str:
    return min(name for name in tensors if name.startswith("policy."))


def forge(path: Path, forgery: Forgery) -> None:
    """Change a state, with a valid checksum over the change."""
    tensors, note = tensors_from_bytes(unseal(path.read_bytes()))
    forgery(tensors, note)
    path.write_bytes(seal(tensors_to_bytes(tensors, note)))


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_state_is_refused_by_name_before_anything_is_cut(
    run: RunFolder, unbroken: dict[str, object], caplog: pytest.LogCaptureFixture, name: str
) -> None:
    forgery, said = FORGERIES[name]
    newest, before = state_files(run)
    forge(newest, forgery)
    files = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    found, _ = newest_state(run, TINY, fresh_state(TINY))
    assert found.update == UPDATES - 1
    (line,) = (record.getMessage() for record in caplog.records)
    assert line.startswith(f"{newest} cannot be used (")
    assert said in line
    before.unlink()
    del files[before]
    with pytest.raises(RunStorageError, match="none of its 1 states can be used"):
        train(TINY, run, InterruptGuard(), on_progress=lambda progress: None, resume=True)
    assert files == {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}


@pytest.mark.parametrize("note", [True, None, [], "note", 3, {}])
def test_a_note_that_is_no_note_is_refused(run: RunFolder, note: Any) -> None:
    newest = state_files(run)[0]
    tensors, _ = tensors_from_bytes(unseal(newest.read_bytes()))
    newest.write_bytes(seal(tensors_to_bytes(tensors, note)))
    assert newest_state(run, TINY, fresh_state(TINY))[0].update == UPDATES - 1


def test_an_update_beyond_the_metrics_is_refused(run: RunFolder, caplog: pytest.LogCaptureFixture) -> None:
    newest = state_files(run)[0]
    beyond = newest.with_name("000090.state")
    newest.rename(beyond)
    forge(beyond, noted(update=90))
    assert newest_state(run, TINY, fresh_state(TINY))[0].update == UPDATES - 1
    assert f"it says update 90, the run has {TINY.updates}" in caplog.text
    sooner = beyond.rename(newest.with_name("000009.state"))
    forge(sooner, noted(update=9))
    assert newest_state(run, TINY, fresh_state(TINY))[0].update == UPDATES - 1
    assert "bytes of metrics.jsonl: these hold 3 whole lines, expected 9" in caplog.text


def test_a_state_that_is_no_regular_file_is_passed_over(
    run: RunFolder, unbroken: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    newest = state_files(run)[0]
    newest.unlink()
    newest.mkdir()
    assert newest_state(run, TINY, fresh_state(TINY))[0].update == UPDATES - 1
    assert "is a folder, expected a regular file" in caplog.text
    go(run, UPDATES + 1)
    assert lasting(run) == unbroken


def test_metrics_that_lost_lines_bring_the_state_before_back(
    run: RunFolder, unbroken: dict[str, object]
) -> None:
    lines = run.metrics.read_bytes().splitlines(keepends=True)
    run.metrics.write_bytes(b"".join(lines[:-1]))
    go(run, UPDATES + 1)
    assert lasting(run) == unbroken


def test_a_state_is_as_it_was_saved(run: RunFolder) -> None:
    state, _ = newest_state(run, TINY, fresh_state(TINY))
    path = state_files(run)[0]
    content = path.read_bytes()
    save_state(run, state)
    assert path.read_bytes() == content


def test_a_run_whose_states_are_gone_is_not_begun_again(run: RunFolder) -> None:
    shutil.rmtree(run.states)
    run.states.mkdir()
    metrics = run.metrics.read_bytes()
    with pytest.raises(
        RunStorageError, match=r"metrics\.jsonl holds 3 updates, and .*states holds no state$"
    ):
        train(TINY, run, InterruptGuard(), on_progress=lambda progress: None, resume=True)
    assert run.metrics.read_bytes() == metrics


def test_a_state_of_a_later_update_goes_once_the_run_goes_on(run: RunFolder) -> None:
    newest = state_files(run)[0]
    newest.rename(newest.with_name("000090.state"))
    go(run, UPDATES + 1)
    assert [path.name for path in state_files(run)] == ["000004.state", "000003.state"]
