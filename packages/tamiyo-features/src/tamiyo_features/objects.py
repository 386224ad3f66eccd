"""Features for callers that hold objects."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from leyline_types import SlotConfig, TaskConfig, TelemetryColumns, TrainingSignals, observation_schema
from tamiyo_features.extraction import extract_features
from tamiyo_features.packing import TELEMETRY_BITS, SlotReports, pack_observations


def get_feature_size(slot_config: SlotConfig, *, telemetry: bool = False) -> int:
    """Features of one environment with these slots."""
    return observation_schema(slot_config, telemetry=telemetry).dim


def batch_obs_to_features(
    signals: Sequence[TrainingSignals],
    slot_reports: Sequence[SlotReports],
    slot_config: SlotConfig,
    *,
    task: TaskConfig | Sequence[TaskConfig],
    telemetry: bool = False,
    device: torch.device | str | None = None,
) -> Float[Tensor, "env feature"]:
    """`pack_observations` and `extract_features` in one; arguments and errors are theirs.

    With `telemetry`, reports without telemetry have it marked as unknown.
    """
    observation = pack_observations(signals, slot_reports, slot_config, task=task, device=device)
    if telemetry and observation.telemetry is None:
        nothing = torch.zeros_like(observation.slots.alpha)
        unknown = torch.zeros_like(observation.slots.occupied)
        none = TelemetryColumns(
            *(unknown if name in TELEMETRY_BITS else nothing for name in TelemetryColumns._fields)
        )
        observation = observation._replace(telemetry=none)
    return extract_features(observation, slot_config, telemetry=telemetry)


def obs_to_multislot_features(
    signals: TrainingSignals,
    slot_reports: SlotReports,
    slot_config: SlotConfig,
    *,
    task: TaskConfig,
    telemetry: bool = False,
) -> Float[Tensor, " feature"]:
    """The features of one environment; arguments and errors as in `batch_obs_to_features`."""
    return batch_obs_to_features([signals], [slot_reports], slot_config, task=task, telemetry=telemetry)[0]
