"""Compiled policies: what runs is what was compiled, it computes the same, and it stays where it is."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
import torch
from made_up_runs import act, evaluate
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend

from tamiyo_masks import ActionMasks
from tamiyo_policies import (
    ActionResult,
    CompiledPolicyError,
    CompileMode,
    PolicyBundle,
    PolicyConfig,
    create_policy,
    load_policy,
    save_policy,
)

MakeMasks = Callable[..., ActionMasks]
Sharpened = Callable[[PolicyConfig], PolicyBundle]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("unchecked"),
    # dynamo looks at it and hides the warning in a way that "error" does not honour.
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning"),
]

EAGER = PolicyConfig(hidden_dim=16)
COMPILED = replace(EAGER, compile_mode=CompileMode.DEFAULT)
KINDS = {
    "lstm": COMPILED,
    "mlp of 3 frames": replace(COMPILED, policy="mlp", frame_stack=3),
    "mlp-q": replace(COMPILED, policy="mlp-q"),
}


def q_values(policy: PolicyBundle, make_masks: MakeMasks, *batch: int) -> Tensor:
    generator = torch.Generator().manual_seed(len(batch))
    features = torch.randn(*batch, policy.feature_dim, generator=generator)
    return policy.get_q_values(features, make_masks(*batch, generator=generator))


@pytest.mark.parametrize("kind", KINDS)
def test_each_function_is_one_graph_whatever_the_sizes(
    counter: CompileCounterWithBackend, make_masks: MakeMasks, kind: str
) -> None:
    """`fullgraph` makes a graph break an error, so that one frame is one whole function."""
    policy = create_policy(KINDS[kind])
    assert counter.frame_count == 0
    act(policy, make_masks, 1)
    assert counter.frame_count == 1
    act(policy, make_masks, 4)
    act(policy, make_masks, 4, deterministic=True)
    assert counter.frame_count == 3  # size 1 is a graph of its own, and so is the mode
    evaluate(policy, make_masks, 4, 5)
    captured = 5 if kind == "lstm" else 4  # the encoder, before the LSTM kernel; what comes after it
    assert counter.frame_count == captured
    if policy.supports_off_policy:
        q_values(policy, make_masks, 4)
        captured += 1
        assert counter.frame_count == captured
    with torch.compiler.set_stance("fail_on_recompile"):
        for batch in (1, 2, 3, 5, 31, 64, 127, 128, 129, 255, 256):
            act(policy, make_masks, batch)
        for batch, time in (*product((1, 2, 6, 64), (2, 3, 17, 64)), (2, 1), (256, 3), (256, 64)):
            evaluate(policy, make_masks, batch, time)
            if policy.supports_off_policy:
                q_values(policy, make_masks, batch, time)
    assert counter.frame_count == captured


@pytest.mark.parametrize("kind", KINDS)
def test_floors_are_a_graph_of_their_own_whatever_their_values(
    counter: CompileCounterWithBackend, make_masks: MakeMasks, kind: str
) -> None:
    policy = create_policy(KINDS[kind])
    for floors in (None, {"op": 0.1}):
        before = counter.frame_count
        # Of a size that nothing else has: the compiler takes equal sizes to stay equal.
        act(policy, make_masks, 20, floors=floors)
        act(policy, make_masks, 20, deterministic=True, floors=floors)
        evaluate(policy, make_masks, 20, 5, floors=floors)
        encodes = kind == "lstm" and floors is None  # the encoder is the same with floors
        assert counter.frame_count == before + 3 + encodes
    with torch.compiler.set_stance("fail_on_recompile"):
        for floors in (None, {"op": 0.05}, {"op": 0.0}, {}, {"slot": 0.2, "blueprint": 0.999}):
            for batch in (2, 5, 8, 129):
                act(policy, make_masks, batch, floors=floors)
                act(policy, make_masks, batch, deterministic=True, floors=floors)
                evaluate(policy, make_masks, batch, 4, floors=floors)


def test_an_eager_policy_captures_nothing(
    counter: CompileCounterWithBackend, make_masks: MakeMasks, sharpened: Sharpened
) -> None:
    policy = sharpened(EAGER)
    act(policy, make_masks, 4)
    evaluate(policy, make_masks, 4, 5)
    policy.compile(CompileMode.OFF)
    act(policy, make_masks, 4)
    assert counter.frame_count == 0
    assert not policy.is_compiled


@pytest.mark.parametrize("kind", KINDS)
def test_compiling_changes_neither_type_nor_names_nor_place(kind: str) -> None:
    policy = create_policy(replace(KINDS[kind], compile_mode=CompileMode.OFF))
    network, names, at_first = policy.network, list(policy.state_dict()), policy.is_compiled
    before = type(network)
    policy.compile(CompileMode.DEFAULT)
    assert (at_first, policy.is_compiled) == (False, True)
    assert policy.config.compile_mode is CompileMode.DEFAULT
    assert policy.network is network
    assert type(policy.network) is before
    assert list(policy.state_dict()) == names


MOVERS: dict[str, Callable[[PolicyBundle], object]] = {
    "bundle.to device": lambda policy: policy.to("meta"),
    "bundle.to dtype": lambda policy: policy.to(dtype=torch.float64),
    "to": lambda policy: policy.network.to(torch.bfloat16),
    "cpu": lambda policy: policy.network.cpu(),
    "cuda": lambda policy: policy.network.cuda(),
    "half": lambda policy: policy.network.half(),
    "bfloat16": lambda policy: policy.network.bfloat16(),
    "float": lambda policy: policy.network.float(),
    "double": lambda policy: policy.network.double(),
    "type": lambda policy: policy.network.type(torch.float64),
    "_apply": lambda policy: policy.network._apply(torch.Tensor.double),  # untyped in torch
    "part": lambda policy: policy.network.get_submodule("encoder").double(),
}


def test_a_compiled_policy_stays_where_it_is(
    counter: CompileCounterWithBackend, make_masks: MakeMasks, sharpened: Sharpened
) -> None:
    policy = sharpened(COMPILED)
    expected = act(policy, make_masks, 4).log_prob
    for mover, move in MOVERS.items():
        with pytest.raises(CompiledPolicyError, match="create_policy"):
            move(policy)
        assert (policy.device, policy.dtype) == (torch.device("cpu"), torch.float32), mover
        assert torch.equal(act(policy, make_masks, 4).log_prob, expected), mover


def test_compiling_twice_is_refused(policy: PolicyBundle) -> None:
    policy.compile(CompileMode.DEFAULT)
    with pytest.raises(CompiledPolicyError, match="compiled already, with mode 'default'"):
        policy.compile(CompileMode.MAX_AUTOTUNE)


def test_weights_and_checkpoints_pass_between_compiled_and_eager(
    counter: CompileCounterWithBackend, make_masks: MakeMasks, tmp_path: Path, sharpened: Sharpened
) -> None:
    compiled, eager = sharpened(COMPILED), create_policy(EAGER)
    act(compiled, make_masks, 4)
    save_policy(compiled, tmp_path / "compiled")
    eager.load_state_dict(compiled.state_dict())
    save_policy(eager, tmp_path / "eager")
    assert (tmp_path / "compiled").read_bytes() == (tmp_path / "eager").read_bytes()
    assert not load_policy(tmp_path / "compiled").is_compiled
    again = load_policy(tmp_path / "eager", compile_mode=CompileMode.DEFAULT)
    assert again.is_compiled
    torch.testing.assert_close(act(again, make_masks, 4).log_prob, act(eager, make_masks, 4).log_prob)
    compiled.load_state_dict(create_policy(PolicyConfig(hidden_dim=16, seed=7)).state_dict())
    assert not torch.equal(act(compiled, make_masks, 4).value, act(eager, make_masks, 4).value)


def assert_acts_alike(one: ActionResult, two: ActionResult) -> None:
    assert all(torch.equal(a, b) for a, b in zip(one.actions, two.actions, strict=True))
    for name in ("log_prob", "head_log_probs", "value", "op_logits"):
        torch.testing.assert_close(getattr(one, name), getattr(two, name), atol=1e-5, rtol=1e-4)


@pytest.mark.compile
def test_compiled_equals_eager(make_masks: MakeMasks, sharpened: Sharpened) -> None:
    compiled, eager = sharpened(COMPILED), sharpened(EAGER)
    for batch in (6, 64):
        assert_acts_alike(act(compiled, make_masks, batch), act(eager, make_masks, batch))
    ours, theirs = evaluate(compiled, make_masks, 6, 9), evaluate(eager, make_masks, 6, 9)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-3)
    compiled.enable_gradient_checkpointing()
    torch.testing.assert_close(evaluate(compiled, make_masks, 6, 9), theirs, atol=1e-4, rtol=1e-3)


@pytest.mark.compile
def test_compiled_equals_eager_with_floors_that_change(make_masks: MakeMasks, sharpened: Sharpened) -> None:
    compiled, eager = sharpened(COMPILED), sharpened(EAGER)
    first, *others = {"op": 0.2, "slot": 0.1}, {"op": 0.1, "slot": 0.05, "tempo": 0.5}, {"op": 0.0}

    def check(floors: dict[str, float]) -> None:
        for batch in (1, 6):
            ours, theirs = (act(policy, make_masks, batch, floors=floors) for policy in (compiled, eager))
            assert_acts_alike(ours, theirs)
        found, expected = (evaluate(policy, make_masks, 6, 9, floors=floors) for policy in (compiled, eager))
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)

    check(first)
    # Only the back end of the compiler would build a number into its code: the capture alone does not show it.
    with torch.compiler.set_stance("fail_on_recompile"):
        for floors in others:
            check(floors)


@pytest.mark.compile
def test_compiled_equals_eager_off_policy(make_masks: MakeMasks, sharpened: Sharpened) -> None:
    compiled = sharpened(KINDS["mlp-q"])
    eager = sharpened(replace(KINDS["mlp-q"], compile_mode=CompileMode.OFF))
    assert_acts_alike(act(compiled, make_masks, 6), act(eager, make_masks, 6))
    torch.testing.assert_close(q_values(compiled, make_masks, 6), q_values(eager, make_masks, 6))


def test_a_missing_compiler_is_named_in_one_line(tmp_path: Path) -> None:
    """In a process of its own, which looks for the compiler for the first time."""
    code = """
import torch
from tamiyo_policies import CompileMode, CompilerMissingError
from tamiyo_policies.compiled import CompiledFunction
try:
    CompiledFunction(torch.sin, [], CompileMode.DEFAULT, torch.device("cpu"))(torch.zeros(3))
except CompilerMissingError as error:
    print(error)
"""
    environment = os.environ | {"CXX": str(tmp_path / "c++"), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    shown = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    (line,) = shown.stdout.splitlines()
    assert line.startswith("compiling a policy needs a C++ compiler, and there is none: install g++")
