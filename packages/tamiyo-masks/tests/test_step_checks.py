"""What is not finite or not legal in a step is refused, by environment and head, and nothing else is."""

import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from masks_loop import random_states
from torch import Tensor

from leyline_types import (
    ACTION_HEADS,
    HEAD_NAMES,
    HEAD_RELEVANCE,
    FactoredActions,
    LifecycleOp,
    SeedStage,
    SlotConfig,
    head_sizes,
)
from tamiyo_masks import (
    ActionMasks,
    FactoredMaskedCategorical,
    IllegalActionError,
    InvalidStateMachineError,
    LegalityColumns,
    LegalityRules,
    check_actions,
    check_logits,
    check_masks,
    compute_batch_masks,
    masks_from_columns,
)

OP = LifecycleOp
SLOTS = SlotConfig.default()
SIZES = head_sizes(SLOTS)
ENVS = 4
CHOICES = [(head, choice) for head, size in enumerate(SIZES) for choice in range(size)]


def random_masks(seed: int) -> ActionMasks:
    states = random_states(SLOTS, ENVS, torch.Generator().manual_seed(seed), 0.6)
    return compute_batch_masks(states, SLOTS.slot_ids, slot_config=SLOTS, max_seeds=len(SLOTS))


def busy_masks(*batch: int) -> ActionMasks:
    """An empty slot, a seed in training and a held one: every op is legal, each on some slots."""
    stage = torch.tensor([SeedStage.DORMANT, SeedStage.TRAINING, SeedStage.HOLDING]).expand(*batch, 3)
    zeros, ones = torch.zeros(batch, dtype=torch.long), torch.ones(batch, dtype=torch.long)
    columns = LegalityColumns(
        stage != SeedStage.DORMANT, stage, 3 * torch.ones_like(stage), 0 * stage, zeros, 3 * ones, zeros
    )
    return masks_from_columns(columns, SLOTS, LegalityRules())


def named(head: int, choice: int) -> str:
    choices = ACTION_HEADS[head].choices
    return f"slot {SLOTS.slot_ids[choice]}" if choices is None else choices(choice).name


def cleared(masks: ActionMasks, name: str, *place: int) -> ActionMasks:
    """The masks with nothing legal at a place of one of them."""
    mask = getattr(masks, name).clone()
    mask[place] = False
    return masks._replace(**{name: mask})


@given(st.integers(0, 2**31), st.integers(0, ENVS - 1), st.sampled_from(CHOICES), st.sampled_from([*"+-n"]))
def test_a_legal_logit_that_is_not_finite_is_named(
    seed: int, env: int, at: tuple[int, int], sign: str
) -> None:
    masks, (head, choice) = random_masks(seed), at
    logits = torch.randn(ENVS, sum(SIZES), generator=torch.Generator().manual_seed(seed))
    check_logits(logits, masks, SLOTS)
    value = {"+": torch.inf, "-": -torch.inf, "n": torch.nan}[sign]
    logits[env, sum(SIZES[:head]) + choice] = value
    if not masks[head][env, choice]:
        check_logits(logits, masks, SLOTS)
        return
    with pytest.raises(InvalidStateMachineError) as caught:
        check_logits(logits, masks, SLOTS)
    assert str(caught.value) == (
        f"environment {env}, head '{HEAD_NAMES[head]}': the logit of {named(head, choice)} is {value:g}, "
        "expected a finite number"
    )


def test_logits_that_do_not_fit_the_masks() -> None:
    with pytest.raises(ValueError, match=r"`logits` has shape \(4, 7\), the masks call for \(4, 39\)"):
        check_logits(torch.zeros(4, 7), busy_masks(4), SLOTS)


@given(st.integers(0, 2**31))
def test_masks_of_any_state_are_sound(seed: int) -> None:
    check_masks(random_masks(seed))


def test_an_environment_without_a_legal_op_is_named() -> None:
    """Its distribution gives WAIT, which is forbidden."""
    masks = cleared(busy_masks(3), "op", 1)
    actions = FactoredMaskedCategorical(torch.zeros(3, sum(SIZES)), masks).sample()
    assert actions.op[1] == OP.WAIT
    with pytest.raises(
        InvalidStateMachineError, match=r"^environment 1: head 'op' has no legal choice; WAIT"
    ):
        check_masks(masks)
    with pytest.raises(IllegalActionError, match=r"^environment 1, head 'op': WAIT is not legal$"):
        check_actions(actions, masks, SLOTS)


