"""Observations of growing networks: from objects to columns, from columns to features."""

from tamiyo_features.errors import (
    ImpossibleCountError,
    InvalidObservationError,
    InvalidStageError,
    MissingSlotError,
    NonFiniteValueError,
    ObservationError,
    ObservationShapeError,
    UnknownBlueprintError,
    UnknownSlotError,
)
from tamiyo_features.extraction import extract_features
from tamiyo_features.objects import batch_obs_to_features, get_feature_size, obs_to_multislot_features
from tamiyo_features.packing import pack_observations

__all__ = [
    "ImpossibleCountError",
    "InvalidObservationError",
    "InvalidStageError",
    "MissingSlotError",
    "NonFiniteValueError",
    "ObservationError",
    "ObservationShapeError",
    "UnknownBlueprintError",
    "UnknownSlotError",
    "batch_obs_to_features",
    "extract_features",
    "get_feature_size",
    "obs_to_multislot_features",
    "pack_observations",
]
