"""How long a fresh process takes from nothing to its first action and its first update, and what compiling adds.

Compiling is paid once: what is compiled lies in torch's cache, from which later processes take it.
"""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

BARE = """
import torch
torch.set_num_threads(1)
linear, lstm = torch.nn.Linear(230, 128), torch.nn.LSTM(128, 128, batch_first=True)
if {update}:
    torch.autograd.backward(lstm(linear(torch.zeros(64, 25, 230)))[0].sum())
else:
    with torch.inference_mode():
        lstm(linear(torch.zeros(64, 1, 230)))
"""

POLICY = """
import torch
from leyline_types import FactoredActions
from tamiyo_masks import ActionMasks, compute_batch_masks
from tamiyo_policies import PolicyConfig, create_policy, register_builtin_policies
torch.set_num_threads(1)
register_builtin_policies()
policy = create_policy(PolicyConfig(compile_mode="{mode}"))
slots = list(policy.slot_config)
masks = compute_batch_masks([dict.fromkeys(slots)] * 64, slots)
if {update}:
    masks = ActionMasks(*(mask[:, None].expand(-1, 25, *mask.shape[1:]) for mask in masks))
    actions = FactoredActions(*(torch.zeros(64, 25, dtype=torch.int64) for _ in FactoredActions._fields))
    result = policy.evaluate_actions(torch.zeros(64, 25, policy.feature_dim), actions, masks)
    torch.autograd.backward(result.log_prob.sum() + result.entropy.sum() + result.value.sum())
else:
    policy.get_action(torch.zeros(64, policy.feature_dim), masks, policy.initial_hidden(64))
"""

# In this order: the third fills the cache that the fourth finds.
COLUMNS = {
    "bare Linear + LSTM": (BARE, "off", 3),
    "policy": (POLICY, "off", 3),
    "policy, compiled anew": (POLICY, "default", 1),
    "policy, compiled before": (POLICY, "default", 3),
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of compiled code that is empty at first."""
    return tmp_path_factory.mktemp("cache")


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("row", ["first action, batch of 64", "first update, 64 sequences of 25"])
def test_start(benchmark: BenchmarkFixture, cache: Path, row: str, column: str) -> None:
    code, mode, rounds = COLUMNS[column]
    command = [sys.executable, "-c", code.format(mode=mode, update="update" in row)]
    environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(cache)}
    benchmark.extra_info.update(
        table="A fresh process, from its start", row=row, column=column, torch=torch.__version__
    )
    run = partial(subprocess.run, command, env=environment, check=True)
    benchmark.pedantic(run, rounds=rounds)  # type: ignore[no-untyped-call]
