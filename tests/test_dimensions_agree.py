"""Features, masks and policy made for the same slots fit together; made for others, each says so at once."""

import pytest
import torch
from torch import Tensor

from leyline_types import (
    FactoredActions,
    Observation,
    SlotConfig,
    TaskConfig,
    Topology,
    TrainingMetrics,
    TrainingSignals,
    head_sizes,
)
from tamiyo_features import ObservationShapeError, extract_features, get_feature_size, pack_observations
from tamiyo_masks import ActionMasks, action_masks
from tamiyo_policies import (
    PolicyBundle,
    PolicyConfig,
    PolicyInputError,
    create_policy,
    register_builtin_policies,
)

ENVS = 3
THREE, FOUR = SlotConfig.default(), SlotConfig.for_grid(2, 2)


def observe(slots: SlotConfig) -> Observation[Tensor]:
    """Untrained hosts whose slots are empty."""
    metrics = TrainingMetrics(
        epoch=0,
        global_step=0,
        train_loss=1.0,
        val_loss=1.0,
        loss_delta=None,
        train_accuracy=50.0,
        val_accuracy=50.0,
        accuracy_delta=None,
        plateau_epochs=0,
        host_stabilized=0,
        best_val_accuracy=0.0,
        grad_norm_host=None,
        grad_norm_seed=None,
    )
    signals = TrainingSignals(
        metrics=metrics,
        active_seeds=(),
        available_slots=len(slots),
        loss_history=(),
        accuracy_history=(),
        total_params=1,
        host_params=1,
    )
    task = TaskConfig("any", Topology.CNN, 1, 1, 0, 2, 1.0, 0.0, 1, parameter_price=0.3)
    return pack_observations([signals] * ENVS, [dict.fromkeys(slots)] * ENVS, slots, task=task)


def make_policy(slots: SlotConfig, *, telemetry: bool = False) -> PolicyBundle:
    register_builtin_policies()
    return create_policy(PolicyConfig(slot_config=slots, telemetry=telemetry, hidden_dim=8))


@pytest.mark.parametrize("telemetry", [False, True])
@pytest.mark.parametrize("slots", [SlotConfig(("r2c1",)), THREE, SlotConfig.for_grid(5, 5)], ids=len)
def test_one_slot_config_fits_them_all(slots: SlotConfig, telemetry: bool) -> None:
    observation, policy = observe(slots), make_policy(slots, telemetry=telemetry)
    features = extract_features(observation, slots, telemetry=telemetry)
    masks = action_masks(observation, slots)
    assert features.shape[-1] == get_feature_size(slots, telemetry=telemetry) == policy.feature_dim
    assert masks.head_sizes == head_sizes(slots)
    acted = policy.get_action(features, masks, policy.initial_hidden(ENVS))
    evaluated = policy.evaluate_actions(
        features[:, None],
        FactoredActions(*(head[:, None] for head in acted.actions)),
        ActionMasks.stack([masks], dim=1),
    )
    torch.testing.assert_close(evaluated.log_prob[:, 0], acted.log_prob)
    assert policy.forward(features, masks).logits.shape == (ENVS, sum(head_sizes(slots)))


def test_slots_that_changed_in_between_are_refused_by_each() -> None:
    observation, policy = observe(THREE), make_policy(FOUR)
    features, masks = extract_features(observation, THREE), action_masks(observation, THREE)
    hidden = policy.initial_hidden(ENVS)
    with pytest.raises(ObservationShapeError, match="with 4 slots"):
        extract_features(observation, FOUR)
    with pytest.raises(ValueError, match="last axis must be 4 slots"):
        action_masks(observation, FOUR)
    widths = f"has {features.shape[-1]} features per step but the policy takes {policy.feature_dim}"
    fitting = torch.zeros(ENVS, policy.feature_dim)
    for act in (policy.get_action, policy.forward):
        with pytest.raises(PolicyInputError, match=widths):
            act(features, masks, hidden)
        with pytest.raises(PolicyInputError, match=r"mask `slot` is torch.bool \(3, 3\), it must be"):
            act(fitting, masks, hidden.for_training())


def test_telemetry_on_one_side_only_is_refused() -> None:
    observation = observe(THREE)
    policy, masks = make_policy(THREE, telemetry=True), action_masks(observation, THREE)
    plain = extract_features(observation, THREE)
    with pytest.raises(PolicyInputError, match=f"has {plain.shape[-1]} features"):
        policy.get_action(plain, masks, policy.initial_hidden(ENVS))
