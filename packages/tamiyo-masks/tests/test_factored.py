"""The joint distribution is exact: it sums to 1 over the legal actions, and acting and evaluating agree."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from masks_loop import random_states
from torch import Tensor
from torch.distributions import Categorical

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
    MaskedCategorical,
    compute_batch_masks,
    floors_by_head,
    invalid_rows,
    masks_from_columns,
)
from tamiyo_masks.factored import LARGEST_PADDED

OP = LifecycleOp

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


def every_action(slots: SlotConfig) -> FactoredActions[Tensor]:
    """Every canonical action, legal or not: all choices of the heads that matter for the op, 0 at the others."""
    sizes = dict(zip(HEAD_NAMES, head_sizes(slots), strict=True))
    actions: list[tuple[int, ...]] = []
    for op in LifecycleOp:
        used = HEAD_RELEVANCE[op] - {"op"}
        choices = [range(sizes[name] if name in used else 1) for name in HEAD_NAMES[:-1]]
        actions += [(*chosen, int(op)) for chosen in itertools.product(*choices)]
    return FactoredActions(*torch.tensor(actions).T)


@pytest.mark.parametrize("floors", [None, {"op": 0.2, "slot": 0.1, "blueprint": 0.3}])
@pytest.mark.parametrize("num_slots", [1, 2, 3])
@given(st.integers(0, 2**31))
@settings(max_examples=10)
def test_the_joint_is_a_distribution_over_the_legal_actions(
    floors: dict[str, float] | None, num_slots: int, seed: int
) -> None:
    """Enumerated: probabilities sum to 1, are 0 for illegal actions alone, and their entropy is `entropy`."""
    slots = SlotConfig.for_grid(1, num_slots)
    generator = torch.Generator().manual_seed(seed)
    states = random_states(slots, 1, generator, 0.6)
    masks = compute_batch_masks(states, slots.slot_ids, slot_config=slots, max_seeds=num_slots)
    logits = torch.randn(1, sum(head_sizes(slots)), generator=generator, dtype=torch.float64)
    actions = every_action(slots)
    count = len(actions.op)
    distribution = FactoredMaskedCategorical(
        logits.expand(count, -1),
        ActionMasks(*(mask.expand(count, *mask.shape[1:]) for mask in masks)),
        floors=floors,
    )
    log_probs = distribution.log_prob(actions)
    legal = masks.op[0, actions.op]
    for name, chosen in zip(HEAD_NAMES[:-1], actions, strict=False):
        used = torch.tensor([name in HEAD_RELEVANCE[op] for op in LifecycleOp])[actions.op]
        allowed = (
            masks.slot_by_op[0, actions.op, chosen] if name == "slot" else getattr(masks, name)[0, chosen]
        )
        legal &= allowed | ~used
    assert torch.equal(log_probs.isfinite(), legal)
    assert float(log_probs.exp().sum()) == pytest.approx(1.0)
    entropy = -(log_probs[legal].exp() * log_probs[legal]).sum()
    torch.testing.assert_close(distribution.entropy(), entropy.expand(count))


@given(st.integers(0, 2**31))
@settings(max_examples=20)
def test_heads_equal_categoricals_under_the_masks_that_the_op_gives(seed: int) -> None:
    """Values and gradients, against `torch.distributions` on the legal subset of each head."""
    logits = random_logits(5, seed).double().requires_grad_()
    distribution = FactoredMaskedCategorical(logits, MASKS)
    actions = distribution.sample(torch.Generator().manual_seed(seed))
    log_probs, given_masks = distribution.head_log_probs(actions), distribution.masks_given(actions.op)
    entropies = distribution.head_entropies(actions.op, normalized=False)
    normalized = distribution.head_entropies(actions.op)
    for head, (head_logits, mask, action) in enumerate(
        zip(logits.split(SIZES, dim=-1), given_masks, actions, strict=True)
    ):
        for env in range(5):
            subset = mask[env].nonzero().flatten()
            reference = Categorical(logits=head_logits[env, subset])
            expected = reference.log_prob((subset == action[env]).nonzero()[0, 0])
            torch.testing.assert_close(log_probs[env, head], expected)
            torch.testing.assert_close(entropies[env, head], reference.entropy())
            largest = math.log(len(subset)) if len(subset) > 1 else 1.0
            torch.testing.assert_close(normalized[env, head], reference.entropy() / largest)
            (found,) = torch.autograd.grad(log_probs[env, head], logits, retain_graph=True)
            (due,) = torch.autograd.grad(expected, logits, retain_graph=True)
            torch.testing.assert_close(found, due)


@pytest.mark.parametrize("floors", [None, {"op": 0.2, "slot": 0.1, "blueprint": 0.3}])
def test_gradients_are_those_of_the_values(floors: dict[str, float] | None) -> None:
    logits = random_logits(5).double()
    uniform = torch.rand(5, len(HEAD_NAMES), generator=torch.Generator().manual_seed(0))

    def values(own: Tensor) -> tuple[Tensor, ...]:
        found = FactoredMaskedCategorical(own, MASKS, floors=floors)
        actions, log_probs = found.sample_and_head_log_probs(uniform=uniform)
        entropies = found.head_entropies(actions.op)
        return log_probs, entropies, found.log_prob(actions), found.entropy(), found.regularizer_entropy()

    assert torch.autograd.gradcheck(values, logits.requires_grad_())


@pytest.mark.parametrize("count", [5, 500])
def test_the_mode_is_the_likeliest_legal_choice_of_each_head(count: int) -> None:
    masks = ActionMasks(*(mask.repeat(count // 5, *[1] * (mask.ndim - 1)) for mask in MASKS))
    logits = random_logits(count)
    distribution = FactoredMaskedCategorical(logits, masks)
    mode = distribution.mode()
    given_masks = distribution.masks_given(mode.op)
    for head, mask, chosen in zip(logits.split(SIZES, dim=-1), given_masks, mode, strict=True):
        assert torch.equal(chosen, torch.where(mask, head, -torch.inf).argmax(-1))


def test_heads_without_a_floor_are_as_they_are() -> None:
    logits = random_logits(5)
    bare, mixed = (FactoredMaskedCategorical(logits, MASKS, floors=floors) for floors in (None, {"op": 0.2}))
    actions = bare.sample(torch.Generator().manual_seed(0))
    assert torch.equal(bare.head_log_probs(actions)[:, :-1], mixed.head_log_probs(actions)[:, :-1])
    assert not torch.equal(bare.head_log_probs(actions)[:, -1], mixed.head_log_probs(actions)[:, -1])


@pytest.mark.parametrize("count", [5, 500])
def test_floors_in_a_tensor_are_those_by_name(count: int) -> None:
    floors = {"op": 0.2, "slot": 0.1, "blueprint": 0.3}
    assert floors_by_head(floors) == (0.1, 0.3, 0.0, 0.0, 0.0, 0.0, 0.0, 0.2)
    masks = ActionMasks(*(mask.repeat(count // 5, *[1] * (mask.ndim - 1)) for mask in MASKS))
    found = []
    for given_floors in (floors, torch.tensor(floors_by_head(floors)), {}, torch.zeros(len(HEAD_NAMES))):
        logits = random_logits(count).requires_grad_()
        distribution = FactoredMaskedCategorical(logits, masks, floors=given_floors)
        actions, log_probs = distribution.sample_and_head_log_probs(torch.Generator().manual_seed(0))
        entropies = distribution.regularizer_entropy(), distribution.head_entropies(actions.op)
        (gradient,) = torch.autograd.grad(log_probs.sum() + entropies[0].sum(), logits)
        found.append((*actions, log_probs, *entropies, gradient))
    torch.testing.assert_close(found[0], found[1])
    torch.testing.assert_close(found[2], found[3])
    assert not torch.equal(found[0][-1], found[2][-1])


@pytest.mark.parametrize("shape", [(), (0,), (2, 3), (150, 2)])
def test_any_batch_shape(shape: tuple[int, ...]) -> None:
    count = math.prod(shape)
    masks = ActionMasks(*(mask[torch.arange(count) % 5].reshape(*shape, *mask.shape[1:]) for mask in MASKS))
    distribution = FactoredMaskedCategorical(random_logits(count).reshape(*shape, sum(SIZES)), masks)
    flat = FactoredMaskedCategorical(
        random_logits(count), ActionMasks(*(mask.reshape(count, *mask.shape[len(shape) :]) for mask in masks))
    )
    actions = distribution.mode()
    flat_actions = FactoredActions(*(choice.flatten() for choice in actions))
    torch.testing.assert_close(distribution.entropy().flatten(), flat.entropy())
    torch.testing.assert_close(distribution.log_prob(actions).flatten(), flat.log_prob(flat_actions))
    assert distribution.sample().op.shape == shape


def test_validation_stays_out_of_compiled_code(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = MASKS._replace(op=torch.zeros_like(MASKS.op))
    monkeypatch.setenv("TAMIYO_VALIDATE", "1")
    with pytest.raises(InvalidStateMachineError):
        FactoredMaskedCategorical(random_logits(5), nothing)
    compiled = torch.compile(
        lambda logits, masks: FactoredMaskedCategorical(logits, masks, validate=True).mode().op,
        fullgraph=True,
        backend="eager",
    )
    assert compiled(random_logits(5), nothing).tolist() == [0] * 5


def test_masks_given_are_those_of_the_draw() -> None:
    ops = torch.tensor([OP.GERMINATE, OP.FOSSILIZE, OP.WAIT, OP.WAIT, OP.PRUNE])
    given_masks = FactoredMaskedCategorical(random_logits(5), MASKS).masks_given(ops)
    assert given_masks.slot.tolist() == [
        [True, True],
        [False, True],
        [True, False],
        [True, False],
        [True, True],
    ]
    assert torch.equal(given_masks.blueprint[0], MASKS.blueprint[0])
    assert torch.equal(given_masks.op, MASKS.op)
    for name in ("blueprint", "style", "tempo", "alpha_target", "alpha_speed", "alpha_curve"):
        assert getattr(given_masks, name)[2:4, 0].all()
        assert getattr(given_masks, name)[2:4].sum() == 2


def test_a_floor_keeps_a_hopeless_choice_possible_and_its_gradient_alive() -> None:
    logits = torch.zeros(1, sum(SIZES))
    logits[0, -len(OP) + OP.GERMINATE] = -12.0
    germinate = FactoredActions(*(torch.zeros(1, dtype=torch.long) for _ in HEAD_NAMES))._replace(
        op=torch.tensor([int(OP.GERMINATE)]), blueprint=torch.tensor([int(BlueprintAction.NORM)])
    )
    masks = masks_of([[1, 1]])  # WAIT and GERMINATE
    found = []
    for floors in (None, {"op": 0.1}):
        own = logits.clone().requires_grad_()
        log_prob = FactoredMaskedCategorical(own, masks, floors=floors).head_log_probs(germinate)[0, -1]
        (gradient,) = torch.autograd.grad(log_prob, own)
        found.append((float(log_prob.detach().exp()), float(gradient[0, -len(OP) + OP.GERMINATE])))
    (bare, _), (mixed, slope) = found
    assert mixed == pytest.approx(0.9 * bare + 0.1 / 2)
    # d log((1 - f) p + f / n) / d logit = (1 - f) p (1 - p) / ((1 - f) p + f / n)
    assert slope == pytest.approx(0.9 * bare * (1 - bare) / mixed, rel=1e-4)
    assert slope > 0


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
        assert distribution.log_prob(actions).isfinite().all()


@pytest.mark.parametrize("count", [1, 5, LARGEST_PADDED, LARGEST_PADDED + 1, 400])
def test_acting_and_evaluating_agree_bit_for_bit(count: int) -> None:
    masks = ActionMasks(*(mask.repeat(count // 5 + 1, *[1] * (mask.ndim - 1))[:count] for mask in MASKS))
    logits = random_logits(count)
    actions, acted = FactoredMaskedCategorical(logits, masks).sample_and_head_log_probs(
        torch.Generator().manual_seed(0)
    )
    evaluating = FactoredMaskedCategorical(logits.clone(), ActionMasks(*(mask.clone() for mask in masks)))
    assert torch.equal(acted, evaluating.head_log_probs(actions))
    assert torch.equal(acted.sum(-1), evaluating.log_prob(actions))
    again = FactoredMaskedCategorical(logits, masks).sample(torch.Generator().manual_seed(0))
    assert all(torch.equal(a, b) for a, b in zip(again, actions, strict=True))


def test_heads_that_do_not_matter_have_log_probability_zero_and_no_gradient() -> None:
    logits = random_logits(5).requires_grad_()
    distribution = FactoredMaskedCategorical(logits, MASKS)
    waits = FactoredActions(*(torch.zeros(5, dtype=torch.long) for _ in HEAD_NAMES))
    assert not distribution.head_log_probs(waits)[:, :-1].any()
    (gradient,) = torch.autograd.grad(distribution.log_prob(waits).sum(), logits)
    assert not gradient[:, : -SIZES[-1]].any()
    assert gradient.isfinite().all()


def test_illegal_actions_have_probability_zero() -> None:
    distribution = FactoredMaskedCategorical(random_logits(1), masks_of([[1, 6]]))
    zero = torch.zeros(1, dtype=torch.long)
    nothing = FactoredActions(*(zero for _ in HEAD_NAMES))
    germinate = nothing._replace(op=zero + LifecycleOp.GERMINATE, blueprint=zero + BlueprintAction.NORM)
    assert distribution.log_prob(germinate).isfinite()
    advance = nothing._replace(op=zero + LifecycleOp.ADVANCE)
    wrong_slot = germinate._replace(slot=zero + 1)
    wrong_blueprint = germinate._replace(blueprint=zero + BlueprintAction.CONV_HEAVY)
    for action in (advance, wrong_slot, wrong_blueprint):
        assert distribution.log_prob(action).item() == -torch.inf


def test_the_regularizer_is_the_mean_over_the_heads_that_could_matter() -> None:
    logits = random_logits(5)
    found = FactoredMaskedCategorical(logits, MASKS).regularizer_entropy()
    for env in range(5):
        legal_ops = [op for op in LifecycleOp if MASKS.op[env, op]]
        heads = [
            MaskedCategorical(head_logits[env], getattr(MASKS, name)[env]).entropy()
            for name, head_logits in zip(HEAD_NAMES, logits.split(SIZES, dim=-1), strict=True)
            if any(name in HEAD_RELEVANCE[op] for op in legal_ops)
        ]
        torch.testing.assert_close(found[env], torch.stack(heads).mean())
    assert found[3] == 0.0  # both slots fossilized: nothing to decide
    undecided = FactoredMaskedCategorical(torch.zeros(5, sum(SIZES)), MASKS).regularizer_entropy()
    assert undecided[0].item() == pytest.approx(1.0)


def test_invalid_rows_are_found_without_reading_a_value() -> None:
    logits = random_logits(5)
    assert not invalid_rows(logits, MASKS).any()
    broken = logits.clone()
    broken[1, MASKS.flat()[1].nonzero()[0, 0]] = torch.inf
    broken[2, MASKS.flat()[2].logical_not().nonzero()[0, 0]] = torch.nan  # illegal: of no account
    slots = MASKS.slot_by_op.clone()
    slots[3, OP.PRUNE] = False  # not legal there
    slots[4, OP.PRUNE] = False
    masks = MASKS._replace(slot_by_op=slots)
    assert invalid_rows(broken, masks).tolist() == [False, True, False, False, True]
    on_meta = invalid_rows(broken.to("meta"), masks.to("meta"))  # where a read would fail
    assert on_meta.shape == (5,)


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
    with pytest.raises(ValueError, match=r"one batch shape: `slot_by_op` is \(1, 6, 2\), `op` \(5, 6\)"):
        FactoredMaskedCategorical(random_logits(5), MASKS._replace(slot_by_op=MASKS.slot_by_op[:1]))
    with pytest.raises(ValueError, match=r"must be boolean .* torch.uint8"):
        FactoredMaskedCategorical(random_logits(5), MASKS._replace(op=MASKS.op.byte()))
    with pytest.raises(ValueError, match="names no head: 'operation'"):
        FactoredMaskedCategorical(random_logits(5), MASKS, floors={"operation": 0.1})
    with pytest.raises(ValueError, match=r"'op' must lie in \[0, 1\), not 1.0"):
        FactoredMaskedCategorical(random_logits(5), MASKS, floors={"op": 1.0})
    with pytest.raises(
        ValueError, match=r"`floors` has shape \(7,\), one number for each head makes it \(8,\)"
    ):
        FactoredMaskedCategorical(random_logits(5), MASKS, floors=torch.zeros(7))


def run(
    logits: Tensor, masks: ActionMasks, uniform: Tensor
) -> tuple[FactoredActions[Tensor], dict[str, Tensor]]:
    distribution = FactoredMaskedCategorical(logits, masks)
    actions, log_probs = distribution.sample_and_head_log_probs(uniform=uniform)
    found = {
        "log_probs": log_probs,
        "log_prob": distribution.log_prob(distribution.mode()),
        "entropy": distribution.entropy(),
        "head_entropies": distribution.head_entropies(actions.op),
        "regularizer": distribution.regularizer_entropy(),
        "invalid": invalid_rows(logits, masks),
    }
    return actions, found | distribution.masks_given(actions.op)._asdict()


@pytest.mark.compile
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
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("count", [1, 5])
def test_compiled_gradients_and_floors_equal_those_of_eager(count: int, dtype: torch.dtype) -> None:
    masks = ActionMasks(*(mask[:count] for mask in MASKS))
    uniform = torch.rand(count, len(HEAD_NAMES), generator=torch.Generator().manual_seed(1))

    def loss(logits: Tensor) -> Tensor:
        distribution = FactoredMaskedCategorical(logits, masks, floors={"op": 0.2, "slot": 0.1})
        _, log_probs = distribution.sample_and_head_log_probs(uniform=uniform)
        return log_probs.sum() + distribution.entropy().sum() + distribution.regularizer_entropy().sum()

    found = []
    for function in (loss, torch.compile(loss, fullgraph=True)):
        logits = random_logits(count).to(dtype).requires_grad_()
        value = function(logits)
        found.append((value.detach(), *torch.autograd.grad(value, logits)))
    torch.testing.assert_close(*found, atol=1e-3 if dtype is torch.bfloat16 else 1e-6, rtol=1e-2)


@pytest.mark.compile
@pytest.mark.parametrize("count", [1, 5])
def test_compiles_once_for_all_floors_in_a_tensor(count: int) -> None:
    masks = ActionMasks(*(mask[:count] for mask in MASKS))
    actions = FactoredMaskedCategorical(random_logits(count), masks).mode()

    def loss(logits: Tensor, floors: Tensor) -> Tensor:
        distribution = FactoredMaskedCategorical(logits, masks, floors=floors)
        return distribution.log_prob(actions).sum() + distribution.regularizer_entropy().sum()

    compiled = torch.compile(loss, fullgraph=True)

    def check(op: float, slot: float) -> None:
        floors, found = torch.tensor(floors_by_head({"op": op, "slot": slot})), []
        for function in (loss, compiled):
            logits = random_logits(count).requires_grad_()
            value = function(logits, floors)
            found.append((value.detach(), *torch.autograd.grad(value, logits)))
        torch.testing.assert_close(*found, atol=1e-6, rtol=1e-4)

    check(0.2, 0.1)
    with torch.compiler.set_stance("fail_on_recompile"):
        check(0.1, 0.0)
        check(0.0, 0.999)


@pytest.mark.compile
def test_compiles_once_for_all_numbers_of_environments() -> None:
    torch.compiler.reset()
    compiled = torch.compile(run, fullgraph=True, dynamic=True)

    def check(count: int) -> None:
        masks = ActionMasks(*(mask[:1].expand(count, *mask.shape[1:]) for mask in MASKS))
        inputs = random_logits(count), masks, torch.rand(count, len(HEAD_NAMES))
        torch.testing.assert_close(compiled(*inputs), run(*inputs))

    check(1)  # a graph of its own
    check(7)  # unlike every other size: the compiler takes equal sizes to stay equal
    with torch.compiler.set_stance("fail_on_recompile"):
        for count in (1, 2, 11, 200):
            check(count)
