"""Compiled policies: what runs is what was compiled, it computes the same, and it stays where it is."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend

from leyline_types import FactoredActions
from tamiyo_masks import ActionMasks
from tamiyo_policies import (
    CompiledPolicyError,
    CompileMode,
    PolicyBundle,
    PolicyConfig,
    create_policy,
    load_policy,
    save_policy,
)

MakeMasks = Callable[..., ActionMasks]

pytestmark = [
    pytest.mark.usefixtures("unchecked"),
    # dynamo looks at it and hides the warning in a way that "error" does not honour.
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning"),
]

EAGER = PolicyConfig(hidden_dim=16)
COMPILED = PolicyConfig(hidden_dim=16, compile_mode=CompileMode.DEFAULT)


def sharpened(config: PolicyConfig) -> PolicyBundle:
    policy = create_policy(config)
    with torch.no_grad():
        policy.state_dict()["action_head.weight"].mul_(200)
    return policy


def act(policy: PolicyBundle, make_masks: MakeMasks, batch: int, *, deterministic: bool = False) -> Any:
    generator = torch.Generator().manual_seed(batch)
    features = torch.randn(batch, policy.feature_dim, generator=generator)
    masks = make_masks(batch, generator=generator)
    hidden = policy.initial_hidden(batch)
    return policy.get_action(features, masks, hidden, deterministic=deterministic, generator=generator)


def evaluate(policy: PolicyBundle, make_masks: MakeMasks, batch: int, time: int) -> list[Tensor]:
    """Results and gradients."""
    generator = torch.Generator().manual_seed(batch)
    features = torch.randn(batch, time, policy.feature_dim, generator=generator)
    masks = make_masks(batch, time, generator=generator)
    with torch.no_grad():
        actions: FactoredActions[Tensor] = policy.forward(features, masks).distribution.mode()
    result = policy.evaluate_actions(features, actions, masks)
    policy.network.zero_grad()
    torch.autograd.backward(result.log_prob.sum() + result.value.sum() + result.entropy.sum())
    gradients = [parameter.grad for parameter in policy.network.parameters() if parameter.grad is not None]
    return [result.log_prob, result.head_log_probs, result.value, result.entropy, *result.hidden, *gradients]


@pytest.fixture
def counter(monkeypatch: pytest.MonkeyPatch) -> Iterator[CompileCounterWithBackend]:
    """Counts the graphs that are captured, and runs them as they are: the compiler's back end takes its time."""
    torch.compiler.reset()
    captured = CompileCounterWithBackend("eager")
    compile_whole = torch.compile

    def capture(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        made: Callable[..., Any] = compile_whole(function, backend=captured, **options)
        return made

    monkeypatch.setattr(torch, "compile", capture)
    yield captured
    torch.compiler.reset()


def test_each_function_is_one_graph_whatever_the_sizes(
    counter: CompileCounterWithBackend, make_masks: MakeMasks
) -> None:
    """`fullgraph` makes a graph break an error, so that one frame is one whole function."""
    policy = sharpened(COMPILED)
    assert counter.frame_count == 0
    act(policy, make_masks, 1)
    assert counter.frame_count == 1
    act(policy, make_masks, 4)
    act(policy, make_masks, 4, deterministic=True)
    assert counter.frame_count == 3  # size 1 is a graph of its own, and so is the mode
    evaluate(policy, make_masks, 4, 5)
    assert counter.frame_count == 5  # encoder; trunk, heads and distribution
    with torch.compiler.set_stance("fail_on_recompile"):
        for batch in (1, 2, 5, 64, 256):
            act(policy, make_masks, batch)
        for batch, time in ((1, 2), (2, 1), (6, 64), (256, 3)):
            evaluate(policy, make_masks, batch, time)
    assert counter.frame_count == 5


def test_an_eager_policy_captures_nothing(counter: CompileCounterWithBackend, make_masks: MakeMasks) -> None:
    policy = sharpened(EAGER)
    act(policy, make_masks, 4)
    evaluate(policy, make_masks, 4, 5)
    policy.compile(CompileMode.OFF)
    act(policy, make_masks, 4)
    assert counter.frame_count == 0
    assert not policy.is_compiled


def test_compiling_changes_neither_type_nor_names_nor_place(policy: PolicyBundle) -> None:
    network, names = policy.network, list(policy.state_dict())
    kind = type(network)
    policy.compile(CompileMode.DEFAULT)
    assert policy.is_compiled
    assert policy.config.compile_mode is CompileMode.DEFAULT
    assert policy.network is network
    assert type(policy.network) is kind
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
    counter: CompileCounterWithBackend, make_masks: MakeMasks
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
    counter: CompileCounterWithBackend, make_masks: MakeMasks, tmp_path: Path
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


@pytest.mark.compile
def test_compiled_equals_eager(make_masks: MakeMasks) -> None:
    compiled, eager = sharpened(COMPILED), sharpened(EAGER)
    for batch in (6, 64):
        one, two = act(compiled, make_masks, batch), act(eager, make_masks, batch)
        assert all(torch.equal(a, b) for a, b in zip(one.actions, two.actions, strict=True))
        for name in ("log_prob", "head_log_probs", "value", "op_logits"):
            torch.testing.assert_close(getattr(one, name), getattr(two, name), atol=1e-5, rtol=1e-4)
    ours, theirs = evaluate(compiled, make_masks, 6, 9), evaluate(eager, make_masks, 6, 9)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-3)
    compiled.enable_gradient_checkpointing()
    torch.testing.assert_close(evaluate(compiled, make_masks, 6, 9), theirs, atol=1e-4, rtol=1e-3)
