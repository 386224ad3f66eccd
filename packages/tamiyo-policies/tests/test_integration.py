"""From observation to legal action through features, masks and policy; and many policies in one call."""

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.func import functional_call, stack_module_state, vmap

from leyline_types import (
    OP_RULES,
    AlphaMode,
    BlueprintAction,
    FactoredActions,
    LegalityRules,
    LifecycleOp,
    Observation,
    SeedStage,
    SlotConfig,
    Topology,
    germinable_blueprints,
)
from tamiyo_features import extract_features
from tamiyo_masks import ActionMasks, FactoredMaskedCategorical, action_masks
from tamiyo_policies import HiddenState, PolicyConfig, PolicyController, create_policy

Observe = Callable[..., Observation[Tensor]]
MakeMasks = Callable[..., ActionMasks]

ENVS = 16
STAGES = torch.tensor([int(stage) for stage in SeedStage if stage is not SeedStage.UNKNOWN])


def is_legal(observation: Observation[Tensor], env: int, action: tuple[int, ...], topology: Topology) -> bool:
    """The table of leyline-types, read for one action of one environment."""
    slot, blueprint, *_, op = action
    rule = OP_RULES[LifecycleOp(op)]
    slots = observation.slots
    if rule.stages is None:
        return True
    stage = SeedStage(int(slots.stage[env, slot]))
    return (
        (not bool(slots.occupied[env, slot]) if rule.needs_empty_slot else stage in rule.stages)
        and (not rule.needs_hold or int(slots.alpha_mode[env, slot]) == AlphaMode.HOLD)
        and (not rule.needs_min_age or int(slots.age_epochs[env, slot]) >= LegalityRules().min_prune_age)
        and (not rule.needs_capacity or int(observation.signals.live_seeds[env]) < len(slots.stage[env]))
        and (op != LifecycleOp.GERMINATE or BlueprintAction(blueprint) in germinable_blueprints(topology))
    )


def random_worlds(
    observe: Observe, slots: int, topology: Topology, generator: torch.Generator
) -> Observation[Tensor]:
    """Seeds of every stage, age and alpha mode, and empty slots."""

    def draw(choices: int) -> Tensor:
        return torch.randint(choices, (ENVS, slots), generator=generator)

    return observe(
        envs=ENVS,
        slots=slots,
        topology=topology,
        stage=STAGES[draw(len(STAGES))],
        age_epochs=draw(4),
        alpha_mode=draw(len(AlphaMode)),
        alpha=torch.rand(ENVS, slots, generator=generator),
        train_loss=torch.rand(ENVS, generator=generator),
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("topology", Topology)
@pytest.mark.parametrize(("name", "frames"), [("lstm", 1), ("mlp", 2), ("mlp-q", 1)])
def test_actions_are_legal_from_one_slot_to_twenty_five(
    observe: Observe,
    generator: torch.Generator,
    name: str,
    frames: int,
    topology: Topology,
    dtype: torch.dtype,
) -> None:
    """The controller acts legally, and what it does is what features, masks and policy do one by one."""
    ops = set()
    for slots in range(1, 26):
        slot_config = SlotConfig.for_grid(1, slots)
        policy = create_policy(
            PolicyConfig(
                policy=name,
                slot_config=slot_config,
                hidden_dim=8,
                frame_stack=frames,
                dtype=dtype,
                seed=slots,
            )
        )
        observation = random_worlds(observe, slots, topology, generator)
        controller = PolicyController(policy, seed=slots)
        memory = controller.initial_memory(ENVS)
        actions, later = controller.act(observation, memory)
        for env, action in enumerate(torch.stack(tuple(actions), -1).tolist()):
            assert is_legal(observation, env, action, topology), (slots, env, action)
        ops |= set(actions.op.tolist())

        features = extract_features(observation, slot_config).to(dtype)
        masks = action_masks(observation, slot_config)
        stepped = policy.evaluate_actions(
            features[:, None],
            FactoredActions(*(head[:, None] for head in actions)),
            ActionMasks(*(mask[:, None] for mask in masks)),
            memory.hidden.for_training(),
        )
        assert stepped.log_prob.isfinite().all()
        assert torch.equal(stepped.hidden.h, later.hidden.h)
    assert ops == set(LifecycleOp)


ENSEMBLE = 8


@pytest.mark.parametrize(("name", "frames"), [("lstm", 1), ("mlp", 3), ("mlp-q", 1)])
def test_eight_policies_in_one_call_equal_eight_calls(
    make_masks: MakeMasks, generator: torch.Generator, name: str, frames: int
) -> None:
    policies = [
        create_policy(PolicyConfig(policy=name, hidden_dim=16, frame_stack=frames, seed=seed))
        for seed in range(ENSEMBLE)
    ]
    batch, width = 5, policies[0].feature_dim
    features = torch.randn(batch, width, generator=generator)
    masks = make_masks(batch, generator=generator)
    state_width = policies[0].initial_hidden(1).h.shape[-1]
    states = torch.randn(ENSEMBLE, batch, state_width, generator=generator)
    hidden = HiddenState(states, torch.zeros_like(states) if name == "lstm" else states[..., :0])
    parameters, buffers = stack_module_state([policy.network for policy in policies])
    skeleton = create_policy(policies[0].config).network.to("meta")

    def one(
        weights: dict[str, Tensor], extra: dict[str, Tensor], state: HiddenState
    ) -> tuple[Tensor, Tensor, HiddenState, FactoredActions[Tensor]]:
        outputs, after = functional_call(skeleton, (weights, extra), (features, masks, state))
        return outputs.logits, outputs.value, after, FactoredMaskedCategorical(outputs.logits, masks).mode()

    logits, value, after, actions = vmap(one)(parameters, buffers, hidden)
    assert logits.shape == (ENSEMBLE, batch, sum(masks.head_sizes))
    for member, policy in enumerate(policies):
        alone = policy.forward(features, masks, HiddenState(*(part[member] for part in hidden)))
        torch.testing.assert_close(logits[member], alone.logits, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(value[member], alone.value, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(after.h[member], alone.hidden.h, atol=1e-5, rtol=1e-5)
        expected = alone.distribution.mode()
        assert all(torch.equal(a[member], b) for a, b in zip(actions, expected, strict=True))
    pairs = itertools.combinations(range(ENSEMBLE), 2)
    assert not any(torch.equal(value[one], value[other]) for one, other in pairs)
