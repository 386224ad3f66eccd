"""Ray itself: found, set up, and asked to join a cluster or to start one."""

import os
import socket
from functools import cache
from types import MappingProxyType
from typing import Any, Final

from simic_training.engines.ray_start import UV_RUN, OwnCluster, StartError, in_one_line, ray_tamed
from simic_training.engines.signals_later import signals_later
from simic_training.engines.unit import EngineError

AUTO: Final = "auto"
PATIENCE: Final = 10.0
"""Seconds that a cluster may take to accept a connection. Ray itself would wait for many minutes."""

ENVIRONMENT: Final = MappingProxyType(
    {
        UV_RUN: "0",  # see `ray_tamed`
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


def start_cluster(timeout: float) -> OwnCluster:
    """Start a cluster for this process alone, and make it part of it.

    Args:
        timeout: seconds that it may take to start.

    Raises:
        EngineError: this process is part of one already, or it could not be started.
    """
    ray = _ray_outside_clusters()
    try:
        return OwnCluster(ray, timeout)
    except (OSError, StartError) as error:
        raise EngineError(f"no Ray cluster on this machine: {error}") from error


def join_cluster(address: str) -> None:
    """Make this process part of a cluster.

    Args:
        address: see `RayEngine`.

    Raises:
        EngineError: it is part of one already, or there is none at the address.
    """
    ray = _ray_outside_clusters()
    _check_address(address)
    try:
        with signals_later(), ray_tamed():
            ray.init(address=address, log_to_driver=False, logging_level="error")
    except (Exception, SystemExit) as error:
        said = in_one_line(error)
        ray.shutdown()
        asked = isinstance(error, ConnectionError) and address != AUTO and _MODE not in os.environ
        hint = f" (does it ask for a token? then set {_MODE}=token)" if asked else ""
        raise EngineError(f"no Ray cluster {_place(address)}: {said}{hint}") from error


def _ray_outside_clusters() -> Any:
    ray = import_ray()
    if ray.is_initialized():
        raise EngineError(
            "this process is part of a Ray cluster already: leave that first, with `ray.shutdown()`"
        )
    return ray


def _check_address(address: str) -> None:
    if address == AUTO:
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or "/" in host:
        raise EngineError(f'the address of a Ray cluster is HOST:PORT or "{AUTO}", not {address!r}')
    try:
        socket.create_connection((host, int(port)), timeout=PATIENCE).close()
    except (OSError, OverflowError, UnicodeError) as error:
        raise EngineError(f"no Ray cluster {_place(address)}: {error}") from error


def _place(address: str) -> str:
    return "on this machine" if address == AUTO else f"at {address}"
