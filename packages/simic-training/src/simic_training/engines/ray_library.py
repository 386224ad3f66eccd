"""Ray itself: found, set up, and asked to join a cluster."""

import os
import signal
import socket
from functools import cache
from types import MappingProxyType
from typing import Any, Final

from simic_training.engines.signals_later import handlers_kept, signals_later
from simic_training.engines.unit import EngineError

AUTO: Final = "auto"
PATIENCE: Final = 10.0
"""Seconds that a cluster may take to accept a connection. Ray itself would wait for many minutes."""

ENVIRONMENT: Final = MappingProxyType(
    {
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # under `uv run` Ray would send the working folder to every node
        "RAY_USAGE_STATS_ENABLED": "0",  # nothing is told to others
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # as will be Ray's default; until then it warns
    }
)
"""What Ray reads from the environment, unless it is set there."""


_MODE: Final = "RAY_AUTH_MODE"


@cache
def import_ray() -> Any:
    """Ray, which is imported when it is first needed.

    Raises:
        EngineError: it is not installed.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError as error:
        raise EngineError("--engine ray needs Ray: pip install 'simic-training[ray]'") from error
    return ray


def join_cluster(address: str | None) -> None:
    """Make this process part of a cluster.

    Args:
        address: see `RayEngine`.

    Raises:
        EngineError: it is part of one already, or there is none at the address.
    """
    ray = import_ray()
    if ray.is_initialized():
        raise EngineError(
            "this process is part of a Ray cluster already: leave that first, with `ray.shutdown()`"
        )
    _check_address(address)
    try:
        with signals_later(_do_not_abort), handlers_kept():  # Ray would take SIGTERM for itself
            ray.init(
                address="local" if address is None else address,
                include_dashboard=False if address is None else None,
                log_to_driver=False,
                logging_level="error",
            )
    except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        said = " ".join(str(error).split())
        asked = isinstance(error, ConnectionError) and address not in {None, AUTO} and _MODE not in os.environ
        hint = f" (does it ask for a token? then set {_MODE}=token)" if asked else ""
        raise EngineError(f"no Ray cluster {_place(address)}: {said}{hint}") from error


def _do_not_abort(signum: int) -> None:
    """While it starts, Ray's native part meets SIGTERM too, and sets an alarm to abort the process in three seconds."""
    if signum == signal.SIGTERM:
        signal.alarm(0)


def _check_address(address: str | None) -> None:
    if address is None or address == AUTO:
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or "/" in host:
        raise EngineError(f'the address of a Ray cluster is HOST:PORT or "{AUTO}", not {address!r}')
    try:
        socket.create_connection((host, int(port)), timeout=PATIENCE).close()
    except (OSError, OverflowError, UnicodeError) as error:
        raise EngineError(f"no Ray cluster {_place(address)}: {error}") from error


def _place(address: str | None) -> str:
    return f"at {address}" if address not in {None, AUTO} else "on this machine"
