"""The joint distribution is exact: it sums to 1 over the legal actions, and acting and evaluating agree."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from leyline_types import (
    HEAD_NAMES,
    HEAD_RELEVANCE,
    BlueprintAction,
    FactoredActions,
    LegalityRules,
    LifecycleOp,
    SeedStage,
    SlotConfig,
    head_sizes,
)
from tamiyo_masks import (
    ActionMasks,
    FactoredMaskedCategorical,
    InvalidStateMachineError,
    LegalityColumns,
    masks_from_columns,
)

SLOTS = SlotConfig.for_grid(1, 2)
SIZES = head_sizes(SLOTS)
RULES = LegalityRules(enabled_blueprints=(BlueprintAction.NORM, BlueprintAction.CONV_LIGHT))


def masks_of(stages: list[list[int]]) -> ActionMasks:
    stage = torch.tensor(stages)
    ones = torch.ones(len(stages), dtype=torch.long)
    columns = LegalityColumns(
        stage != SeedStage.DORMANT,
        stage,
        torch.full_like(stage, 3),
        torch.zeros_like(stage),
        0 * ones,
        2 * ones,
        0 * ones,
    )
    return masks_from_columns(columns, SLOTS, RULES)


def random_logits(count: int, seed: int = 0, scale: float = 2.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, sum(SIZES), generator=generator) * scale


MASKS = masks_of([[1, 1], [1, 6], [3, 4], [7, 7], [6, 4]])


@pytest.mark.parametrize("floors", [None, {"op": 0.2, "slot": 0.1, "blueprint": 0.3}])
def test_probabilities_of_all_legal_actions_sum_to_one(floors: dict[str, float] | None) -> None:
    masks = masks_of([[1, 6]])
    logits = random_logits(1).double()
    total, legal_actions = 0.0, 0
    for op in LifecycleOp:
        if not masks.op[0, op]:
            continue
        choices = [
            range(1) if name not in HEAD_RELEVANCE[op]
            else [int(op)] if name == "op"
            else masks.slot_by_op[0, op].nonzero().flatten().tolist() if name == "slot"
            else getattr(masks, name)[0].nonzero().flatten().tolist()
            for name in HEAD_NAMES
        ]  # fmt: skip
        combinations = torch.tensor(list(itertools.product(*choices)))
        count = len(combinations)
        distribution = FactoredMaskedCategorical(
            logits.expand(count, -1),
            ActionMasks(*(mask.expand(count, *mask.shape[1:]) for mask in masks)),
            floors=floors,
        )
        total += float(distribution.joint_log_prob(FactoredActions(*combinations.T)).exp().sum())
        legal_actions += count
    assert (
        legal_actions == 1 + 1 * 2 * 4 * 3 * 3 + 1 * 4 * 3 * 4 * 3 + 1 * 4 * 3 + 1
    )  # no ADVANCE from 1 and 6
    assert total == pytest.approx(1.0)


@given(st.integers(0, 2**31))
def test_samples_are_legal_and_canonical(seed: int) -> None:
    distribution = FactoredMaskedCategorical(random_logits(5, seed), MASKS)
    for actions in (distribution.sample(torch.Generator().manual_seed(seed)), distribution.mode()):
        for env in range(5):
            op = LifecycleOp(int(actions.op[env]))
            assert MASKS.op[env, op]
            assert MASKS.slot_by_op[env, op, actions.slot[env]]
            for name in HEAD_NAMES:
                choice = int(getattr(actions, name)[env])
                if name not in HEAD_RELEVANCE[op]:
                    assert choice == 0
                elif name != "slot":
                    assert getattr(MASKS, name)[env, choice]
        assert distribution.joint_log_prob(actions).isfinite().all()


def test_acting_and_evaluating_agree_bit_for_bit() -> None:
    logits = random_logits(5)
    acting = FactoredMaskedCategorical(logits, MASKS)
    actions = acting.sample(torch.Generator().manual_seed(0))
    evaluating = FactoredMaskedCategorical(logits.clone(), ActionMasks(*(mask.clone() for mask in MASKS)))
    for acted, evaluated in zip(acting.log_prob(actions), evaluating.log_prob(actions), strict=True):
        assert torch.equal(acted, evaluated)


def test_heads_that_do_not_matter_have_log_probability_zero_and_no_gradient() -> None:
    logits = random_logits(5).requires_grad_()
    distribution = FactoredMaskedCategorical(logits, MASKS)
    waits = FactoredActions(*(torch.zeros(5, dtype=torch.long) for _ in HEAD_NAMES))
    log_probs = distribution.log_prob(waits)
    assert all(not value.any() for name, value in zip(HEAD_NAMES, log_probs, strict=True) if name != "op")
    (gradient,) = torch.autograd.grad(distribution.joint_log_prob(waits).sum(), logits)
    assert not gradient[:, : -SIZES[-1]].any()
    assert gradient.isfinite().all()


def test_illegal_actions_have_probability_zero() -> None:
    distribution = FactoredMaskedCategorical(random_logits(1), masks_of([[1, 6]]))
    zero = torch.zeros(1, dtype=torch.long)
    nothing = FactoredActions(*(zero for _ in HEAD_NAMES))
    germinate = nothing._replace(op=zero + LifecycleOp.GERMINATE, blueprint=zero + BlueprintAction.NORM)
    assert distribution.joint_log_prob(germinate).isfinite()
    advance = nothing._replace(op=zero + LifecycleOp.ADVANCE)
    wrong_slot = germinate._replace(slot=zero + 1)
    wrong_blueprint = germinate._replace(blueprint=zero + BlueprintAction.CONV_HEAVY)
    for action in (advance, wrong_slot, wrong_blueprint):
        assert distribution.joint_log_prob(action).item() == -torch.inf


def test_entropy_is_normalised_over_the_heads_that_could_matter() -> None:
    uniform = FactoredMaskedCategorical(torch.zeros(5, sum(SIZES)), MASKS).entropy()
    assert uniform.max() <= 1.0 + 1e-6
    assert uniform[3] == 0.0  # both slots fossilized: nothing to decide
    one = FactoredMaskedCategorical(torch.zeros(1, sum(SIZES)), masks_of([[1, 1]])).entropy()
    assert one.item() == pytest.approx(1.0)
    decided = FactoredMaskedCategorical(random_logits(5, scale=200.0), MASKS).entropy()
    assert (decided <= uniform).all()


def test_given_numbers_replace_the_generator() -> None:
    distribution = FactoredMaskedCategorical(random_logits(5), MASKS)
    uniform = torch.rand(5, len(HEAD_NAMES), generator=torch.Generator().manual_seed(3))
    drawn = distribution.sample(torch.Generator().manual_seed(3))
    assert all(torch.equal(a, b) for a, b in zip(distribution.sample(uniform=uniform), drawn, strict=True))


def test_refusals_name_both_sides() -> None:
    with pytest.raises(ValueError, match=r"`logits` has shape \(5, 7\), the masks call for \(5, 38\)"):
        FactoredMaskedCategorical(torch.zeros(5, 7), MASKS)
    nothing_legal = MASKS._replace(op=torch.zeros_like(MASKS.op))
    FactoredMaskedCategorical(random_logits(5), nothing_legal).sample()
    with pytest.raises(InvalidStateMachineError, match="no legal choice"):
        FactoredMaskedCategorical(random_logits(5), nothing_legal, validate=True).sample()
    with pytest.raises(ValueError, match="names no head: 'operation'"):
        FactoredMaskedCategorical(random_logits(5), MASKS, floors={"operation": 0.1})
    with pytest.raises(ValueError, match=r"'op' must lie in \[0, 1\), not 1.0"):
        FactoredMaskedCategorical(random_logits(5), MASKS, floors={"op": 1.0})


def run(
    logits: Tensor, masks: ActionMasks, uniform: Tensor
) -> tuple[FactoredActions[Tensor], FactoredActions[Tensor], Tensor]:
    distribution = FactoredMaskedCategorical(logits, masks)
    actions = distribution.sample(uniform=uniform)
    return actions, distribution.log_prob(actions), distribution.entropy()


def test_compiles_without_graph_breaks_and_maps() -> None:
    inputs = (
        random_logits(5),
        MASKS,
        torch.rand(5, len(HEAD_NAMES), generator=torch.Generator().manual_seed(1)),
    )
    expected = run(*inputs)
    torch.testing.assert_close(torch.compile(run, fullgraph=True)(*inputs), expected)
    torch.testing.assert_close(torch.func.vmap(run)(*inputs), expected)


@pytest.mark.compile
def test_compiles_once_for_all_numbers_of_environments() -> None:
    torch.compiler.reset()
    compiled = torch.compile(run, fullgraph=True, dynamic=True)

    def check(count: int) -> None:
        masks = ActionMasks(*(mask[:1].expand(count, *mask.shape[1:]) for mask in MASKS))
        inputs = random_logits(count), masks, torch.rand(count, len(HEAD_NAMES))
        torch.testing.assert_close(compiled(*inputs), run(*inputs))

    check(7)  # unlike every other size: the compiler takes equal sizes to stay equal
    with torch.compiler.set_stance("fail_on_recompile"):
        for count in (2, 11, 200):
            check(count)
