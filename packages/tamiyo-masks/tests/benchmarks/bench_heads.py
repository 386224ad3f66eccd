"""What one step of sampling costs: actions, their log-probabilities and the entropy, beside two libraries.

The libraries draw eight independent heads; ours draws the slot given the op, and leaves out heads that do not matter.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from masks_loop import random_states
from pytest_benchmark.fixture import BenchmarkFixture
from sb3_contrib.common.maskable.distributions import MaskableMultiCategoricalDistribution
from torch import Tensor
from torchrl.modules import MaskedCategorical as TorchRLCategorical

from leyline_types import HEAD_NAMES, FactoredActions, SlotConfig, head_sizes
from tamiyo_masks import ActionMasks, FactoredMaskedCategorical, compute_batch_masks

SLOTS = SlotConfig.for_grid(5, 5)
SIZES = head_sizes(SLOTS)
# None of the globals that are read here ever changes; to look at them at each call takes as long as the work.
OPTIONS: dict[str, Any] = {"guard_filter_fn": torch.compiler.skip_guard_on_globals_unsafe}
NAMES = ["sb3-contrib", "TorchRL", "ours", "ours, compiled"]


def ours(
    logits: Tensor, masks: ActionMasks, uniform: Tensor
) -> tuple[FactoredActions[Tensor], Tensor, Tensor]:
    distribution = FactoredMaskedCategorical(logits, masks)
    actions, log_probs = distribution.sample_and_head_log_probs(uniform=uniform)
    return actions, log_probs.sum(-1), distribution.regularizer_entropy()


def torchrl(logits: Tensor, masks: ActionMasks) -> tuple[list[Tensor], Tensor, Tensor]:
    actions, log_prob, entropy = [], torch.zeros(()), torch.zeros(())
    for head, mask in zip(logits.split(SIZES, -1), masks, strict=False):
        distribution = TorchRLCategorical(logits=head, mask=mask)
        actions.append(distribution.sample())
        log_prob = log_prob + distribution.log_prob(actions[-1])
        entropy = entropy + distribution.entropy()
    return actions, log_prob, entropy


def contenders(batch: int) -> dict[str, Callable[[], object]]:
    generator = torch.Generator().manual_seed(0)
    masks = compute_batch_masks(
        random_states(SLOTS, batch, generator, 0.7), SLOTS.slot_ids, slot_config=SLOTS
    )
    logits = torch.randn(batch, sum(SIZES), generator=generator)
    flat, shape = masks.flat().numpy(), (batch, len(HEAD_NAMES))
    library = MaskableMultiCategoricalDistribution(list(SIZES))
    compiled = torch.compile(ours, fullgraph=True, dynamic=False, options=OPTIONS)

    def sb3() -> tuple[Tensor, Tensor, Tensor]:
        distribution = library.proba_distribution(logits)
        distribution.apply_masking(flat)
        actions = distribution.get_actions()
        return actions, distribution.log_prob(actions), distribution.entropy()

    return {
        "sb3-contrib": sb3,
        "TorchRL": lambda: torchrl(logits, masks),
        "ours": lambda: ours(logits, masks, torch.rand(shape)),
        "ours, compiled": lambda: compiled(logits, masks, torch.rand(shape)),
    }


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("batch", [1, 64, 1600])
def test_heads(benchmark: BenchmarkFixture, batch: int, name: str) -> None:
    way = contenders(batch)[name]
    for _ in range(3):
        way()
    benchmark.extra_info["table"] = "Sampling, log-probabilities and entropy of eight heads with 25 slots"
    benchmark.extra_info["row"] = f"batch of {batch}"
    benchmark.extra_info["column"] = name
    benchmark.extra_info["torch"] = torch.__version__
    benchmark(way)
