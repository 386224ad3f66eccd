"""A cluster of the process's own: out of reach of others, and taken down again where it does not start."""

import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from odd_jobs import do, meet
from processes import PATIENCE, command_line, descendants, is_alive, listening, socket_files, wait_until
from ray_cluster import importing_tests

from simic_training.command.main import main
from simic_training.engines import ray_start
from simic_training.engines.ray_engine import RayEngine
from simic_training.engines.ray_library import ENVIRONMENT, import_ray
from simic_training.engines.unit import EngineError, Unit
from simic_training.runs.interrupts import Interrupted, InterruptGuard

ray = pytest.importorskip("ray", reason="the extra `ray` is not installed")
pytestmark = pytest.mark.cluster

TOKEN = "RAY_AUTH_TOKEN"
MODE = "RAY_AUTH_MODE"

ASK = """
import sys
from ray._raylet import GcsClient
print(GcsClient(address=sys.argv[1]).internal_kv_get(b"session_name", b"session"))
"""
"""A client of the server that knows everything of a cluster."""


@pytest.fixture
def folders(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where temporary folders are made, by a path that is short enough for sockets."""
    folder = Path(tempfile.mkdtemp(prefix="t"))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    shutil.rmtree(folder)


BEFORE: set[str] = set()
"""Settings of Ray that were in the environment before."""
OTHERS: set[int] = set()
"""Processes under this one that were there before its cluster: other tests share a cluster of several nodes."""


@pytest.fixture(scope="module", autouse=True)
def others() -> None:
    BEFORE.update(name for name in os.environ if name.startswith("RAY_"))
    OTHERS.clear()
    OTHERS.update(descendants(os.getpid()))


def running() -> dict[int, str]:
    """The processes of this one's own cluster, by their command lines."""
    theirs = OTHERS.union(*map(descendants, OTHERS))
    return {pid: command_line(pid) for pid in descendants(os.getpid()) - theirs}


def wait_until_it_is_down() -> None:
    """Those too that have lost their parent."""
    wait_until("the cluster is down", lambda: not any(map(is_alive, {*running(), *SEEN})))


@pytest.fixture(scope="module")
def engine(others: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayEngine]:
    """On a cluster of this process's own, of which two workers have started, while the user has settings for others."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(MODE, "disabled")
        patch.setenv(TOKEN, "0" * 64)
        with importing_tests(), closing(RayEngine()) as engine:
            notes = tmp_path_factory.mktemp("notes")
            do(engine, meet, b"", [Unit("", (notes, number, 2)) for number in range(2)])
            yield engine


def its_token() -> str:
    """That of the cluster, as its own processes know it."""
    (server,) = (pid for pid, line in running().items() if "/gcs_server " in line)
    words = Path(f"/proc/{server}/environ").read_text().split("\0")
    return next(word.partition("=")[2] for word in words if word.startswith(f"{TOKEN}="))


def test_all_of_its_processes_listen_on_the_loopback_interface_alone(engine: RayEngine) -> None:
    found = {pid: list(listening(pid)) for pid in (os.getpid(), *running())}
    lines = " ".join(running().values())
    assert all(name in lines for name in ("/gcs_server ", "/raylet ", "ray::"))
    sockets = [address for each in found.values() for address, _ in each]
    assert len(sockets) >= 6  # of this process, the server, the raylet (two), and its workers (two)
    assert found[os.getpid()]
    assert [str(address) for address in sockets if not address.is_loopback] == []


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "Unauthenticated|[Aa]uthentication token"),
        ({MODE: "token", TOKEN: "f" * 64}, "Unauthenticated|[Aa]uthentication token"),
    ],
    ids=["no token", "another token"],
)
def test_nobody_is_let_in_without_its_token(
    engine: RayEngine, tmp_path: Path, environment: dict[str, str], said: str
) -> None:
    refused = ask(tmp_path, environment)
    assert refused.returncode != 0
    assert re.search(said, refused.stderr), refused.stderr
    assert ask(tmp_path, {MODE: "token", TOKEN: its_token()}).stdout == "b'session'\n"


def ask(home: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """What a process gets to know that has no other token than this."""
    others = {name: value for name, value in os.environ.items() if name not in {MODE, TOKEN}}
    address = ray.get_runtime_context().gcs_address
    return subprocess.run(
        [sys.executable, "-c", ASK, address],
        env={**others, "HOME": str(home), **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def test_the_token_is_drawn_anew_and_on_no_command_line(engine: RayEngine) -> None:
    token = its_token()
    assert re.fullmatch("[0-9a-f]{64}", token)
    assert token != "0" * 64
    assert [line for line in running().values() if token in line] == []
    assert (
        not (Path.home() / ".ray" / "auth_token").exists()
        or token not in (Path.home() / ".ray" / "auth_token").read_text()
    )


def test_the_environment_is_the_users_again(engine: RayEngine) -> None:
    assert (os.environ[MODE], os.environ[TOKEN]) == ("disabled", "0" * 64)
    found = {name for name in os.environ if name.startswith("RAY_")}
    for_good = set(ENVIRONMENT)  # of the library, not of one cluster
    assert found - for_good == (BEFORE - for_good) | {MODE, TOKEN}


def test_the_processes_that_nobody_needs_are_not_there(engine: RayEngine) -> None:
    found = " ".join(running().values())
    assert not re.search(r"dashboard\.py|monitor\.py|log_monitor", found)


def test_its_folder_is_this_users_alone_and_goes_with_it(engine: RayEngine, folders: Path) -> None:
    """All sockets in the file system are in it: those ask nobody for a token."""
    engine.close()
    with closing(RayEngine()):
        (folder,) = folders.iterdir()
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        paths = {path for pid in running() for path in socket_files(pid)}
        assert len(paths) >= 2
        assert all(path.is_relative_to(folder) for path in paths)
        engine.close()  # which has been closed, and leaves others' clusters alone
        assert ray.is_initialized()
    wait_until_it_is_down()
    assert list(folders.iterdir()) == []


@pytest.fixture
def no_cluster(engine: RayEngine) -> None:
    """This process is part of none."""
    engine.close()
    wait_until_it_is_down()


SEEN: set[int] = set()
"""Processes of clusters whose node was looked for by `never`."""


def never(*arguments: Any) -> Any:
    SEEN.update(running())
    raise RuntimeError("GCS cannot find the node")


def test_a_start_that_takes_too_long_is_one_line_and_leaves_no_process(
    no_cluster: None, folders: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Ray's server and raylet run, but the node does not appear."""
    with monkeypatch.context() as patch:
        patch.setattr(ray._private.services, "get_node", never)
        for command in (["train"], ["headroom"]):
            assert main([*command, "--engine", "ray", "--start-timeout", "1"]) == 2
            line = capfd.readouterr().err
            told = re.fullmatch(
                r"tamiyo: no Ray cluster on this machine: its raylet was not there after 1 seconds "
                r"\(Ray's logs: (.*)\)\n",
                line,
            )
            assert told is not None, line
            assert list(Path(told[1]).glob("raylet*"))
        assert main(["doctor", "--engine", "ray", "--start-timeout", "1"]) == 1
    wait_until_it_is_down()
    with closing(RayEngine()) as engine:  # nothing is left in its way
        assert len(ray.nodes()) == 1
        engine.close()


@pytest.mark.parametrize("server", ["gcs_server", "raylet"])
def test_a_server_that_dies_ends_the_start_at_once(
    no_cluster: None, folders: Path, monkeypatch: pytest.MonkeyPatch, server: str
) -> None:
    monkeypatch.setattr(ray._private.services, f"{server.upper()}_EXECUTABLE", shutil.which("false"))
    with pytest.raises(EngineError, match=f"its {server} ended with 1 while it started"):
        RayEngine(start_timeout=PATIENCE)
    wait_until_it_is_down()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            Exception("The current node\ntimed out during startup."),
            "The current node timed out during startup.",
        ),
        (SystemExit(1), "1"),
        (AssertionError(), "AssertionError"),
        (TypeError("RayParams() got an unexpected argument"), "RayParams"),
    ],
)
def test_whatever_ray_raises_is_one_line(
    no_cluster: None, folders: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, said: str
) -> None:
    def fail(**options: Any) -> None:
        raise error

    monkeypatch.setattr(ray, "init", fail)
    with pytest.raises(EngineError, match=rf"^no Ray cluster on this machine: {said}[^\n]*$"):
        RayEngine()
    assert list(folders.iterdir()) == []


