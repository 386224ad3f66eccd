"""The command as a user meets it: what it prints, writes and returns, also when misused."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from simic_training.cli import main
from tamiyo_policies import clear_registry

QUICK = ["--episodes", "4", "--hosts", "1", "--replicas", "2", "--epochs", "3"]


def test_train_then_evaluate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    assert main(["train", "--run", str(run), *QUICK]) == 0
    printed = capsys.readouterr().out
    for text in ("update 2/2", "grew on a host that it never saw", "r0c2", "Test accuracy", "growth.png"):
        assert text in printed
    names = {path.name for path in run.iterdir()}
    assert names == {"config.json", "metrics.jsonl", "checkpoint.safetensors", "growth.png"}

    clear_registry()  # as in a process of its own
    assert main(["evaluate", str(run), "--hosts", "2"]) == 0
    printed = capsys.readouterr().out
    rows = json.loads((run / "evaluation.json").read_text())
    assert [row["controller"] for row in rows] == ["policy", "policy-greedy", "heuristic", "random", "static"]
    for row in rows:
        assert row["controller"] in printed


def test_second_run_into_the_same_folder_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--run", str(tmp_path), *QUICK]) == 2
    assert (
        capsys.readouterr().err == f"tamiyo: run folder {tmp_path} exists; a run never overwrites another\n"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "--epsiodes", "3"], "unrecognized arguments: --epsiodes 3"),
        (["train", "--episodes", "many"], "invalid int value: 'many'"),
        (["train", "--episodes", "0"], "`episodes` must be above 0 and finite, not 0"),
        (["train", "--epochs", "0"], "`max_epochs` must be"),
        (["train", "--rent", "nan"], "`rent_rate` must be at least 0 and finite, not nan"),
        (["train", "--policy", "gru"], "no policy 'gru'; choose from"),
        (
            ["evaluate", "nowhere", "--against", "chance"],
            "no controller 'chance'; choose from heuristic, random",
        ),
        (["evaluate", "nowhere", "--hosts", "1"], "an interval needs at least 2 hosts, not 1"),
        (["evaluate", "nowhere", "--hosts", "x"], "invalid int value: 'x'"),
        (["evaluate"], "the following arguments are required: RUN"),
        (["grow"], "invalid choice: 'grow'"),
        ([], "the following arguments are required: COMMAND"),
    ],
)
def test_wrong_usage_is_one_line_and_code_2(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    printed = capsys.readouterr()
    assert caught.value.code == 2
    assert message in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""


def test_missing_run_is_one_line_and_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(tmp_path / "nowhere")]) == 2
    assert capsys.readouterr().err == f"tamiyo: run folder {tmp_path / 'nowhere'} does not exist\n"


def test_damaged_checkpoint_is_one_line_and_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert main(["train", "--run", str(run), *QUICK]) == 0
    checkpoint = run / "checkpoint.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    capsys.readouterr()
    clear_registry()
    assert main(["evaluate", str(run), "--hosts", "2"]) == 1
    printed = capsys.readouterr().err
    assert str(checkpoint) in printed
    assert "damaged" in printed
    assert printed.count("\n") == 1


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_a_run_with_its_checkpoint_written(tmp_path: Path, signum: int) -> None:
    run = tmp_path / "run"
    command = [sys.executable, "-c", "import sys; from simic_training.cli import main; sys.exit(main())"]
    environment = {**os.environ, "COLUMNS": "200"}
    process = subprocess.Popen(
        [
            *command,
            "train",
            "--run",
            str(run),
            "--episodes",
            "4000",
            "--hosts",
            "2",
            "--replicas",
            "1",
            "--epochs",
            "3",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    deadline = time.monotonic() + 120
    while not (run / "metrics.jsonl").exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signum)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signum, err
    assert err == f"tamiyo: ended by {signal.Signals(signum).name}\n"
    assert "Stopped. The policy of the last whole update is in" in out
    assert (run / "checkpoint.safetensors").stat().st_size > 0
    for line in (run / "metrics.jsonl").read_text().splitlines():
        json.loads(line)


def test_signal_ends_an_evaluation_in_one_line(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert main(["train", "--run", str(run), *QUICK]) == 0
    program = "import sys; from simic_training.cli import main; print('up', flush=True); sys.exit(main())"
    process = subprocess.Popen(
        [sys.executable, "-c", program, "evaluate", str(run), "--hosts", "512"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "tamiyo: ended by SIGINT\n")
