"""What the LSTM policy costs beside its bare layers: one step of acting, and training on whole sequences.

The bare layers are Linear + nn.LSTM of the same widths: no normalisation, trunk, heads, masks, sampling or value.
"""

from collections.abc import Callable

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor, nn

from leyline_types import FactoredActions, MaskSeedInfo, SeedStage, SlotConfig
from tamiyo_masks import ActionMasks, compute_batch_masks
from tamiyo_policies import CompileMode, PolicyBundle, PolicyConfig, create_policy, register_builtin_policies

HIDDEN = 128
TIME = 25
SLOTS = SlotConfig.default()
BARE, EAGER, COMPILED = "bare Linear + LSTM", "policy", "policy, compiled"


class Bare(nn.Module):
    """The layers alone."""

    def __init__(self, feature_dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(feature_dim, HIDDEN)
        self.lstm = nn.LSTM(HIDDEN, HIDDEN, batch_first=True)

    def forward(
        self, features: Tensor, hidden: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        output: Tensor
        output, hidden = self.lstm(self.linear(features), hidden)
        return output, hidden


def make_policy(name: str) -> PolicyBundle:
    register_builtin_policies()
    mode = CompileMode.DEFAULT if name == COMPILED else CompileMode.OFF
    return create_policy(PolicyConfig(hidden_dim=HIDDEN, compile_mode=mode))


def make_masks(batch: int) -> ActionMasks:
    stages = (None, SeedStage.TRAINING, SeedStage.HOLDING)
    states = [
        {
            slot_id: None if stage is None else MaskSeedInfo(stage, 3)
            for slot_id, stage in zip(SLOTS, stages, strict=True)
        }
    ]
    return compute_batch_masks(states * batch, SLOTS.slot_ids)


def stepper(name: str, batch: int) -> Callable[[], object]:
    """One step in inference mode, from the state of the step before."""
    policy = make_policy(name)
    features, masks = torch.randn(batch, policy.feature_dim), make_masks(batch)
    if name == BARE:
        bare, zeros = Bare(policy.feature_dim), torch.zeros(1, batch, HIDDEN)
        state = [(zeros, zeros)]

        def bare_step() -> object:
            with torch.inference_mode():
                output, state[0] = bare(features[:, None], state[0])
                return output

        return bare_step
    hidden = [policy.initial_hidden(batch)]

    def step() -> object:
        result = policy.get_action(features, masks, hidden[0])
        hidden[0] = result.hidden
        return result

    return step


def trainer(name: str, batch: int, share: float) -> Callable[[], object]:
    """Forward and backward over whole sequences; an episode starts at this share of the steps, if it is above 0."""
    policy = make_policy(name)
    features = torch.randn(batch, TIME, policy.feature_dim)
    if name == BARE:
        bare, zeros = Bare(policy.feature_dim), torch.zeros(1, batch, HIDDEN)

        def bare_update() -> object:
            bare.zero_grad()
            torch.autograd.backward(bare(features, (zeros, zeros))[0].sum())
            return bare

        return bare_update
    starts = torch.rand(batch, TIME) < share if share else None
    masks = ActionMasks(*(mask[:, None].expand(-1, TIME, *mask.shape[1:]) for mask in make_masks(batch)))
    with torch.no_grad():
        distribution = policy.forward(features, masks).distribution
    actions: FactoredActions[Tensor] = distribution.sample()

    def update() -> object:
        policy.network.zero_grad()
        result = policy.evaluate_actions(features, actions, masks, episode_starts=starts)
        torch.autograd.backward(result.log_prob.sum() + result.entropy.sum() + result.value.sum())
        return result

    return update


def measure(benchmark: BenchmarkFixture, table: str, row: str, name: str, way: Callable[[], object]) -> None:
    for _ in range(5):
        way()
    benchmark.extra_info.update(table=table, row=row, column=name, torch=torch.__version__)
    benchmark(way)


@pytest.mark.parametrize("name", [BARE, EAGER, COMPILED])
@pytest.mark.parametrize("batch", [1, 64])
def test_get_action(benchmark: BenchmarkFixture, batch: int, name: str) -> None:
    measure(
        benchmark, f"One step of acting, {HIDDEN} hidden", f"batch of {batch}", name, stepper(name, batch)
    )


# dynamo looks at it and hides the warning in a way that "error" does not honour.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
@pytest.mark.parametrize("name", [BARE, EAGER, COMPILED])
@pytest.mark.parametrize("share", [0.0, 0.04])
def test_evaluate_actions(benchmark: BenchmarkFixture, share: float, name: str) -> None:
    table = f"Training on sequences of {TIME}, forward and backward, {HIDDEN} hidden"
    row = "batch of 64" + (f", {share:.0%} of the steps start an episode" if share else "")
    measure(benchmark, table, row, name, trainer(name, 64, share))
