"""Compiled policies in one process: each by itself, whatever its inputs look like and whichever weights learn."""

import copy
import pickle
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import torch
from made_up_runs import act, evaluate
from torch._dynamo.testing import CompileCounterWithBackend

from leyline_types import SlotConfig
from tamiyo_masks import ActionMasks
from tamiyo_policies import CompileMode, PolicyBundle, PolicyConfig, create_policy

MakeMasks = Callable[..., ActionMasks]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("unchecked", "counter"),
    # dynamo looks at it and hides the warning in a way that "error" does not honour.
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning"),
]

SMALL = PolicyConfig(hidden_dim=8, compile_mode=CompileMode.DEFAULT)
BATCH, TIME = 4, 5
FEW_GRAPHS = 2


@pytest.fixture
def few_graphs() -> Iterator[None]:
    """No function may have more graphs than so many."""
    with torch._dynamo.config.patch(recompile_limit=FEW_GRAPHS):
        yield


def eager_twin(policy: PolicyBundle) -> PolicyBundle:
    config = replace(policy.config, compile_mode=CompileMode.OFF)
    return create_policy(config, weights=policy.state_dict())


def assert_learns_like(policy: PolicyBundle, other: PolicyBundle, make_masks: MakeMasks) -> None:
    for resets in (False, True):
        ours, theirs = (evaluate(each, make_masks, BATCH, TIME, resets=resets) for each in (policy, other))
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["lstm", "mlp", "mlp-q"])
def test_policies_of_other_widths_and_slots(make_masks: MakeMasks, name: str) -> None:
    for width, slots in ((8, 3), (16, 5)):
        config = replace(SMALL, policy=name, hidden_dim=width, slot_config=SlotConfig.for_grid(1, slots))
        policy = create_policy(config)
        twin = eager_twin(policy)
        torch.testing.assert_close(act(policy, make_masks, BATCH).value, act(twin, make_masks, BATCH).value)
        assert_learns_like(policy, twin, make_masks)


@pytest.mark.usefixtures("few_graphs")
def test_more_policies_than_a_function_may_have_graphs(make_masks: MakeMasks) -> None:
    for slots in range(1, FEW_GRAPHS + 2):
        policy = create_policy(replace(SMALL, policy="mlp", slot_config=SlotConfig.for_grid(1, slots)))
        torch.testing.assert_close(
            act(policy, make_masks, BATCH).value, act(eager_twin(policy), make_masks, BATCH).value
        )


@pytest.mark.parametrize("name", ["lstm", "mlp", "mlp-q"])
def test_frozen_weights_learn_again_when_thawed(make_masks: MakeMasks, name: str) -> None:
    policy = create_policy(replace(SMALL, policy=name))
    twin = eager_twin(policy)
    parts = [part for part in policy.network.modules() if isinstance(part, torch.nn.Linear)][:2]
    others = [part for part in twin.network.modules() if isinstance(part, torch.nn.Linear)][:2]
    for learns in (False, True, False):
        for part in (*parts, *others):
            part.requires_grad_(learns)
        assert_learns_like(policy, twin, make_masks)
    fresh = create_policy(replace(SMALL, policy=name))
    assert_learns_like(fresh, eager_twin(fresh), make_masks)


def test_without_gradients_first(make_masks: MakeMasks) -> None:
    policy = create_policy(SMALL)
    with torch.no_grad(), pytest.raises(RuntimeError, match="does not require grad"):
        evaluate(policy, make_masks, BATCH, TIME)
    assert_learns_like(policy, eager_twin(policy), make_masks)


def test_views_are_taken_as_what_they_show(
    make_masks: MakeMasks, counter: CompileCounterWithBackend, generator: torch.Generator
) -> None:
    policy = create_policy(SMALL)
    twin = eager_twin(policy)
    masks, hidden = make_masks(BATCH, 6, generator=generator), policy.initial_hidden(BATCH)
    buffer = torch.randn(BATCH, 6, policy.feature_dim, generator=generator)
    turned = torch.randn(policy.feature_dim, BATCH, generator=generator).T
    given = [(buffer[:, time], masks.at((slice(None), time))) for time in range(6)]
    given += [(buffer[:1, 0].expand(BATCH, -1), given[0][1]), (turned, given[0][1])]
    policy.get_action(*given[0], hidden, deterministic=True)
    frames = counter.frame_count
    for features, mask in given:
        ours, theirs = (
            each.get_action(features, mask, hidden, deterministic=True) for each in (policy, twin)
        )
        torch.testing.assert_close(ours.value, theirs.value)
        assert torch.equal(ours.actions.op, theirs.actions.op)
    assert counter.frame_count == frames


@pytest.mark.usefixtures("few_graphs")
def test_more_kinds_of_input_than_a_function_may_have_graphs(
    make_masks: MakeMasks, counter: CompileCounterWithBackend, generator: torch.Generator
) -> None:
    policy = create_policy(SMALL)
    for batch in (BATCH, 1):
        masks, features = make_masks(batch, generator=generator), torch.zeros(batch, policy.feature_dim)
        for deterministic in (False, True):
            hidden = policy.initial_hidden(batch)
            policy.get_action(features, masks, hidden, deterministic=deterministic, generator=generator)
    assert counter.frame_count == 4 > FEW_GRAPHS


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))])
@pytest.mark.parametrize("mode", [CompileMode.OFF, CompileMode.DEFAULT])
@pytest.mark.parametrize("name", ["lstm", "mlp-q"])
def test_a_copy_has_weights_of_its_own(
    make_masks: MakeMasks, name: str, mode: CompileMode, duplicate: Callable[[PolicyBundle], PolicyBundle]
) -> None:
    policy = create_policy(replace(SMALL, policy=name, compile_mode=mode))
    before = act(policy, make_masks, BATCH)
    twin = duplicate(policy)
    assert twin.config == policy.config
    assert torch.equal(act(twin, make_masks, BATCH).value, before.value)
    with torch.no_grad():
        for weight in twin.network.parameters():
            weight.mul_(1.5)
    assert not torch.equal(act(twin, make_masks, BATCH).value, before.value)
    assert torch.equal(act(policy, make_masks, BATCH).value, before.value)
    assert_learns_like(twin, eager_twin(twin), make_masks)
