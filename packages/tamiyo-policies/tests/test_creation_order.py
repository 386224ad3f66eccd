"""Made in the one order that works: device and dtype, then weights, then compiled functions."""

import pytest
import torch

from tamiyo_policies import CompiledPolicyError, CompileMode, PolicyConfig, create_policy


def test_a_policy_is_moved_and_loaded_before_it_is_compiled() -> None:
    source = create_policy(PolicyConfig(hidden_dim=8, dtype=torch.float64, seed=3))
    config = PolicyConfig(hidden_dim=8, dtype=torch.float64, compile_mode=CompileMode.DEFAULT)
    policy = create_policy(config, weights=source.state_dict())
    assert policy.is_compiled
    assert policy.config == config
    assert torch.equal(policy.state_dict()["weight_hh"], source.state_dict()["weight_hh"])
    with pytest.raises(CompiledPolicyError, match="create_policy"):
        policy.to(dtype=torch.float32)
