"""`tamiyo headroom`: what it prints and leaves, and that it goes on after whatever ended it."""

import json
import signal
from functools import partial
from pathlib import Path

import pytest
from commands import FAMILY, end, start
from processes import wait_until

from leyline_types import SlotConfig, observation_schema
from simic_training.command.main import main
from simic_training.evaluation.look_then_leap import table_from_bytes
from simic_training.evaluation.parts import PartsFolder
from simic_training.evaluation.tables import table_from_json

ALONE = ("--workers", "1")


def kept_parts(folder: Path) -> list[Path]:
    return sorted((folder / "parts").glob("*.part"))


def enough_parts(folder: Path, wanted: int) -> bool:
    return len(kept_parts(folder)) >= wanted


@pytest.mark.slow
def test_tables_gate_and_what_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["headroom", "--quick", *FAMILY, *ALONE]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    (folder,) = tmp_path.iterdir()
    assert folder.name == "headroom-quick"
    assert {path.name for path in folder.iterdir()} == {
        "headroom.json",
        "arms.safetensors",
        "log.txt",
        "parts",
    }
    content = json.loads((folder / "headroom.json").read_text())
    assert content["settings"]["config"]["env"]["rules"]["enabled_blueprints"] == ["norm"]
    assert content["settings"]["options"]["members_per_lack"] == 2
    for table in map(table_from_json, content["tables"]):
        assert table.title in printed.out
    for demand in content["gate"]:
        assert f"{demand['demand']}: {demand['figure']}" in printed.out
    assert len(table_from_bytes((folder / "arms.safetensors").read_bytes()).gain) == 16
    assert main(["headroom", str(folder), *FAMILY, *ALONE]) == 0  # at once: nothing is left to be played
    assert "%, family" not in capsys.readouterr().out
    assert main(["train", "--resume", str(folder)]) == 2
    assert "is not the folder of a run" in capsys.readouterr().err


@pytest.mark.slow
def test_after_kill_9_it_goes_on_to_the_same_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    whole, killed = tmp_path / "whole", tmp_path / "headroom"
    assert main(["headroom", str(whole), *FAMILY, *ALONE]) == 0
    parts = len(kept_parts(whole))
    for wanted in (2, parts // 2, parts - 2):  # among the arms, the looks and the rivals
        process = start("headroom", *FAMILY, *ALONE)
        wait_until("more parts are there", partial(enough_parts, killed, wanted), process)
        end(process, signal.SIGKILL)
        assert not (killed / "headroom.json").exists()
    kept_parts(killed)[0].write_bytes(b"damaged")
    capsys.readouterr()
    assert main(["headroom", *FAMILY, *ALONE]) == 0
    printed = capsys.readouterr()
    assert f"of {parts} parts are there" in printed.out
    assert "this part is done again" in printed.err
    for name in ("headroom.json", "arms.safetensors"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes()
    assert [path.name for path in kept_parts(killed)] == [path.name for path in kept_parts(whole)]


def test_a_second_command_in_the_same_folder_is_refused_while_the_first_is_alive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path("headroom")
    process = start("headroom", *FAMILY, *ALONE)
    try:
        wait_until("a part is there", partial(enough_parts, folder, 1), process)
        process.send_signal(signal.SIGSTOP)
        before = {path.name for path in (folder / "parts").iterdir()}
        assert main(["headroom", *FAMILY, *ALONE, "--seed", "1"]) == 2
        assert capsys.readouterr().err == (
            f"tamiyo: another process ({process.pid}) is at work in headroom/parts (log: headroom/log.txt)\n"
        )
        assert {path.name for path in (folder / "parts").iterdir()} == before
    finally:
        end(process, signal.SIGKILL)
    with PartsFolder(folder / "parts").locked():
        pass


def test_one_unit_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    gone = ("--engine", "ray", "--address", "127.0.0.1:1")  # the cluster that it failed on need not be there
    assert main(["headroom", *FAMILY, *gone, "--only", "training, member 2, arms"]) == 0
    printed = capsys.readouterr().out
    assert "training, member 2, arms: task" in printed
    assert "norm all @0" in printed
    assert list(tmp_path.iterdir()) == []
    assert main(["headroom", *FAMILY, "--only", "training, member 9, arms"]) == 2
    assert "--only: there is no unit 'training, member 9, arms'" in capsys.readouterr().err


@pytest.mark.slow
def test_one_look_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["headroom", *FAMILY, "--only", "training, member 2, look"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "training, member 2, look: task" in printed
    assert f"looked at, {observation_schema(SlotConfig.default()).dim} features" in printed


def test_the_topology_is_a_setting_of_the_hosts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["headroom", "--topology", "transformer", "--env.family.lacks", "kernels"]
    assert main(words) == 2
    assert "hosts of topology transformer can lack" in capsys.readouterr().err