@pytest.mark.parametrize(
    ("attribute", "value", "said"),
    [
        (
            "nodes",
            [{"NodeManagerAddress": "192.0.2.2"}],
            "it listens on 192.0.2.2 and not on 127.0.0.1 alone",
        ),
        ("mode", 0, "it asks nobody for a token"),
    ],
)
def test_a_cluster_that_others_could_reach_is_ended(
    no_cluster: None, folders: Path, monkeypatch: pytest.MonkeyPatch, attribute: str, value: Any, said: str
) -> None:
    """As of a version of Ray that minds none of the settings."""
    if attribute == "nodes":
        monkeypatch.setattr(ray, "nodes", lambda: value)
    else:
        monkeypatch.setattr(ray._raylet, "get_authentication_mode", lambda: value)
    with pytest.raises(EngineError, match=said):
        RayEngine()
    wait_until_it_is_down()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_start_that_takes_its_time(
    no_cluster: None, folders: Path, monkeypatch: pytest.MonkeyPatch, signum: signal.Signals
) -> None:
    monkeypatch.setattr(ray._private.services, "get_node", never)

    def strike() -> None:
        wait_until("the raylet has started", lambda: any("/raylet " in line for line in running().values()))
        os.kill(os.getpid(), signum)

    thread = threading.Thread(target=strike)
    thread.start()
    with InterruptGuard(), pytest.raises(Interrupted, match=signum.name):
        RayEngine(start_timeout=PATIENCE)
    thread.join()
    wait_until_it_is_down()
    assert list(folders.iterdir()) == []


