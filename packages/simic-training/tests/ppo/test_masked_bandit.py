"""A bandit whose best action is not legal: the best of the legal ones is found, and no other is ever taken."""

from itertools import product
from typing import NamedTuple, final

import pytest
import torch
from torch import Tensor
from toy_masks import allow, pick
from toy_training import make_policy, train

from leyline_types import FactoredActions, LifecycleOp, SlotConfig, observation_schema
from simic_training.ppo.config import PPOConfig, Ratio
from simic_training.ppo.environments import EnvStep, Seen
from tamiyo_policies import PolicyBundle

ENVS, SLOTS = 64, 3
WAIT, GERMINATE, ADVANCE = LifecycleOp.WAIT, LifecycleOp.GERMINATE, LifecycleOp.ADVANCE
BLUEPRINTS = (1, 3, 4, 5)


class Arm(NamedTuple):
    """An action, as far as the reward depends on it; what its op does not use is 0."""

    op: int
    slot: int = 0
    blueprint: int = 0


REWARDS = (
    {Arm(WAIT): 0.3}
    # The optimum leads the second best op by 0.4: the test is of masks, and not of how long an actor explores.
    | {Arm(ADVANCE, slot): reward for slot, reward in enumerate((1.2, 0.1, 0.5))}
    | {
        Arm(GERMINATE, slot, blueprint): at_slot + of_blueprint
        for (slot, at_slot), (blueprint, of_blueprint) in product(
            enumerate((0.0, 0.9, 0.4)), zip(BLUEPRINTS, (0.1, 0.5, 0.2, 1.0), strict=True)
        )
    }
)
LEGAL = (  # in either of the two situations: ops with their slots, and blueprints
    ({WAIT: [0], GERMINATE: [0, 2], ADVANCE: [1, 2]}, (1, 3, 4)),
    ({WAIT: [0], GERMINATE: [0], ADVANCE: [1, 2]}, (1, 4)),
)
OPTIMA = (Arm(GERMINATE, 2, 3), Arm(ADVANCE, 2))


def is_legal(situation: int, arm: Arm) -> bool:
    slots, blueprints = LEGAL[situation]
    return arm.slot in slots.get(LifecycleOp(arm.op), []) and (
        arm.op != GERMINATE or arm.blueprint in blueprints
    )


@final
class Bandit:
    """Episodes of one step. Feature 0 tells the situation, which alternates from environment to environment."""

    def __init__(self) -> None:
        self._generator = torch.Generator().manual_seed(0)
        self._situations = [env % 2 for env in range(ENVS)]
        features = torch.zeros(ENVS, observation_schema(SlotConfig.for_grid(1, SLOTS)).dim)
        features[:, 0] = torch.tensor(self._situations)
        one, other = (allow(ENVS, SLOTS, slots, blueprint=blueprints) for slots, blueprints in LEGAL)
        self.seen = Seen(features, pick([situation == 0 for situation in self._situations], one, other))
        self.taken: set[tuple[int, Arm]] = set()

    @property
    def num_envs(self) -> int:
        return ENVS

    def reset(self) -> Seen:
        return self.seen

    def step(self, actions: FactoredActions[Tensor]) -> EnvStep:
        arms = arms_of(actions)
        self.taken |= set(zip(self._situations, arms, strict=True))
        noise = 0.1 * torch.randn(ENVS, generator=self._generator)
        reward = torch.tensor([REWARDS[arm] for arm in arms]) + noise
        ends = torch.ones(ENVS, dtype=torch.bool)
        return EnvStep(self.seen, reward, ends, ~ends)


def arms_of(actions: FactoredActions[Tensor]) -> list[Arm]:
    chosen = zip(actions.op.tolist(), actions.slot.tolist(), actions.blueprint.tolist(), strict=True)
    return [Arm(*each) for each in chosen]


def greedy(policy: PolicyBundle, bandit: Bandit) -> tuple[Arm, Arm]:
    result = policy.get_action(*bandit.seen, policy.initial_hidden(ENVS), deterministic=True)
    first, second, *_ = arms_of(result.actions)
    return first, second


@pytest.mark.parametrize("situation", [0, 1])
def test_the_best_action_of_all_is_not_legal(situation: int) -> None:
    best = max(REWARDS, key=lambda arm: REWARDS[arm])
    legal = [arm for arm in REWARDS if is_legal(situation, arm)]
    assert not is_legal(situation, best)
    assert max(legal, key=lambda arm: REWARDS[arm]) == OPTIMA[situation]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["lstm", "mlp"])
@pytest.mark.parametrize("ratio", Ratio)
def test_the_best_legal_action_is_found(ratio: Ratio, kind: str) -> None:
    bandit = Bandit()
    policy = make_policy(kind, slots=SLOTS)
    config = PPOConfig(
        ratio=ratio,
        learning_rate=1e-2,
        epochs=4,
        minibatches=2,
        target_kl=0.05,
        op_floor=0.1,
        entropy_end=0.0,
    )
    for _ in train(policy, bandit, config, updates=40, steps=4, chunk_length=1):
        pass
    assert greedy(policy, bandit) == OPTIMA
    legal = {(situation, arm) for situation in (0, 1) for arm in REWARDS if is_legal(situation, arm)}
    assert bandit.taken == legal
