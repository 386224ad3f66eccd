"""Real digits, one thread, and the modules that tests share."""

import sys
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

from kasmina_hosts import DigitsTask

sys.path.insert(0, str(Path(__file__).parent))  # for the modules that tests share

settings.register_profile("tensors", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tensors")


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def task() -> DigitsTask:
    return DigitsTask()
