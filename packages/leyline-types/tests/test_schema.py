"""The observation schema: everything derived from the table agrees with the table and with the columns."""

import pytest

from leyline_types import (
    FIELDS,
    Block,
    Encoding,
    SeedStage,
    SignalColumns,
    SlotColumns,
    SlotConfig,
    TelemetryColumns,
    observation_schema,
)
from leyline_types.schema_markdown import observation_markdown

SLOTS = SlotConfig.default()
COLUMNS = {
    Block.BASE: SignalColumns._fields,
    Block.SLOT: SlotColumns._fields,
    Block.TELEMETRY: TelemetryColumns._fields,
}
AT_LEAST = {
    Block.BASE: "epoch step train_loss val_loss loss_delta train_accuracy val_accuracy accuracy_delta plateau_epochs "
    "best_val_accuracy best_val_loss loss_history accuracy_history total_params seed_utilisation last_op "
    "last_op_took_effect parameter_price",
    Block.SLOT: "is_active stage alpha contribution contribution_velocity blend_tempo alpha_target alpha_mode "
    "alpha_steps_total alpha_steps_done time_to_target alpha_velocity alpha_algorithm interaction_sum boost_received "
    "upstream_alpha_sum downstream_alpha_sum epochs_in_stage blueprint host_gradient_share activation_rank "
    "within_map_variance",
    Block.TELEMETRY: "gradient_norm gradient_health has_vanishing has_exploding seed_accuracy seed_accuracy_delta "
    "blending_velocity",
}


@pytest.mark.parametrize("block", list(Block))
def test_table_is_well_formed(block: Block) -> None:
    names = [spec.name for spec in FIELDS[block]]
    assert len(set(names)) == len(names)
    assert set(AT_LEAST[block].split()) <= set(names)
    for spec in FIELDS[block]:
        assert spec.block is block
        assert spec.source in COLUMNS[block]
        assert spec.relative_to is None or spec.relative_to in SignalColumns._fields
        assert spec.low < spec.high
        assert spec.width == (len(spec.categories) if spec.encoding is Encoding.ONE_HOT else spec.width)


@pytest.mark.parametrize("block", list(Block))
def test_a_column_is_compressed_in_all_its_fields_or_none(block: Block) -> None:
    for source in {spec.source for spec in FIELDS[block]}:
        shown = [spec for spec in FIELDS[block] if spec.source == source]
        assert len({spec.symlog for spec in shown if spec.encoding is Encoding.VALUE}) <= 1, source
        assert not any(spec.symlog for spec in shown if spec.encoding is not Encoding.VALUE), source
        assert len({spec.of_slot for spec in shown}) == 1, source


def test_what_nothing_bounds_is_compressed() -> None:
    compressed = {spec.name for block in Block for spec in FIELDS[block] if spec.symlog}
    assert compressed == {
        *("train_loss", "val_loss", "loss_delta", "best_val_loss", "loss_history", "accuracy_delta"),
        *("total_params", "grad_norm_host", "grad_norm_seed", "parameter_price", "contribution"),
        *("contribution_velocity", "interaction_sum", "boost_received", "improvement_in_stage"),
        *("gradient_ratio", "param_count", "gradient_norm", "seed_accuracy_delta"),
    }


def test_diagnostics_are_of_the_slot() -> None:
    of_slot = [spec.name for block in Block for spec in FIELDS[block] if spec.of_slot]
    names = ("host_gradient_share", "activation_rank", "within_map_variance")
    assert of_slot == [name + suffix for name in names for suffix in ("", "_known")]


def test_categoricals_of_more_than_two_values_are_one_hot() -> None:
    one_hot = {spec.name: spec.width for block in Block for spec in FIELDS[block] if spec.categories}
    assert one_hot == {"last_op": 6, "stage": 10, "alpha_mode": 3, "alpha_algorithm": 3, "blueprint": 13}


def test_stage_columns_skip_the_retired_value() -> None:
    [stage] = [spec for spec in FIELDS[Block.SLOT] if spec.name == "stage"]
    assert [member.value for member in stage.categories] == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10]


@pytest.mark.parametrize("slot_config", [SLOTS, SlotConfig(("r3c4",)), SlotConfig.for_grid(5, 5)])
@pytest.mark.parametrize("telemetry", [False, True])
def test_layout(slot_config: SlotConfig, telemetry: bool) -> None:
    schema = observation_schema(slot_config, telemetry=telemetry)
    base, slot, more = (schema.block_dim(block) for block in Block)
    assert schema.dim == base + len(slot_config) * (slot + more * telemetry)
    assert len(schema.names) == len(set(schema.names)) == len(schema.low) == len(schema.high) == schema.dim
    assert [field.start for field in schema.fields[1:]] == [field.stop for field in schema.fields[:-1]]


def test_telemetry_only_appends() -> None:
    plain, full = observation_schema(SLOTS), observation_schema(SLOTS, telemetry=True)
    assert full.names[: plain.dim] == plain.names
    assert full.names[plain.dim] == "r0c0.telemetry_known"


def test_names_by_hand() -> None:
    schema = observation_schema(SLOTS)
    assert schema.names[0] == "epoch"
    history = schema.names.index("loss_history[-5]")
    assert schema.names[history : history + 6] == (
        *(f"loss_history[{age}]" for age in range(-5, 0)),
        "loss_history_known[-5]",
    )
    assert schema.names[schema.block_dim(Block.BASE)] == "r0c0.is_active"
    assert f"r0c2.stage={SeedStage.TRAINING.name}" in schema.names
    assert "r0c2.blueprint=FLEX_ATTENTION" in schema.names
    assert schema.names[-2:] == ("r0c2.within_map_variance", "r0c2.within_map_variance_known")


def test_hash_tells_vectors_apart() -> None:
    schema = observation_schema(SLOTS)
    assert schema.hash == observation_schema(SlotConfig.default()).hash
    others = (
        observation_schema(SLOTS, telemetry=True),
        observation_schema(SlotConfig.for_grid(1, 4)),
        observation_schema(SlotConfig(("r0c1", "r0c0", "r0c2"))),
    )
    assert len({schema.hash, *(other.hash for other in others)}) == 4


def test_page_lists_every_field() -> None:
    page = observation_markdown()
    for block in Block:
        for spec in FIELDS[block]:
            assert f"| `{spec.name}`{'*' * spec.of_slot} |" in page
    assert "| symlog(`train_loss` / `baseline_loss`) | 0 to 12 |" in page
