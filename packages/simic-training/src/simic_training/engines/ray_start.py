"""A Ray cluster that a process starts for itself: out of the reach of others, and started with patience.

Ray has no public settings for most of this, so some of its functions are replaced while it starts. Looked at with Ray
2.55 and 2.60, by their sources and by the sockets of their processes; the tests look at those again.
"""

import logging
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from importlib import import_module
from math import ceil
from pathlib import Path
from traceback import clear_frames
from typing import Any, Final, final
from unittest.mock import patch

from simic_training.engines.signals_later import handlers_kept, signals_later

START_TIMEOUT: Final = 300.0
"""Seconds that a cluster of the process's own may take to start. It takes two where nothing else runs."""

LOOPBACK: Final = "127.0.0.1"
"""Ray's servers listen on it alone where it is the address of their node, and on all interfaces where it is not."""

FOLDER: Final = "tamiyo-ray-"
"""How the names of the folders begin in which clusters keep their sockets and logs."""

UV_RUN: Final = "RAY_ENABLE_UV_RUN_RUNTIME_ENV"
"""Whether Ray minds that a process runs under `uv run`."""

_LOOK: Final = 0.3
"""Seconds of one look for the server's port, after which it is asked whether the server is alive at all."""

_CONNECT: Final = 60
"""Seconds of one attempt to connect to the server, after which Ray's native part would print warnings."""

_GRACE: Final = 5.0
"""Seconds that a process may take to end by itself. A raylet that is still starting does not hear SIGTERM."""

_AGENT_PORTS: Final = (
    "METRICS_AGENT_PORT_NAME",
    "METRICS_EXPORT_PORT_NAME",
    "DASHBOARD_AGENT_LISTEN_PORT_NAME",
)
"""Of the agent that tells dashboards and metrics, neither of which is used here."""

_NO_PORT: Final = -1

_SESSION: Final = "session"
"""Ray's own name, of date and time, makes paths too long for sockets where that of the temporary folder is long."""

Processes = dict[str, "subprocess.Popen[bytes]"]
"""What Ray has started, by its own names: "gcs_server", "raylet"."""


class StartError(Exception):
    """A cluster that did not start; one line. No RuntimeError: Ray would go on after one."""


@final
class OwnCluster:
    """A cluster of one node on this machine, which this process is part of until it is closed.

    All of its processes listen on the loopback interface alone, and serve nobody without a token that is drawn for
    this cluster and handed on in their environment. Its logs and its sockets in the file system lie in a folder that
    this user alone can read, and which goes with it. A cluster that does not start is taken down again; its logs stay.

    Args:
        ray: the library. timeout: seconds that it may take to start.

    Raises:
        StartError: it was not there in time, one of its processes died, others could reach it, or whatever else Ray
            did not like.
    """

    def __init__(self, ray: Any, timeout: float) -> None:
        self._ray = ray
        self.folder: Final = Path(tempfile.mkdtemp(prefix=FOLDER))
        self._inner = self.folder / "ray"  # which Ray opens to everybody
        self._processes: Processes = {}
        self._closed = False
        signalled = threading.Event()
        try:
            with (
                signals_later(lambda signum: signalled.set()),
                ray_tamed(),
                token(),
                patiently(timeout, self._inner, self._processes, signalled, node_ip_address=LOOPBACK),
            ):
                ray.init(
                    address="local",
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level="critical",  # what goes wrong now is told by an error
                )
            logging.getLogger("ray").setLevel("ERROR")
            self._check()
        except (Exception, SystemExit) as error:
            raise StartError(self._told(error)) from error
        except BaseException:  # a signal
            self.close()
            raise

    def close(self) -> None:
        """End it, and remove its folder. The second time there is nothing to do."""
        if self._closed:
            return
        self._closed = True
        self._take_down()
        last = time.monotonic() + _GRACE
        # A worker that is just ending may still write to its log.
        while self.folder.exists() and time.monotonic() < last:
            shutil.rmtree(self.folder, ignore_errors=True)
            time.sleep(0.05)

    def _check(self) -> None:
        """See that Ray did as it was told, which a later version may not."""
        native = import_module("ray._raylet")
        (node,) = self._ray.nodes()
        if node["NodeManagerAddress"] != LOOPBACK:
            raise StartError(f"it listens on {node['NodeManagerAddress']} and not on {LOOPBACK} alone")
        if native.get_authentication_mode() != native.AuthenticationMode.TOKEN:
            raise StartError("it asks nobody for a token")

    def _told(self, error: BaseException) -> str:
        """What went wrong, and where the logs are if there are any."""
        said = in_one_line(error)
        if not (logs := self._inner / _SESSION / "logs").exists():
            self.close()
            return said
        self._take_down()
        return f"{said} (Ray's logs: {logs})"

    def _take_down(self) -> None:
        with none_left_under(self._processes):
            self._ray.shutdown()
            end_all(self._processes)
        _read_settings()  # those of the next cluster may be others


