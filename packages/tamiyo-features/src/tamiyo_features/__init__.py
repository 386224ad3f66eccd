"""Observations of growing networks: from objects to columns, from columns to features."""

from tamiyo_features.column_checks import check_observation
from tamiyo_features.errors import (
    FeatureRangeError,
    ImpossibleCountError,
    InvalidChoiceError,
    InvalidObservationError,
    InvalidStageError,
    MisplacedReportError,
    MissingSlotError,
    MissingValueError,
    NonFiniteValueError,
    NormalizerError,
    ObservationError,
    ObservationShapeError,
    OutOfRangeError,
    UnknownBlueprintError,
    UnknownSlotError,
    WrongTypeError,
)
from tamiyo_features.extraction import extract_features
from tamiyo_features.normalizer import (
    FrozenNormalizer,
    NormalizerState,
    fits_schema,
    freeze,
    init_normalizer,
    merge,
    normalize,
    update,
)
from tamiyo_features.normalizer_saving import normalizer_from_tensors, normalizer_to_tensors
from tamiyo_features.objects import batch_obs_to_features, obs_to_multislot_features
from tamiyo_features.packing import pack_observations
from tamiyo_features.schema_tools import (
    FeatureRow,
    FeatureTable,
    check_features,
    check_finite_features,
    describe,
    explain,
    feature_names,
    get_feature_size,
)
from tamiyo_features.workspace import FeatureWorkspace

__all__ = [
    "FeatureRangeError",
    "FeatureRow",
    "FeatureTable",
    "FeatureWorkspace",
    "FrozenNormalizer",
    "ImpossibleCountError",
    "InvalidChoiceError",
    "InvalidObservationError",
    "InvalidStageError",
    "MisplacedReportError",
    "MissingSlotError",
    "MissingValueError",
    "NonFiniteValueError",
    "NormalizerError",
    "NormalizerState",
    "ObservationError",
    "ObservationShapeError",
    "OutOfRangeError",
    "UnknownBlueprintError",
    "UnknownSlotError",
    "WrongTypeError",
    "batch_obs_to_features",
    "check_features",
    "check_finite_features",
    "check_observation",
    "describe",
    "explain",
    "extract_features",
    "feature_names",
    "fits_schema",
    "freeze",
    "get_feature_size",
    "init_normalizer",
    "merge",
    "normalize",
    "normalizer_from_tensors",
    "normalizer_to_tensors",
    "obs_to_multislot_features",
    "pack_observations",
    "update",
]
