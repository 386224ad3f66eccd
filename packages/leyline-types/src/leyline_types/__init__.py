"""Contracts of the policy layer for networks that grow while they train. Standard library only."""

from leyline_types.actions import (
    AlphaAlgorithm,
    AlphaCurveAction,
    AlphaMode,
    AlphaSpeedAction,
    AlphaTargetAction,
    BlendCurve,
    GerminationStyle,
    LifecycleOp,
    TempoAction,
)
from leyline_types.blueprints import TOPOLOGY_BLUEPRINTS, BlueprintAction, Topology, germinable_blueprints
from leyline_types.columns import (
    HISTORY_LENGTH,
    OPTIONAL_INTEGER_COLUMNS,
    Observation,
    SignalColumns,
    SlotColumns,
    TelemetryColumns,
)
from leyline_types.contracts import CONTRACTS_VERSION, action_space_hash
from leyline_types.controller import Controller
from leyline_types.files import MAX_FILE_BYTES, FileRefusedError, brief, open_file, printable, read_file
from leyline_types.finite import (
    DIVISOR_COLUMNS,
    OPTIONAL_COLUMNS,
    NotFinite,
    find_not_finite,
    place_in_words,
)
from leyline_types.heads import (
    ACTION_HEADS,
    HEAD_NAMES,
    HEAD_RELEVANCE,
    ActionHeadSpec,
    FactoredAction,
    FactoredActions,
    head_sizes,
)
from leyline_types.legality import MIN_PRUNE_AGE, OP_RULES, LegalityRules, OpRule
from leyline_types.schema import (
    FIELDS,
    SCHEMA_VERSION,
    ObservationSchema,
    PlacedField,
    observation_schema,
)
from leyline_types.schema_fields import Block, Encoding, FieldSpec
from leyline_types.seeds import MaskSeedInfo, SeedMetrics, SeedStateReport, SeedTelemetry
from leyline_types.signals import SlotDiagnostics, TrainingMetrics, TrainingSignals
from leyline_types.slots import InjectionSpec, SlotConfig, check_slot_id
from leyline_types.stages import (
    DEVELOPING_STAGES,
    RETIRED_STAGES,
    TRANSITIONS,
    SeedStage,
    can_transition,
    parse_stage,
)
from leyline_types.task import TaskConfig

__all__ = [
    "ACTION_HEADS",
    "CONTRACTS_VERSION",
    "DEVELOPING_STAGES",
    "DIVISOR_COLUMNS",
    "FIELDS",
    "HEAD_NAMES",
    "HEAD_RELEVANCE",
    "HISTORY_LENGTH",
    "MAX_FILE_BYTES",
    "MIN_PRUNE_AGE",
    "OPTIONAL_COLUMNS",
    "OPTIONAL_INTEGER_COLUMNS",
    "OP_RULES",
    "RETIRED_STAGES",
    "SCHEMA_VERSION",
    "TOPOLOGY_BLUEPRINTS",
    "TRANSITIONS",
    "ActionHeadSpec",
    "AlphaAlgorithm",
    "AlphaCurveAction",
    "AlphaMode",
    "AlphaSpeedAction",
    "AlphaTargetAction",
    "BlendCurve",
    "Block",
    "BlueprintAction",
    "Controller",
    "Encoding",
    "FactoredAction",
    "FactoredActions",
    "FieldSpec",
    "FileRefusedError",
    "GerminationStyle",
    "InjectionSpec",
    "LegalityRules",
    "LifecycleOp",
    "MaskSeedInfo",
    "NotFinite",
    "Observation",
    "ObservationSchema",
    "OpRule",
    "PlacedField",
    "SeedMetrics",
    "SeedStage",
    "SeedStateReport",
    "SeedTelemetry",
    "SignalColumns",
    "SlotColumns",
    "SlotConfig",
    "SlotDiagnostics",
    "TaskConfig",
    "TelemetryColumns",
    "TempoAction",
    "Topology",
    "TrainingMetrics",
    "TrainingSignals",
    "action_space_hash",
    "brief",
    "can_transition",
    "check_slot_id",
    "find_not_finite",
    "germinable_blueprints",
    "head_sizes",
    "observation_schema",
    "open_file",
    "parse_stage",
    "place_in_words",
    "printable",
    "read_file",
]
