"""First values come from their seed alone, and no other random state is touched."""

import pytest
import torch
from torch import nn

from kasmina_hosts.stacked import seeded_initialisation


def test_no_accelerator_is_seeded_and_the_cpu_goes_on_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    seeded: list[int] = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    before = torch.random.get_rng_state()
    weights = []
    for _ in range(2):
        with seeded_initialisation(5):
            weights.append(nn.Linear(3, 3).weight)
    assert torch.equal(*weights)
    assert seeded == []
    assert torch.equal(torch.random.get_rng_state(), before)


def test_what_is_built_in_inference_mode_can_be_trained() -> None:
    with torch.inference_mode(), seeded_initialisation(5):
        linear = nn.Linear(3, 3)
    linear(torch.ones(1, 3)).sum().backward()
    assert linear.weight.grad is not None