@contextmanager
def token() -> Iterator[None]:
    """A token of 256 random bits for all clusters that are started in the block."""
    with _environment({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}):
        _read_settings()
        yield


@contextmanager
def patiently(
    timeout: float, folder: Path, started: Processes, given_up: threading.Event, **settings: Any
) -> Iterator[None]:
    """Let Ray start nodes in the block as fast as it can, and wait for them as long as it may take.

    By itself Ray gives up after 30 seconds, its raylet after 15 on agents that have several seconds of imports to do:
    too little on a machine that has other things to do. Here nothing waits for those agents; the servers of the
    dashboard, the autoscaler and the log monitor are not started; nor does a driver wait for the first workers.

    Args:
        timeout: seconds.
        folder: for sockets and logs, empty.
        started: gets the processes, of which none may die.
        given_up: once it is set, nothing is waited for any more.
        settings: more of Ray's `RayParams`.

    Raises:
        StartError: in the block, where something is not there in time, or a process died.
    """
    errors = import_module("ray.exceptions")
    parameter, services, node = (
        import_module(f"ray._private.{name}") for name in ("parameter", "services", "node")
    )
    last = time.monotonic() + timeout

    def wait_for(what: str, look: Callable[[], Any]) -> Any:
        while True:
            try:
                return look()
            except (RuntimeError, errors.RayError) as error:  # it is not there yet
                dead = [name for name, process in started.items() if process.poll() is not None]
                if dead:
                    code = started[dead[0]].returncode
                    raise StartError(f"its {dead[0]} ended with {code} while it started") from error
                if time.monotonic() > last:
                    raise StartError(f"its {what} was not there after {timeout:g} seconds") from error
                if given_up.is_set():
                    raise StartError("nobody waits for it any more") from error
            time.sleep(_LOOK / 10)

    def init(params: Any, *arguments: Any, **options: Any) -> None:
        with socket.create_server((LOOPBACK, 0)) as server:
            port = server.getsockname()[1]
        ours = {
            "temp_dir": str(folder),
            "session_name": _SESSION,
            "runtime_env_agent_port": port,  # chosen here: the raylet need not wait to be told of it
            "dashboard_agent_listen_port": 0,
            "include_log_monitor": False,
            "no_monitor": True,
        }
        originals["init"](params, *arguments, **{**options, **ours, **settings})

    def start_process(command: list[str], process_type: str, *arguments: Any, **options: Any) -> Any:
        info = originals["process"](command, process_type, *arguments, **options)
        started[process_type] = info.process
        return info

    def wait_for_port(session: str, node_id: str, name: str, *_: Any, **__: Any) -> Any:
        return wait_for(
            "gcs_server", lambda: originals["port"](session, node_id, name, timeout_ms=int(1000 * _LOOK))
        )

    def wait_for_node(address: str, node_id: str) -> Any:
        _write_ports(folder, node_id)
        return wait_for("raylet", lambda: originals["node"](address, node_id))

    originals: Mapping[str, Callable[..., Any]] = {
        "init": parameter.RayParams.__init__,
        "process": services.start_ray_process,
        "port": node.wait_for_persisted_port,
        "node": services.get_node,
    }
    replaced: list[AbstractContextManager[Any]] = [
        patch.object(parameter.RayParams, "__init__", init),
        patch.object(services, "start_ray_process", start_process),
        patch.object(services, "start_api_server", lambda *_, **__: (None, None)),
        patch.object(services, "get_node", wait_for_node),
        patch.object(node, "wait_for_persisted_port", wait_for_port),
    ]
    of_one_look = {"RAY_raylet_start_wait_time_s": "1", "RAY_gcs_rpc_server_connect_timeout_s": str(_CONNECT)}
    with _environment(of_one_look):
        _read_settings()
    seconds = str(ceil(max(timeout, START_TIMEOUT)))
    of_what_is_started = {
        "RAY_raylet_start_wait_time_s": seconds,
        "RAY_worker_register_timeout_seconds": seconds,
        "RAY_gcs_rpc_server_connect_timeout_s": seconds,
        "RAY_agent_register_timeout_ms": f"{seconds}000",
        "RAY_prestart_worker_first_driver": "0",
        "RAY_worker_niceness": "0",  # by itself 15: beside two busy processes they would get a thirtieth of their time
    }
    with _environment(of_what_is_started), ExitStack() as stack:
        for each in replaced:
            stack.enter_context(each)
        yield


