"""What a rollout made in inference mode meets logits with gradients: gradients are those of ordinary tensors."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from leyline_types import FactoredActions, MaskSeedInfo, SeedStage, SlotConfig, head_sizes
from tamiyo_masks import (
    ActionMasks,
    FactoredMaskedCategorical,
    MaskedCategorical,
    compute_batch_masks,
    ordinary,
)
from tamiyo_masks.factored import LARGEST_PADDED

SLOTS = SlotConfig.default()
WIDTH = sum(head_sizes(SLOTS))
BATCHES = pytest.mark.parametrize("batch", [5, LARGEST_PADDED + 1])


def rollout(batch: int) -> tuple[ActionMasks, FactoredActions[Tensor], Tensor]:
    """Masks, actions and floors, as inference tensors."""
    stages = (None, SeedStage.TRAINING, SeedStage.HOLDING)
    state = {
        slot: None if stage is None else MaskSeedInfo(stage, 3)
        for slot, stage in zip(SLOTS, stages, strict=True)
    }
    with torch.inference_mode():
        masks = compute_batch_masks([state] * batch, SLOTS.slot_ids)
        masks = ActionMasks(*(mask.clone() for mask in masks))
        actions = FactoredMaskedCategorical(torch.zeros(batch, WIDTH), masks).sample(
            torch.Generator().manual_seed(0)
        )
        return masks, actions, torch.full((8,), 0.05)


Result = Callable[[FactoredMaskedCategorical, FactoredActions[Tensor]], Tensor]

RESULTS: dict[str, Result] = {
    "log_prob": lambda distribution, actions: distribution.log_prob(actions),
    "head_log_probs": lambda distribution, actions: distribution.head_log_probs(actions),
    "head_entropies": lambda distribution, actions: distribution.head_entropies(actions.op),
    "head_entropies in nats": lambda distribution, actions: distribution.head_entropies(
        actions.op, normalized=False
    ),
    "entropy": lambda distribution, actions: distribution.entropy(),
    "regularizer_entropy": lambda distribution, actions: distribution.regularizer_entropy(),
    "sample_and_head_log_probs": lambda distribution, actions: distribution.sample_and_head_log_probs(
        torch.Generator().manual_seed(1)
    )[1],
}


@BATCHES
@pytest.mark.parametrize("floored", [False, True])
@pytest.mark.parametrize("name", RESULTS)
def test_gradients_through_all_heads(batch: int, floored: bool, name: str) -> None:
    masks, actions, floors = rollout(batch)
    assert all(tensor.is_inference() for tensor in (*masks, *actions, floors))
    logits = torch.randn(batch, WIDTH, generator=torch.Generator().manual_seed(2))
    gradients = []
    for made in (lambda tensor: tensor, Tensor.clone):
        weights = logits.clone().requires_grad_()
        distribution = FactoredMaskedCategorical(
            weights, ActionMasks(*map(made, masks)), floors=made(floors) if floored else None
        )
        found = RESULTS[name](distribution, FactoredActions(*map(made, actions)))
        gradients.append(torch.autograd.grad(found.square().sum(), weights)[0])
    assert torch.equal(*gradients)
    assert gradients[0].any()


def test_masks_of_an_op() -> None:
    masks, actions, _ = rollout(5)
    logits = torch.zeros(5, WIDTH, requires_grad=True)
    given = FactoredMaskedCategorical(logits, masks).masks_given(actions.op)
    head = MaskedCategorical(logits[:, : len(SLOTS)], given.slot)
    head.log_prob(actions.slot).sum().backward()


def test_gradients_through_one_head() -> None:
    with torch.inference_mode():
        mask = torch.tensor([[True, True, False], [True, True, True]])
        old = MaskedCategorical(torch.zeros(2, 3), mask)
        action = old.sample(torch.Generator().manual_seed(0))
    logits = torch.randn(2, 3, generator=torch.Generator().manual_seed(1), requires_grad=True)
    new = MaskedCategorical(logits, mask, floor=0.1)
    same = MaskedCategorical(torch.zeros(2, 3), mask.clone())
    for found, expected in (
        (new.log_prob(action), new.log_prob(action.clone())),
        (new.kl(old), new.kl(same)),
        (old.kl(new), same.kl(new)),
        (new.entropy(), new.entropy()),
    ):
        gradients = [
            torch.autograd.grad(each.sum(), logits, retain_graph=True)[0] for each in (found, expected)
        ]
        assert torch.equal(*gradients)
        assert gradients[0].any()


def test_ordinary_tensors_are_not_copied() -> None:
    with torch.inference_mode():
        made = torch.ones(2)
        assert ordinary(made) is made
    copied = ordinary(made)
    assert torch.equal(copied, made)
    assert not copied.is_inference()
    assert ordinary(copied) is copied
    assert ordinary(None) is None