@pytest.mark.parametrize("op", OP)
def test_an_op_without_a_legal_choice_of_a_head_that_it_uses_is_named(op: LifecycleOp) -> None:
    """And one without a choice of a head that it does not use is as good as any."""
    only = busy_masks(3)
    only = only._replace(op=(torch.arange(len(OP)) == op).expand(3, -1))
    for name in HEAD_NAMES[:-1]:
        masks = cleared(only, "slot_by_op", 2, op) if name == "slot" else cleared(only, name, 2)
        if name not in HEAD_RELEVANCE[op]:
            check_masks(masks)
            continue
        expected = f"environment 2: {op.name} is legal, but head '{name}' has no legal choice for it"
        with pytest.raises(InvalidStateMachineError, match=f"^{expected}$"):
            check_masks(masks)


@given(st.integers(0, 2**31), st.integers(0, ENVS - 1), st.lists(st.integers(0, 12), min_size=8, max_size=8))
def test_an_action_passes_if_and_only_if_it_is_legal(seed: int, env: int, numbers: list[int]) -> None:
    masks = random_masks(seed)
    distribution = FactoredMaskedCategorical(torch.zeros(ENVS, sum(SIZES)), masks)
    drawn = distribution.sample(torch.Generator().manual_seed(seed))
    check_actions(drawn, masks, SLOTS)
    one = [number % size for number, size in zip(numbers, SIZES, strict=True)]
    actions = FactoredActions(*(head.clone() for head in drawn))
    for index, choice in zip(actions, one, strict=True):
        index[env] = choice
    op, wrong = OP(one[-1]), set()
    for head, (name, choice) in enumerate(zip(HEAD_NAMES, one, strict=True)):
        allowed = masks.slot_by_op[env, op, choice] if name == "slot" else masks[head][env, choice]
        if name in HEAD_RELEVANCE[op] and not allowed:
            wrong.add(head)
    if not wrong:
        check_actions(actions, masks, SLOTS)
        return
    head = max(wrong)  # the op comes last, and is named first
    tail = "" if HEAD_NAMES[head] == "op" else f" for {op.name}"
    with pytest.raises(IllegalActionError) as caught:
        check_actions(actions, masks, SLOTS)
    assert str(caught.value) == (
        f"environment {env}, head '{HEAD_NAMES[head]}': {named(head, one[head])} is not legal{tail}"
    )


@pytest.mark.parametrize(
    ("head", "value", "message"),
    [
        ("op", torch.tensor([0, 17, 0]), "environment 1, head 'op': choice 17 is none of its 6"),
        ("slot", torch.tensor([0, 0, -1]), "environment 2, head 'slot': choice -1 is none of its 3"),
        ("style", torch.tensor([99, 0, 0]), "environment 0, head 'style': choice 99 is none of its 4"),
        (
            "op",
            torch.tensor([0.0, torch.nan, 0.0]),
            "head 'op' of the actions is torch.float32 (3,), expected",
        ),
        (
            "op",
            torch.tensor([0, 0]),
            "head 'op' of the actions is torch.int64 (2,), expected integers of shape (3,)",
        ),
    ],
)
def test_what_is_no_action(head: str, value: Tensor, message: str) -> None:
    waits = FactoredActions(*torch.zeros(8, 3, dtype=torch.long))
    check_actions(waits, busy_masks(3), SLOTS)
    with pytest.raises(IllegalActionError, match=re.escape(message)):
        check_actions(waits._replace(**{head: value}), busy_masks(3), SLOTS)


def test_batches_of_several_axes() -> None:
    masks = busy_masks(2, 3)
    actions = FactoredMaskedCategorical(torch.zeros(2, 3, sum(SIZES)), masks).mode()
    check_masks(masks)
    check_actions(actions, masks, SLOTS)
    with pytest.raises(
        InvalidStateMachineError, match=r"^environment \[1, 2\]: head 'op' has no legal choice"
    ):
        check_masks(cleared(masks, "op", 1, 2))
    logits = torch.zeros(2, 3, sum(SIZES))
    logits[0, 1, -1] = torch.nan
    with pytest.raises(
        InvalidStateMachineError, match=r"^environment \[0, 1\], head 'op': the logit of ADVANCE"
    ):
        check_logits(logits, masks, SLOTS)
