"""One process at a time trains in a run folder."""

import os
import signal
from pathlib import Path

import pytest
from processes import wait_until

from simic_training.runs.config import TrainConfig
from simic_training.runs.folder import RunFolder, RunFolderError
from simic_training.runs.lock import is_locked, locked


@pytest.fixture
def run(tmp_path: Path, tiny_config: TrainConfig) -> RunFolder:
    return RunFolder.create(tmp_path / "run", tiny_config)


def test_a_second_one_is_refused_and_told_who_has_it(run: RunFolder) -> None:
    assert not is_locked(run)
    with locked(run):
        assert is_locked(run)
        with (
            pytest.raises(RunFolderError, match=rf"another process \({os.getpid()}\) is training in"),
            locked(run),
        ):
            pytest.fail("two at once")
        assert is_locked(run)
    assert not is_locked(run)
    with locked(run):
        assert is_locked(run)


def test_an_error_lifts_it(run: RunFolder) -> None:
    with pytest.raises(KeyError), locked(run):
        raise KeyError
    assert not is_locked(run)


def test_it_dies_with_its_process(run: RunFolder) -> None:
    child = os.fork()
    if child == 0:
        with locked(run):
            signal.pause()
        os._exit(0)
    wait_until("the other process has it", lambda: is_locked(run))
    with pytest.raises(RunFolderError, match=rf"\({child}\)"), locked(run):
        pytest.fail("two at once")
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with locked(run):
        pass


def test_looking_does_not_keep_others_out(run: RunFolder) -> None:
    for _ in range(50):
        with locked(run):
            pass
        assert not is_locked(run)
