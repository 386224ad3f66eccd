"""The two ways to compute the heads are one distribution: equal values, gradients, draws, at every magnitude."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from masks_loop import random_states
from scipy.stats import chisquare
from torch import Tensor

from leyline_types import (
    HEAD_NAMES,
    FactoredActions,
    LifecycleOp,
    MaskSeedInfo,
    SeedStage,
    SlotConfig,
    head_sizes,
)
from tamiyo_masks import ActionMasks, FactoredMaskedCategorical, compute_batch_masks
from tamiyo_masks.factored import LARGEST_PADDED
from tamiyo_masks.padded_heads import PaddedHeads
from tamiyo_masks.separate_heads import SeparateHeads

SLOT_CONFIGS = (SlotConfig(("r0c0",)), SlotConfig.default(), SlotConfig.for_grid(5, 5))
FLOORS = tuple(0.1 * (name in ("op", "blueprint", "slot")) for name in HEAD_NAMES)


def case(slots: SlotConfig, seed: int, num_envs: int = 12) -> tuple[Tensor, ActionMasks, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    masks = compute_batch_masks(
        random_states(slots, num_envs, generator, 0.7), slots.slot_ids, slot_config=slots
    )
    logits = 3 * torch.randn(num_envs, sum(head_sizes(slots)), generator=generator)
    return logits, masks, torch.rand(num_envs, len(HEAD_NAMES), generator=generator)


@given(
    st.integers(0, 2**31),
    st.sampled_from(SLOT_CONFIGS),
    st.sampled_from([None, FLOORS, torch.tensor(FLOORS)]),
)
def test_equal_values_draws_and_gradients(
    seed: int, slots: SlotConfig, floors: tuple[float, ...] | Tensor | None
) -> None:
    logits, masks, uniform = case(slots, seed)
    found = []
    for kind in (PaddedHeads, SeparateHeads):
        own = logits.clone().requires_grad_()
        heads = kind(own, masks, floors)
        actions, log_probs = heads.draw(uniform)
        assert torch.equal(heads.log_probs(actions), log_probs)
        values = [heads.op_probs, log_probs]
        for normalized in (True, False):
            values += [heads.head_entropy(normalized=normalized), heads.slot_entropy(normalized=normalized)]
        (gradient,) = torch.autograd.grad(torch.cat(values[1:], dim=-1).sum(), own)
        found.append((*actions, *heads.mode(), *values, gradient))
    for padded, separate in zip(*found, strict=True):
        torch.testing.assert_close(padded, separate, atol=1e-5, rtol=1e-5)
        assert padded.isfinite().all()


@pytest.mark.parametrize("size", [LARGEST_PADDED, LARGEST_PADDED + 1])
def test_the_size_of_the_batch_does_not_show(size: int) -> None:
    """Each environment's results are those that it has alone."""
    logits, masks, uniform = case(SlotConfig.default(), 0, size)
    whole = FactoredMaskedCategorical(logits, masks)
    actions = whole.sample(uniform=uniform)
    for env in (0, size // 2, size - 1):
        single = FactoredMaskedCategorical(logits[env], masks.at(env))
        own = single.sample(uniform=uniform[env])
        assert [int(head) for head in own] == [int(head[env]) for head in actions]
        torch.testing.assert_close(single.log_prob(own), whole.log_prob(actions)[env])
        torch.testing.assert_close(single.entropy(), whole.entropy()[env])
        torch.testing.assert_close(single.regularizer_entropy(), whole.regularizer_entropy()[env])


@pytest.mark.parametrize("kind", [PaddedHeads, SeparateHeads])
def test_actions_in_int32_and_actions_far_out_of_range(kind: type[PaddedHeads] | type[SeparateHeads]) -> None:
    logits, masks, uniform = case(SlotConfig.default(), 0)
    heads = kind(logits, masks, None)
    actions, log_probs = heads.draw(uniform)
    narrow = FactoredActions(*(choice.int() for choice in actions))
    assert torch.equal(heads.log_probs(narrow), log_probs)
    with pytest.raises(RuntimeError, match="out of bounds"):
        heads.log_probs(actions._replace(slot=torch.full_like(actions.slot, 30)))


@pytest.mark.parametrize("kind", [PaddedHeads, SeparateHeads])
@pytest.mark.parametrize(
    ("dtype", "big"),
    [(torch.float32, 1e4), (torch.float32, 3e38), (torch.float16, 6.5e4), (torch.bfloat16, 3e38)],
)
def test_no_magnitude_lets_an_illegal_choice_win(
    kind: type[PaddedHeads] | type[SeparateHeads], dtype: torch.dtype, big: float
) -> None:
    logits, masks, uniform = case(SlotConfig.default(), 1, 40)
    legal = masks.flat()
    own = torch.where(legal, -big, big).to(dtype).requires_grad_()
    heads = kind(own, masks, None)
    actions, log_probs = heads.draw(uniform)
    expected = kind(torch.zeros_like(logits), masks, None)
    torch.testing.assert_close(log_probs, expected.log_probs(actions))
    assert log_probs.dtype == torch.float32
    assert (log_probs > -20).all()
    (gradient,) = torch.autograd.grad(log_probs.sum() + heads.head_entropy(normalized=True).sum(), own)
    assert gradient.isfinite().all()
    assert not gradient[~legal].any()


@pytest.mark.parametrize("kind", [PaddedHeads, SeparateHeads])
@pytest.mark.parametrize("floors", [None, FLOORS])
def test_opposite_extremes_stay_finite(
    kind: type[PaddedHeads] | type[SeparateHeads], floors: tuple[float, ...] | None
) -> None:
    logits, masks, uniform = case(SlotConfig.default(), 2, 40)
    own = torch.where(logits > 0, 3e38, -3e38).requires_grad_()
    heads = kind(own, masks, floors)
    actions, log_probs = heads.draw(uniform)
    assert log_probs.isfinite().all()
    entropies = heads.head_entropy(normalized=True).sum() + heads.slot_entropy(normalized=True).sum()
    assert entropies.isfinite()
    (gradient,) = torch.autograd.grad(log_probs.sum() + entropies, own)
    assert gradient.isfinite().all()
    assert torch.equal(heads.log_probs(actions), log_probs)


@pytest.mark.parametrize("count", [100, 20_000])
def test_heads_are_drawn_independently_of_each_other(count: int) -> None:
    """Pairs of blueprint and tempo, and of style and target, among draws of GERMINATE."""
    slots = SlotConfig.default()
    masks = compute_batch_masks([dict.fromkeys(slots)] * count, slots.slot_ids)
    logits = torch.zeros(count, sum(head_sizes(slots)))
    distribution = FactoredMaskedCategorical(logits, masks)
    generator = torch.Generator().manual_seed(0)
    draws = [distribution.sample(generator) for _ in range(20_000 // count)]
    actions = FactoredActions(*(torch.cat(head) for head in zip(*draws, strict=True)))
    germinates = actions.op == LifecycleOp.GERMINATE
    for one, two, choices, others in (
        (actions.blueprint - 1, actions.tempo, 7, 3),
        (actions.style, actions.alpha_target, 4, 3),
    ):
        observed = torch.bincount((one * others + two)[germinates], minlength=choices * others)
        assert chisquare(observed.numpy()).pvalue > 1e-3


@pytest.mark.parametrize("count", [100, 20_000])
def test_draws_follow_the_joint_probabilities(count: int) -> None:
    """Every op and slot that can be drawn, as often as the joint says; 100 draws at a time or all at once."""
    logits, _, _ = case(SlotConfig.default(), 3, 1)
    states = {
        "r0c0": None,
        "r0c1": MaskSeedInfo(SeedStage.HOLDING, 3),
        "r0c2": MaskSeedInfo(SeedStage.BLENDING, 3),
    }
    masks = compute_batch_masks([states], SlotConfig.default().slot_ids)
    generator = torch.Generator().manual_seed(0)
    drawn = []
    for _ in range(20_000 // count):
        many = FactoredMaskedCategorical(
            logits.expand(count, -1), ActionMasks(*(mask.expand(count, *mask.shape[1:]) for mask in masks))
        )
        actions = many.sample(generator)
        drawn.append(actions.op * 3 + actions.slot)
    observed = torch.bincount(torch.cat(drawn), minlength=18)
    op_probs = torch.where(masks.op[0], logits[0, -6:], -torch.inf).softmax(0)
    expected = torch.zeros(18)
    for op in range(6):
        slots = torch.where(masks.slot_by_op[0, op], logits[0, :3], -torch.inf).softmax(0)
        if op == 0:
            slots = torch.tensor([1.0, 0.0, 0.0])  # WAIT takes no slot
        expected[3 * op : 3 * op + 3] = op_probs[op] * slots
    possible = expected > 0
    assert (
        possible.sum() == 1 + 1 + 2 + 2 + 1 + 1
    )  # WAIT, GERMINATE, SET_ALPHA_TARGET, PRUNE, FOSSILIZE, ADVANCE
    assert not observed[~possible].any()
    counts, due = observed[possible].numpy(), (expected[possible] * 20_000).double().numpy()
    assert chisquare(counts, due, sum_check=False).pvalue > 1e-3


def test_never_waits_for_a_device_unless_asked_to() -> None:
    """On the meta device a read would fail."""
    for count in (4, LARGEST_PADDED + 1):
        logits, masks, uniform = case(SlotConfig.default(), 0, count)
        distribution = FactoredMaskedCategorical(logits.to("meta"), masks.to("meta"))
        actions, log_probs = distribution.sample_and_head_log_probs(uniform=uniform.to("meta"))
        for found in (distribution.entropy(), distribution.regularizer_entropy()):
            assert found.shape == (count,)
        assert distribution.head_entropies(actions.op).shape == (count, len(HEAD_NAMES))
        assert log_probs.shape == (count, len(HEAD_NAMES))
        assert distribution.masks_given(distribution.mode().op).op.shape == masks.op.shape


def test_rows_of_ops_that_are_not_legal_or_take_no_slot_may_be_empty() -> None:
    logits, masks, _ = case(SlotConfig.default(), 0, 40)
    empty = masks.slot_by_op & masks.op.unsqueeze(-1)
    empty[:, LifecycleOp.WAIT] = False
    expected = FactoredMaskedCategorical(logits, masks)
    own = logits.clone().requires_grad_()
    for kind in (PaddedHeads, SeparateHeads):
        found = FactoredMaskedCategorical(own, masks._replace(slot_by_op=empty), validate=True)
        object.__setattr__(found, "_heads", kind(own, found.masks, None))
        torch.testing.assert_close(found.entropy(), expected.entropy())
        (gradient,) = torch.autograd.grad(found.entropy().sum(), own)
        assert gradient.isfinite().all()


def test_validation_looks_at_every_head_and_op() -> None:
    logits, masks, _ = case(SlotConfig.default(), 0, 3)
    FactoredMaskedCategorical(logits, masks, validate=True)
    for name in (*HEAD_NAMES, "slot_by_op"):
        mask = getattr(masks, name).clone()
        mask[:] = False
        broken = masks._replace(**{name: mask})
        FactoredMaskedCategorical(logits, broken)
        with pytest.raises(ValueError, match=f"of `{name}` has no legal choice"):
            FactoredMaskedCategorical(logits, broken, validate=True)


def test_immutable() -> None:
    logits, masks, _ = case(SlotConfig.default(), 0, 3)
    distribution = FactoredMaskedCategorical(logits, masks)
    with pytest.raises(AttributeError, match="immutable; cannot set 'masks'"):
        distribution.masks = masks
    assert isinstance(distribution.mode(), FactoredActions)