@contextmanager
def ray_tamed() -> Iterator[None]:
    """Have Ray change neither what the workers run nor who hears Ctrl-C and SIGTERM, for an `init` in the block.

    Under `uv run` it would send the working folder to every node, and start each worker by `uv run` there, which
    installs that copy into the very environment that this process runs in. Its native handler of SIGTERM prints a stack
    and ends the process, whatever Python's would do. What it read when it was imported, maybe by others, is overruled.
    """
    constants = import_module("ray._private.ray_constants")
    with (
        handlers_kept(),
        patch.object(constants, "RAY_DISABLE_FAILURE_SIGNAL_HANDLER", True),
        patch.object(constants, UV_RUN, os.environ.get(UV_RUN, "0") in {"1", "true", "True"}),
    ):
        yield


def in_one_line(error: BaseException) -> str:
    """What an error says; what its frames hold is let go, connections to servers that are gone among it."""
    cause: BaseException | None = error
    while cause is not None:
        clear_frames(cause.__traceback__)
        cause = cause.__cause__ or cause.__context__
    return " ".join(str(error).split()) or type(error).__name__


@contextmanager
def none_left_under(started: Processes) -> Iterator[None]:
    """Kill what is left, at the end of the block, of what the processes had started themselves.

    A raylet that is killed takes nobody with it: its agents would look for the server for a minute.
    """
    psutil = import_module("psutil")  # which comes with Ray
    under: list[Any] = []
    for process in started.values():
        with suppress(psutil.Error):
            under += psutil.Process(process.pid).children(recursive=True)
    yield
    for each in under:
        with suppress(psutil.Error):
            each.kill()


def end_all(started: Processes) -> None:
    """End what is left of the processes, a raylet with its workers first."""
    for name in sorted(started, key=lambda name: name != "raylet"):
        process = started[name]
        process.terminate()
        try:
            process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    started.clear()


def _write_ports(folder: Path, node_id: str) -> None:
    """Tell the raylet of a node that its agent has no ports, which it would wait for.

    The raylet reads them from files; an agent that finds out otherwise replaces the files and is not asked.
    """
    native = import_module("ray._raylet")
    for port in _AGENT_PORTS:
        native.persist_port(str(folder / _SESSION), node_id, getattr(native, port), _NO_PORT)


def _read_settings() -> None:
    """Have Ray's native part look at the environment, which it remembers otherwise."""
    native = import_module("ray._raylet")
    native.Config.initialize("")
    native.AuthenticationTokenLoader.instance().reset_cache()


@contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    """Environment variables in the block, for this process and those that it starts there."""
    former = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in former.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
