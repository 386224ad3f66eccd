"""From a configuration to a policy: validated, reproducible, in the right order."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from leyline_types import SlotConfig
from tamiyo_policies import (
    CompileMode,
    PolicyBundle,
    PolicyConfig,
    PolicyInputError,
    UnknownPolicyError,
    create_policy,
)


def test_defaults() -> None:
    policy = create_policy(PolicyConfig())
    assert isinstance(policy, PolicyBundle)
    assert policy.slot_config == SlotConfig.default()
    assert (policy.hidden_dim, policy.feature_dim) == (128, PolicyConfig().schema.dim)
    assert (policy.device, policy.dtype) == (torch.device("cpu"), torch.float32)
    assert policy.is_recurrent
    assert not policy.supports_off_policy
    assert not policy.is_compiled
    assert policy.config == PolicyConfig()


def test_sizes_follow_slots_telemetry_and_dtype() -> None:
    config = PolicyConfig(
        slot_config=SlotConfig.for_grid(2, 2), telemetry=True, hidden_dim=8, dtype=torch.bfloat16
    )
    policy = create_policy(config)
    assert policy.feature_dim == config.schema.dim > PolicyConfig().schema.dim
    assert policy.dtype is torch.bfloat16
    assert policy.config == config
    assert policy.initial_hidden(5).h.shape == (5, 8)


def test_equal_seeds_equal_weights_and_the_global_generator_untouched() -> None:
    before = torch.get_rng_state()
    one, two, three = (create_policy(PolicyConfig(hidden_dim=8, seed=seed)) for seed in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    assert all(
        torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True)
    )
    assert not torch.equal(one.state_dict()["encoder.weight"], three.state_dict()["encoder.weight"])


def test_weights_are_drawn_before_device_and_dtype_apply() -> None:
    single = create_policy(PolicyConfig(hidden_dim=8))
    with torch.device("meta"):  # an ambient default device changes nothing
        half = create_policy(PolicyConfig(hidden_dim=8, dtype=torch.bfloat16))
    expected = single.state_dict()["trunk.weight"].to(torch.bfloat16)
    assert torch.equal(half.state_dict()["trunk.weight"], expected)


def test_given_weights_replace_drawn_ones() -> None:
    source = create_policy(PolicyConfig(hidden_dim=8, seed=3))
    copy = create_policy(PolicyConfig(hidden_dim=8), weights=source.state_dict())
    assert torch.equal(copy.state_dict()["weight_hh"], source.state_dict()["weight_hh"])
    with pytest.raises(
        PolicyInputError, match=r"encoder.weight has shape \(8, 230\) but the policy's has \(4, 230\)"
    ):
        create_policy(PolicyConfig(hidden_dim=4), weights=source.state_dict())


def test_half_loaded_never(policy: PolicyBundle) -> None:
    before = {name: tensor.clone() for name, tensor in policy.state_dict().items()}
    bad = {name: torch.ones_like(tensor) for name, tensor in before.items()}
    del bad["norm.bias"]
    bad["surprise"] = torch.ones(1)
    with pytest.raises(PolicyInputError, match=r"norm.bias is missing; surprise is unknown"):
        policy.load_state_dict(bad)
    assert all(torch.equal(before[name], tensor) for name, tensor in policy.state_dict().items())


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda tensor: tensor.to("meta"), r"torch\.float32 on meta"),
        (lambda tensor: tensor.to_sparse(), r"torch\.sparse_coo"),
        (lambda tensor: tensor.long(), r"torch\.int64"),
        (lambda tensor: tensor + 1j, r"torch\.complex64"),
        (lambda tensor: tensor.tolist(), "of type list, not Tensor"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_tensors_that_cannot_be_weights(
    policy: PolicyBundle, spoil: Callable[[Tensor], Any], message: str
) -> None:
    before = {name: tensor.clone() for name, tensor in policy.state_dict().items()}
    last = list(before)[-1]
    bad = {name: torch.ones_like(tensor) for name, tensor in before.items()}
    with pytest.raises(PolicyInputError, match=f"{last} is .*{message}"):
        policy.load_state_dict(bad | {last: spoil(bad[last])})
    assert all(torch.equal(before[name], tensor) for name, tensor in policy.state_dict().items())


def test_unknown_policy() -> None:
    with pytest.raises(UnknownPolicyError, match="policies are lstm"):
        create_policy(PolicyConfig(policy="nothing"))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("hidden_dim", 0, r"`hidden_dim` must lie in \[1, 8192\], not 0"),
        ("dtype", torch.int64, "`dtype` must be one of torch.float32, .*, not torch.int64"),
        ("seed", -1, r"`seed` must lie in \[0, 2\*\*63\), not -1"),
        ("compile_mode", "fast", "must be one of off, default, reduce-overhead, max-autotune, not 'fast'"),
        ("device", "abacus", "`device` 'abacus' is not a device"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_impossible_configuration(field: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PolicyConfig(**{field: value})  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.usefixtures("unchecked")
def test_compile_mode_may_be_spelt() -> None:
    assert PolicyConfig(compile_mode="max-autotune").compile_mode is CompileMode.MAX_AUTOTUNE  # type: ignore[arg-type]


def test_no_process_that_compiles_nothing_imports_the_compiler() -> None:
    """It takes longer than everything else."""
    code = """
import sys, torch
import tamiyo_policies as policies
policies.register_builtin_policies()
policy = policies.create_policy(policies.PolicyConfig())
print([name for name in ("torch._dynamo", "torch._inductor") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
