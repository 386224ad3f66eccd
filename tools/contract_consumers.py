"""What is built on the contracts, held against them: features, masks, the LSTM policy's heads, blueprints of hosts."""

from collections.abc import Iterator

import torch
from torch import Tensor

from kasmina_hosts import built_blueprints
from leyline_types import (
    ACTION_HEADS,
    Block,
    Encoding,
    LifecycleOp,
    Observation,
    ObservationSchema,
    PlacedField,
    SlotConfig,
    TaskConfig,
    Topology,
    TrainingMetrics,
    TrainingSignals,
    germinable_blueprints,
    head_sizes,
    observation_schema,
)
from tamiyo_features import extract_features, get_feature_size, pack_observations
from tamiyo_masks import action_masks
from tamiyo_policies import PolicyConfig, create_policy, register_builtin_policies

SLOT_CONFIGS = (SlotConfig(("r0c0",)), SlotConfig.default(), SlotConfig.for_grid(2, 3))


def check() -> list[str]:
    """A line for each disagreement, naming who disagrees and on what."""
    register_builtin_policies()
    lines = list(_blueprints())
    for slots in SLOT_CONFIGS:
        lines += _masks(slots)
        for telemetry in (False, True):
            schema = observation_schema(slots, telemetry=telemetry)
            lines += [*_features(schema), *_policy_heads(schema)]
    return lines


def _features(schema: ObservationSchema) -> Iterator[str]:
    slots, telemetry = schema.slot_config, schema.telemetry
    expected = f"for {len(slots)} slots, telemetry {telemetry}; the schema has {schema.dim}"
    size = get_feature_size(slots, telemetry=telemetry)
    if size != schema.dim:
        yield f"tamiyo_features.get_feature_size: {size} features {expected}"
    width = extract_features(_observations(slots, 1), slots, telemetry=telemetry).shape[-1]
    if width != schema.dim:
        yield f"tamiyo_features.extract_features: {width} features {expected}"
        return
    for field in schema.fields:
        if field.spec.encoding is Encoding.ONE_HOT:
            yield from _one_hot(schema, field)


def _one_hot(schema: ObservationSchema, field: PlacedField) -> Iterator[str]:
    """Give the field's column each category in turn: the feature of that name, and it alone, must be 1."""
    codes = torch.tensor([int(member) for member in field.spec.categories])
    observations = _with_column(_observations(schema.slot_config, len(codes)), field, codes)
    features = extract_features(observations, schema.slot_config, telemetry=schema.telemetry)
    for row, name in enumerate(field.names):
        hot = [field.names[i] for i in features[row, field.start : field.stop].nonzero().flatten().tolist()]
        if hot != [name]:
            yield f"{name}: tamiyo_features.extract_features sets {', '.join(hot) or 'nothing'} instead"


def _masks(slots: SlotConfig) -> Iterator[str]:
    masks = action_masks(_observations(slots, 1), slots)
    for head in ACTION_HEADS:
        width, size = getattr(masks, head.name).shape[-1], head.size(slots)
        if width != size:
            yield f"tamiyo_masks.action_masks: {width} choices for head {head.name}; leyline_types has {size}"
    shape, expected = tuple(masks.slot_by_op.shape[-2:]), (len(LifecycleOp), len(slots))
    if shape != expected:
        yield f"tamiyo_masks.action_masks: slot_by_op is {shape}; leyline_types has ops and slots {expected}"


def _policy_heads(schema: ObservationSchema) -> Iterator[str]:
    slots, telemetry = schema.slot_config, schema.telemetry
    policy = create_policy(PolicyConfig(slot_config=slots, telemetry=telemetry, hidden_dim=8))
    if policy.feature_dim != schema.dim:
        yield f"policy lstm: takes {policy.feature_dim} features, the schema has {schema.dim}"
    masks = action_masks(_observations(slots, 1), slots)
    try:
        logits = policy.forward(torch.zeros(1, policy.feature_dim), masks).logits
    except ValueError as error:  # its distribution finds that the heads do not fit the masks
        yield f"policy lstm: {error}"
        return
    if logits.shape[-1] != sum(head_sizes(slots)):
        yield f"policy lstm: has {logits.shape[-1]} logits, the heads need {sum(head_sizes(slots))}"


def _blueprints() -> Iterator[str]:
    for topology in Topology:
        built, germinable = built_blueprints(topology), germinable_blueprints(topology)
        for blueprint in sorted({*built} - {*germinable}):
            yield f"{blueprint!s}: kasmina_hosts builds it for {topology}, where leyline_types never germinates it"
        for blueprint in sorted({*germinable} - {*built}):
            yield f"{blueprint!s}: leyline_types germinates it for {topology}, where kasmina_hosts has no module for it"


def _observations(slots: SlotConfig, num_envs: int) -> Observation[Tensor]:
    """The same untrained host with empty slots and unknown telemetry, num_envs times."""
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
    task = TaskConfig("contracts", Topology.CNN, 1, 1, 0, 2, 1.0, 0.0, 1, parameter_price=0.3)
    empty = dict.fromkeys(slots.slot_ids)
    return pack_observations([signals] * num_envs, [empty] * num_envs, slots, task=task)


def _with_column(
    observations: Observation[Tensor], field: PlacedField, values: Tensor
) -> Observation[Tensor]:
    """The observations with this field's column replaced, [env], in every slot where it is a slot's."""
    if field.spec.block is Block.BASE:
        return observations._replace(signals=observations.signals._replace(**{field.spec.source: values}))
    everywhere = values[:, None].expand_as(observations.slots.occupied)
    occupied = torch.ones_like(observations.slots.occupied)
    slots = observations.slots._replace(**{field.spec.source: everywhere, "occupied": occupied})
    return observations._replace(slots=slots)
