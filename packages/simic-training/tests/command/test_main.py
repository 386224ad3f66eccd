"""What wrong usage and failures print, and the exit codes that they have."""

import errno
import logging
import os
import sys
from pathlib import Path

import pytest
from commands import train

from kasmina_hosts import DivergedHostError
from simic_training.command import headroom as headroom_module
from simic_training.command import train as train_module
from simic_training.command.main import main
from simic_training.ppo.finite import NonFiniteLossError
from tamiyo_policies import CheckpointError, clear_registry


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["plant"], "invalid choice: 'plant'"),
        (["--verison"], "the following arguments are required: COMMAND"),
        (["train", "--epsiodes", "3"], "unknown option --epsiodes; the nearest is --episodes"),
        (["train", "--epsiodes=3"], "unknown option --epsiodes; the nearest is --episodes"),
        (
            ["train", "--learning-rate", "3"],
            "unknown option --learning-rate; the nearest is --ppo.learning-rate",
        ),
        (["train", "--ppo.learning_rate", "3"], "the nearest is --ppo.learning-rate"),
        (["train", "--epi", "3"], "unknown option --epi; the nearest is"),
        (["train", "--ressume", "x"], "unknown option --ressume; the nearest is --resume"),
        (["train", "now"], "nothing takes the word 'now'"),
        (["train", "--episodes"], "argument --episodes: expected one argument"),
        (["train", "--preset", "slow"], "argument --preset: invalid choice: 'slow'"),
        (["evaluate"], "the following arguments are required: RUN"),
        (["evaluate", "x", "--hosts-per-member", "0"], "must be an integer of at least 1, not '0'"),
        (["evaluate", "x", "--members-per-lack", "-1"], "must be an integer of at least 1, not '-1'"),
        (["evaluate", "x", "--seed", "1.5"], "must be an integer of at least 0, not '1.5'"),
        (["evaluate", "x", "--schedules", "all"], "unknown option --schedules; the nearest is"),
        (["evaluate", "x", "--against", "random"], "unknown option --against; the nearest is"),
        (["headroom", "--out", "x"], "unknown option --out; the nearest is"),
        (["headroom", "--topology", "rnn"], "argument --topology: invalid choice: 'rnn'"),
        (["headroom", "a", "b"], "nothing takes the word 'b'"),
        (["report"], "the following arguments are required: RUN"),
        (["report", "a", "b"], "nothing takes the word 'b'"),
        (["grow", "x"], "the following arguments are required: --update, --group"),
        (
            ["grow", "x", "--update", "0", "--group", "1"],
            "argument --update: must be an integer of at least 1",
        ),
        (["doctor", "--fix"], "unknown option --fix; the nearest is --engine"),
        (["list", "polices"], "argument what: invalid choice: 'polices'"),
    ],
)
def test_words_that_are_no_command(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    printed = capsys.readouterr()
    assert caught.value.code == 2
    assert message in printed.err
    assert printed.err.count("\n") == 1
    assert printed.err.startswith("tamiyo")
    assert printed.out == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "--episodes", "many"], "--episodes: `episodes` must be an integer, not 'many'"),
        (["train", "--episodes", "0"], "--episodes: `episodes` must be at least 1, not 0"),
        (["train", "--seed", "-1"], "--seed: `seed` must lie in [0, 1000000), not -1"),
        (["train", "--env.prices", "nan,1"], "--env.prices: `env.prices` must be above 0"),
        (["train", "--env.prices", "1,0.1"], ", the least first, not (1.0, 0.1)"),
        (
            ["train", "--env.host.max-epochs", "9"],
            "`env.host.max_epochs` is drawn from `env.family.max_epochs`",
        ),
        (
            ["train", "--config", "nowhere.toml"],
            "settings file nowhere.toml cannot be read: No such file or directory",
        ),
        (["train", "--config", "."], "settings file cannot be read: . is a folder, expected a regular file"),
        (
            ["train", "--config", "wrong.toml"],
            "wrong.toml, line 2: unknown key `env.widht`; the nearest is `env.",
        ),
        (["train", "--policy", "gru"], "policy 'gru' is unknown; policies are lstm, mlp"),
        (["train", "--policy", ""], "policy '' is unknown"),
        (["train", "--env.data", "nowhere.npz"], "No such file or directory: "),
        (["train", "--env.data", "wrong.toml"], "wrong.toml"),
        (["train", "--env.rules.enabled-slots", "r7c7"], "slot 'r7c7' is not one of r0c0, r0c1, r0c2"),
        (["train", "--env.rules.enabled-blueprints", "mlp"], "cnn"),
        (["train", "--run", "."], "run folder . exists; a run never overwrites another"),
        (
            ["train", "--run", "wrong.toml/run"],
            "run folder wrong.toml/run cannot be written: Not a directory",
        ),
        (["train", "--run", "wrong.toml"], "run folder wrong.toml exists; a run never overwrites another"),
        (["train", "--resume", "nowhere"], "run folder nowhere does not exist"),
        (["train", "--resume", "."], ". is not the folder of a run: it holds no config.json"),
        (
            ["train", "--resume", "nowhere", "--preset", "full"],
            "with the run's own settings, without --preset",
        ),
        (["train", "--resume", "nowhere", "--config", "x"], "with the run's own settings, without --config"),
        (["train", "--resume", "nowhere", "--run", "x"], "with the run's own settings, without --run"),
        (["train", "--resume", "nowhere", "--seed", "1", "--ppo.clip", "1"], "without --seed, --ppo.clip"),
        (["evaluate", "nowhere"], "run folder nowhere does not exist"),
        (["report", "nowhere"], "run folder nowhere does not exist"),
        (["headroom", "--seed", "-1"], "`seed` must lie in"),
        (["headroom", "wrong.toml", "--workers", "1"], "folder wrong.toml is a file"),
        (["headroom", "--env.family.max-epochs", "4,9"], "`env.family.max_epochs` must be above 4"),
        (["headroom", "--env.family.lacks", "nothing", "--members-per-lack", "3"], "at least 16 are needed"),
        (["list", "policies", "here"], "only tamiyo list runs takes a folder, not tamiyo list policies"),
        (["list", "runs", "nowhere"], "folder nowhere does not exist"),
    ],
)
def test_options_that_cannot_be_followed(
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("wrong.toml").write_text("[env]\nwidht = 3\n")
    assert main(words) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.err.count("\n") == 1
    assert printed.err.startswith("tamiyo: ")
    assert printed.out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["wrong.toml"]


@pytest.mark.parametrize(
    ("error", "line", "code"),
    [
        (
            NonFiniteLossError("not finite: advantage (1 of 6 entries)"),
            "not finite: advantage (1 of 6 entries)",
            1,
        ),
        (DivergedHostError("host 3 is not finite"), "host 3 is not finite", 1),
        (CheckpointError("checkpoint x is damaged"), "checkpoint x is damaged", 1),
        (
            OSError(errno.EACCES, "Permission denied", "states/1"),
            "Permission denied: states/1; nothing is lost: tamiyo train --resume {run} goes on",
            1,
        ),
        (MemoryError(), "out of memory; nothing is lost: tamiyo train --resume {run} goes on", 1),
        (ValueError("of\ntwo lines"), "unexpected ValueError: of two lines", 1),
        (AssertionError(), "unexpected AssertionError", 1),
    ],
)
def test_a_failing_run_prints_one_line_and_logs_the_rest(
    error: Exception,
    line: str,
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(train_module, "train", fail)
    run = tmp_path / "a run"
    assert train(run) == code
    expected = line.format(run=f"'{run}'")
    assert capsys.readouterr().err == f"tamiyo: {expected} (log: {run / 'log.txt'})\n"
    log = (run / "log.txt").read_text()
    assert "Traceback (most recent call last)" in log
    assert type(error).__name__ in log
    assert "torch" in log.splitlines()[0]


def test_a_log_that_cannot_be_written_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(train_module, "train", full)
    monkeypatch.setattr(logging.FileHandler, "flush", full)
    run = tmp_path / "run"
    assert train(run) == 1
    assert capsys.readouterr().err == (
        f"tamiyo: No space left on device; nothing is lost: tamiyo train --resume {run} goes on "
        f"(log: {run / 'log.txt'})\n"
    )


def test_an_unexpected_failure_without_a_run_shows_its_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: object) -> None:
        raise KeyError("width")

    monkeypatch.setattr(headroom_module, "config_of", fail)
    assert main(["headroom"]) == 1
    line, *traceback = capsys.readouterr().err.splitlines()
    assert line == "tamiyo: unexpected KeyError: 'width'"
    assert traceback[0] == "Traceback (most recent call last):"


def test_damaged_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    assert train(run) == 0
    checkpoint = run / "checkpoint.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    capsys.readouterr()
    clear_registry()
    assert main(["evaluate", str(run)]) == 1
    printed = capsys.readouterr().err
    assert str(checkpoint) in printed
    assert "damaged" in printed
    assert printed.count("\n") == 1


def test_damaged_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    assert train(run) == 0
    config = run / "config.json"
    config.write_text(config.read_text().replace('"groups": 1,', ""))
    for command in (["train", "--resume"], ["evaluate"], ["report"]):
        capsys.readouterr()
        assert main([*command, str(run)]) == 1
        printed = capsys.readouterr().err
        assert "config.json cannot be read as the settings of a run: `groups` is missing" in printed
        assert printed.count("\n") == 1


def test_help_names_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["train", "--help"])
    assert caught.value.code == 0
    printed = capsys.readouterr().out
    main_options, settings = printed.split("\nsettings:\n")
    for option in ("--preset", "--config", "--run", "--resume", "--tensorboard"):
        assert option in main_options
    for text in (
        "--episodes INTEGER",
        "--ppo.ratio head|joint",
        "--env.prices NUMBER,NUMBER",
        "[6,10]",
        "NAME,...",
    ):
        assert text in settings


def test_nobody_reads_the_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as output:
        monkeypatch.setattr(sys, "stdout", output)
        assert train(tmp_path / "run") == 1
    printed = capsys.readouterr().err
    assert "nobody reads the output any more" in printed
    assert printed.count("\n") == 1
    monkeypatch.undo()
    assert main(["train", "--resume", str(tmp_path / "run")]) == 0


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith("tamiyo 0.")
