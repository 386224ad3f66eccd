"""One thread: the tensors are small, and more threads only wait for each other. No deadlines: first calls are slow."""

import pytest
import torch
from hypothesis import settings

settings.register_profile("tensors", deadline=None)
settings.load_profile("tensors")


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    torch.set_num_threads(1)
