"""A policy of somebody else's package: built, installed, found by its entry point, acting, saved and loaded."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(shutil.which("uv") is None, reason="uv is not on PATH")

PROJECT = """
[project]
name = "acme-growth"
version = "1.0"
requires-python = ">=3.11"
dependencies = ["tamiyo-policies"]

[project.entry-points."tamiyo.policies"]
acme = "acme_growth:AcmePolicy"
acme-broken = "acme_growth:NotAPolicy"

[build-system]
requires = ["uv_build"]
build-backend = "uv_build"
"""

SOURCE = '''
"""A linear policy without memory, written on `PolicyBundleBase` as its README says."""

import torch
from leyline_types import head_sizes
from tamiyo_masks import FactoredMaskedCategorical
from tamiyo_policies import ActionResult, EvalResult, ForwardResult, PolicyBundleBase


class NotAPolicy:
    pass


class AcmePolicy(PolicyBundleBase):
    def __init__(self, config):
        super().__init__(config, torch.nn.Linear(config.schema.dim, sum(head_sizes(config.slot_config)) + 1))

    @property
    def is_recurrent(self):
        return False

    def enable_gradient_checkpointing(self, enabled=True):
        pass

    def _read(self, features):
        out = self.network(features).float()
        return out[..., :-1], out[..., -1]

    def _on_act(self, features, masks, hidden, deterministic, generator, floors):
        logits, value = self._read(features)
        distribution = FactoredMaskedCategorical(logits, masks, floors=floors)
        actions = distribution.mode() if deterministic else distribution.sample(generator)
        each = distribution.head_log_probs(actions)
        return ActionResult(actions, each.sum(-1), each, value, hidden, masks, logits)

    def _on_value(self, features, hidden, masks):
        return self._read(features)[1]

    def _on_forward(self, features, masks, hidden, episode_starts):
        logits, value = self._read(features)
        return ForwardResult(logits, FactoredMaskedCategorical(logits, masks), value, hidden)

    def _on_evaluate(self, features, actions, masks, hidden, episode_starts, floors):
        logits, value = self._read(features)
        distribution = FactoredMaskedCategorical(logits, masks, floors=floors)
        each = distribution.head_log_probs(actions)
        return EvalResult(each.sum(-1), each, value, distribution.regularizer_entropy(), hidden)
'''

USE = """
import torch
from tamiyo_masks import compute_batch_masks
from tamiyo_policies import *

print(list_policies())
policy = create_policy(PolicyConfig(policy="acme"))
slots = list(policy.slot_config)
masks = compute_batch_masks([dict.fromkeys(slots)] * 4, slots)
result = policy.get_action(torch.zeros(4, policy.feature_dim), masks, policy.initial_hidden(4), floors={"op": 0.1})
print(type(policy).__module__, result.actions.op.shape)
save_policy(policy, "acme.safetensors")
print(type(load_policy("acme.safetensors")).__name__)
for wrong in (lambda: policy.get_action(torch.zeros(4, 1), masks, policy.initial_hidden(4)),
              lambda: get_policy("acme-broken"), policy.compile):
    try:
        wrong()
    except (PolicyInputError, PolicyContractError, CompiledPolicyError) as error:
        print(type(error).__name__)
print(policy.is_compiled)
"""


def run(*command: str, folder: Path, **environment: str) -> str:
    result = subprocess.run(
        command, cwd=folder, env=os.environ | environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_a_package_of_somebody_elses(tmp_path: Path) -> None:
    project, installed = tmp_path / "project", tmp_path / "installed"
    (project / "src/acme_growth").mkdir(parents=True)
    (project / "pyproject.toml").write_text(PROJECT, encoding="utf-8")
    (project / "src/acme_growth/__init__.py").write_text(SOURCE, encoding="utf-8")
    run("uv", "build", "--quiet", "--offline", "--wheel", "--out-dir", "dist", folder=project)
    (wheel,) = (project / "dist").glob("*.whl")
    # Beside this environment, which has what it depends on, and not into it.
    options = ["--quiet", "--offline", "--no-deps", "--python", sys.executable, "--target", str(installed)]
    run("uv", "pip", "install", *options, str(wheel), folder=tmp_path)
    shown = run(sys.executable, "-c", USE, folder=tmp_path, PYTHONPATH=str(installed))
    assert shown.splitlines() == [
        "('acme', 'acme-broken')",
        "acme_growth torch.Size([4])",
        "AcmePolicy",
        "PolicyInputError",
        "PolicyContractError",
        "CompiledPolicyError",
        "False",
    ]