def test_a_folder_whose_path_is_too_long_for_sockets_is_told(
    no_cluster: None, folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    far = folders / ("x" * 90)
    far.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(far))
    with pytest.raises(EngineError, match=r"no Ray cluster on this machine: .*AF_UNIX path length") as told:
        RayEngine()
    assert "\n" not in str(told.value)


def test_workers_run_what_this_process_runs(
    no_cluster: None, folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a copy of the working folder, although Ray was imported by somebody who left its ways as they are."""
    from ray._private.runtime_env import uv_runtime_env_hook

    monkeypatch.setattr(ray._private.ray_constants, "RAY_ENABLE_UV_RUN_RUNTIME_ENV", True)
    monkeypatch.setattr(uv_runtime_env_hook, "_get_uv_run_cmdline", lambda: ["uv", "run", "tamiyo"])
    with closing(RayEngine()):
        assert ray.get_runtime_context().runtime_env == {}


@pytest.mark.parametrize("timeout", [0.0, -1.0, float("nan")])
def test_no_time_at_all(timeout: float) -> None:
    with pytest.raises(ValueError, match="`start_timeout` must be more than 0 seconds, not"):
        RayEngine(start_timeout=timeout)


def test_settings_of_the_environment_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    import_ray()
    monkeypatch.setenv(TOKEN, "mine")
    monkeypatch.delenv(MODE, raising=False)
    seen: list[str] = []

    def fail() -> None:
        seen.extend((os.environ[MODE], os.environ[TOKEN]))
        raise KeyError

    with pytest.raises(KeyError), ray_start.token():
        fail()
    assert seen[0] == "token"
    assert len(seen[1]) == 64
    assert os.environ[TOKEN] == "mine"
    assert MODE not in os.environ


def test_processes_that_do_not_hear_are_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); signal.pause()"
    monkeypatch.setattr(ray_start, "_GRACE", 0.1)
    with subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        started = {"raylet": process}
        ray_start.end_all(started)
        assert process.returncode == -signal.SIGKILL
    assert started == {}


def test_what_a_killed_process_had_started_is_killed_too(tmp_path: Path) -> None:
    parent = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()']).wait()"
    with subprocess.Popen([sys.executable, "-c", parent]) as process:
        wait_until("it has a child", lambda: len(descendants(process.pid)) == 1)
        (child,) = descendants(process.pid)
        with ray_start.none_left_under({"raylet": process}):
            process.kill()
            process.wait()
            assert is_alive(child)
    wait_until("the child is dead", lambda: not is_alive(child))
