"""Values of factored actions, against a list of every legal action."""

from collections.abc import Callable
from itertools import product

import pytest
import torch
from torch import Tensor

from leyline_types import HEAD_NAMES, HEAD_RELEVANCE, FactoredActions, LifecycleOp, SlotConfig, head_sizes
from tamiyo_masks import ActionMasks, FactoredMaskedCategorical
from tamiyo_policies import greedy_actions, joint_values, soft_logits, soft_values

MakeMasks = Callable[..., ActionMasks]

SIZES = head_sizes(SlotConfig.default())


def legal_actions(masks: ActionMasks) -> list[tuple[int, ...]]:
    """Every legal action of one state, heads that the op does not use at 0."""
    found = []
    for op in LifecycleOp:
        if not masks.op[op]:
            continue
        choices = []
        for name, mask in masks.as_dict().items():
            if name == "op":
                choices.append([int(op)])
            elif name not in HEAD_RELEVANCE[op]:
                choices.append([0])
            else:
                legal = masks.slot_by_op[op] if name == "slot" else mask
                choices.append(legal.nonzero().flatten().tolist())
        found += list(product(*choices))
    return found


def values_by_hand(q_values: Tensor, actions: list[tuple[int, ...]]) -> Tensor:
    heads = dict(zip(HEAD_NAMES, q_values.split(SIZES), strict=True))
    return torch.stack(
        [
            torch.stack([heads[n][i] for n, i in zip(HEAD_NAMES, a, strict=True) if n in relevant]).sum()
            for a in actions
            for relevant in [HEAD_RELEVANCE[LifecycleOp(a[-1])]]
        ]
    )


def as_columns(actions: list[tuple[int, ...]]) -> FactoredActions[Tensor]:
    return FactoredActions(*torch.tensor(actions).unbind(-1))


@pytest.mark.parametrize("seed", range(10))
def test_every_legal_action(make_masks: MakeMasks, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    masks = make_masks(1, generator=generator)
    one = ActionMasks(*(mask[0] for mask in masks))
    q_values = 3 * torch.randn(1, sum(SIZES), generator=generator)
    actions = legal_actions(one)
    expected = values_by_hand(q_values[0], actions)

    spread = q_values.expand(len(actions), -1)
    torch.testing.assert_close(joint_values(spread, as_columns(actions), SIZES), expected)

    best, value = greedy_actions(q_values, masks)
    assert tuple(int(index) for index in best) == actions[int(expected.argmax())]
    torch.testing.assert_close(value[0], expected.max())

    for temperature in (0.3, 1.0, 4.0):
        soft = soft_values(q_values, masks, temperature)
        torch.testing.assert_close(soft[0], temperature * (expected / temperature).logsumexp(0))
        distribution = FactoredMaskedCategorical(
            soft_logits(q_values, masks, temperature).expand(len(actions), -1),
            ActionMasks(*(mask.expand(len(actions), *mask.shape[1:]) for mask in masks)),
        )
        torch.testing.assert_close(
            distribution.log_prob(as_columns(actions)), (expected / temperature).log_softmax(0)
        )


def test_critics_are_an_axis_in_front(make_masks: MakeMasks, generator: torch.Generator) -> None:
    masks = make_masks(4, 5, generator=generator)
    q_values = torch.randn(2, 4, 5, sum(SIZES), generator=generator)
    actions, values = greedy_actions(q_values, masks)
    soft = soft_values(q_values, masks, 0.5)
    assert actions.op.shape == values.shape == soft.shape == (2, 4, 5)
    for critic in range(2):
        alone, its_values = greedy_actions(q_values[critic], masks)
        assert all(torch.equal(a[critic], b) for a, b in zip(actions, alone, strict=True))
        torch.testing.assert_close(values[critic], its_values)
        torch.testing.assert_close(soft[critic], soft_values(q_values[critic], masks, 0.5))
    taken = FactoredMaskedCategorical(torch.zeros(4, 5, sum(SIZES)), masks).sample(generator)
    both = joint_values(q_values, taken, SIZES)
    torch.testing.assert_close(both[1], joint_values(q_values[1], taken, SIZES))
    torch.testing.assert_close(
        values[0], joint_values(q_values[0], FactoredActions(*(a[0] for a in actions)), SIZES)
    )


def test_illegal_choices_at_minus_infinity_change_nothing(
    make_masks: MakeMasks, generator: torch.Generator
) -> None:
    """As `get_q_values` returns them; gradients stay finite."""
    masks = make_masks(6, generator=generator)
    q_values = torch.randn(6, sum(SIZES), generator=generator, requires_grad=True)
    masked = q_values.masked_fill(~masks.flat(), -torch.inf)
    actions, values = greedy_actions(masked, masks)
    expected, its_values = greedy_actions(q_values, masks)
    assert all(torch.equal(a, b) for a, b in zip(actions, expected, strict=True))
    assert torch.equal(values, its_values)
    total = values.sum() + soft_values(masked, masks, 0.7).sum() + joint_values(masked, actions, SIZES).sum()
    (gradient,) = torch.autograd.grad(total, q_values)
    assert gradient.isfinite().all()
    assert gradient.any(-1).all()
