"""What acting made goes into learning as it is, though it was made in inference mode."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from leyline_types import SlotConfig, head_sizes
from tamiyo_masks import ActionMasks
from tamiyo_policies import (
    PolicyBundle,
    PolicyConfig,
    create_policy,
    greedy_actions,
    joint_values,
    soft_logits,
    soft_values,
)

MakeMasks = Callable[..., ActionMasks]

SIZES = head_sizes(SlotConfig.default())


@pytest.mark.parametrize("batch", [4, 200])
def test_entropies_given_the_ops_that_a_policy_chose(
    policy: PolicyBundle, make_masks: MakeMasks, generator: torch.Generator, batch: int
) -> None:
    with torch.inference_mode():
        masks = ActionMasks(*(mask.clone() for mask in make_masks(batch, generator=generator)))
        features = torch.randn(batch, policy.feature_dim, generator=generator)
    chosen = policy.get_action(features, masks, policy.initial_hidden(batch), generator=generator).actions
    distribution = policy.forward(features, masks).distribution
    for found in (
        distribution.head_entropies(chosen.op),
        distribution.log_prob(chosen),
        distribution.entropy(),
        distribution.regularizer_entropy(),
    ):
        policy.network.zero_grad()
        found.sum().backward(retain_graph=True)
        gradients = [weight.grad for weight in policy.network.parameters() if weight.grad is not None]
        assert any(gradient.any() for gradient in gradients)


def test_values_of_the_actions_that_a_policy_chose(make_masks: MakeMasks, generator: torch.Generator) -> None:
    policy = create_policy(PolicyConfig(policy="mlp-q", hidden_dim=8))
    with torch.inference_mode():
        masks = ActionMasks(*(mask.clone() for mask in make_masks(4, generator=generator)))
        features, temperature = torch.randn(4, policy.feature_dim, generator=generator), torch.tensor(0.5)
    actions = policy.get_action(features, masks, policy.initial_hidden(4), generator=generator).actions
    values = torch.randn(2, 4, sum(SIZES), generator=generator)

    def gradient(result: Callable[[Tensor], Tensor]) -> Tensor:
        weights = values.clone().requires_grad_()
        return torch.autograd.grad(result(weights).sum(), weights)[0]

    plain = ActionMasks(*(mask.clone() for mask in masks))
    for found, expected in (
        (
            gradient(lambda q: joint_values(q, actions, SIZES)),
            gradient(lambda q: joint_values(q, type(actions)(*(head.clone() for head in actions)), SIZES)),
        ),
        (gradient(lambda q: greedy_actions(q, masks)[1]), gradient(lambda q: greedy_actions(q, plain)[1])),
        (
            gradient(lambda q: soft_values(q, masks, temperature)),
            gradient(lambda q: soft_values(q, plain, temperature.clone())),
        ),
        (
            gradient(lambda q: soft_logits(q, masks, temperature).square()),
            gradient(lambda q: soft_logits(q, plain, temperature.clone()).square()),
        ),
    ):
        assert torch.equal(found, expected)
        assert found.any()
