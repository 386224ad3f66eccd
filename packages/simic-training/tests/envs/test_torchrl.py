"""A TorchRL collector with a masked policy gathers from the hosts, a policy learns, no masked action is taken."""

import warnings
from typing import Any

import pytest
import torch
from gymnasium.vector import AutoresetMode
from small_envs import EPOCHS, grouped
from torch import Tensor, nn

from simic_training.envs.flatten import FlattenAction, FlattenVectorAction
from simic_training.envs.single import GrowthEnv
from simic_training.envs.vector import GrowthVectorEnv

pytest.importorskip("torchrl", reason="the extra `torchrl` is not installed")

with warnings.catch_warnings():  # TorchRL inherits from a class of its own that it calls deprecated
    warnings.filterwarnings(
        "ignore", r"Creating \w+ which inherits from WeightUpdaterBase", DeprecationWarning
    )
    from torchrl.collectors import Collector
from torchrl.envs import GymWrapper
from torchrl.envs.utils import check_env_specs
from torchrl.modules import MaskedCategorical, ProbabilisticActor, SafeModule, ValueOperator
from torchrl.objectives import ClipPPOLoss
from torchrl.objectives.value import GAE

HOSTS, FRAMES = 64, 512


class Masked(MaskedCategorical):  # type: ignore[misc]  # TorchRL carries no types
    """By a mask of 0 and 1, as observations hold it."""

    def __init__(self, logits: Tensor, mask: Tensor) -> None:
        super().__init__(logits=logits, mask=mask.bool())


def wrapped(mode: AutoresetMode) -> Any:
    env = FlattenVectorAction(
        GrowthVectorEnv(HOSTS, grouped(HOSTS), autoreset_mode=mode, mask_in_observation=True)
    )
    found = GymWrapper(env, categorical_action_encoding=True)
    found.set_seed(0)
    return found


def network(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs, 32), nn.Tanh(), nn.Linear(32, outputs))


def masked_actor(env: Any) -> Any:
    num_features = env.observation_spec["features"].shape[-1]
    logits = SafeModule(
        network(num_features, env.action_spec.space.n), in_keys=["features"], out_keys=["logits"]
    )
    return ProbabilisticActor(
        logits,
        in_keys={"logits": "logits", "mask": "action_mask"},
        out_keys=["action"],
        spec=env.action_spec,
        distribution_class=Masked,
        return_log_prob=True,
    )


def collect(env: Any, actor: Any, frames: int) -> Any:
    return Collector(
        env, actor, frames_per_batch=FRAMES, total_frames=frames, auto_register_policy_transforms=False
    )


def check(batch: Any) -> None:
    """Every action within its mask, every episode of one length, and masks that move on with the hosts."""
    assert batch["action_mask"].bool().gather(-1, batch["action"].unsqueeze(-1)).all()
    done = batch["next", "done"][..., 0]
    assert done[:, EPOCHS - 1 :: EPOCHS].all()
    assert int(done.sum()) == done.numel() // EPOCHS
    assert batch["features"].isfinite().all()
    going_on = ~done[:, :-1]
    following, reached = batch["action_mask"][:, 1:], batch["next", "action_mask"][:, :-1]
    assert torch.equal(following[going_on], reached[going_on])
    assert not torch.equal(following[~going_on], reached[~going_on])


@pytest.mark.slow
def test_ppo_trains_on_a_collector() -> None:
    """In the mode that TorchRL prefers, where it asks for resets itself."""
    torch.manual_seed(0)
    env = wrapped(AutoresetMode.DISABLED)
    actor = masked_actor(env)
    critic = ValueOperator(network(env.observation_spec["features"].shape[-1], 1), in_keys=["features"])
    advantage = GAE(gamma=1.0, lmbda=0.95, value_network=critic)
    loss = ClipPPOLoss(actor, critic, entropy_coeff=0.01)
    optimizer = torch.optim.Adam(loss.parameters(), lr=3e-3)
    before = [weight.clone() for weight in actor.parameters()]
    collector, frames = collect(env, actor, frames=4 * FRAMES), 0
    for batch in collector:
        check(batch)
        frames += batch.numel()
        with torch.no_grad():
            advantage(batch)
        for _ in range(2):
            losses = loss(batch)
            total = losses["loss_objective"] + losses["loss_critic"] + losses["loss_entropy"]
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
            assert total.isfinite()
    collector.shutdown()
    assert frames == 4 * FRAMES
    assert not all(map(torch.equal, before, actor.parameters()))


def test_a_collector_gathers_where_the_environment_resets_itself() -> None:
    """TorchRL then keeps infos as tensors, final ones too."""
    torch.manual_seed(0)
    env = wrapped(AutoresetMode.SAME_STEP)
    collector = collect(env, masked_actor(env), frames=FRAMES)
    for batch in collector:
        check(batch)
        assert not batch["next", "invalid_action"].any()
        terms = batch["next", "reward_accuracy"] + batch["next", "reward_rent"]
        torch.testing.assert_close(batch["next", "reward"][..., 0], terms.float())
    collector.shutdown()


def test_torchrl_finds_no_fault_in_a_single_environment() -> None:
    env = GymWrapper(FlattenAction(GrowthEnv(grouped(1), mask_in_observation=True)))
    assert env.action_spec.shape[-1] == env.observation_spec["action_mask"].shape[-1]
    check_env_specs(env)
