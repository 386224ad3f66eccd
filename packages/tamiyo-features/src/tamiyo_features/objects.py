"""Features for callers that hold objects."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from leyline_types import SlotConfig, TaskConfig, TrainingSignals
from tamiyo_features.extraction import extract_features
from tamiyo_features.packing import SlotReports, pack_observations
from tamiyo_features.workspace import FeatureWorkspace


def batch_obs_to_features(
    signals: Sequence[TrainingSignals],
    slot_reports: Sequence[SlotReports],
    slot_config: SlotConfig,
    *,
    task: TaskConfig | Sequence[TaskConfig],
    telemetry: bool = False,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
    out: Tensor | FeatureWorkspace | None = None,
) -> Float[Tensor, "env feature"]:
    """`pack_observations` and `extract_features` in one; arguments and errors are theirs.

    The columns on the way are float64 where `dtype` is, and float32 otherwise.
    """
    precise = torch.float64 if dtype is torch.float64 else torch.float32
    observation = pack_observations(
        signals, slot_reports, slot_config, task=task, device=device, dtype=precise
    )
    return extract_features(observation, slot_config, telemetry=telemetry, dtype=dtype, out=out)


def obs_to_multislot_features(
    signals: TrainingSignals,
    slot_reports: SlotReports,
    slot_config: SlotConfig,
    *,
    task: TaskConfig,
    telemetry: bool = False,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> Float[Tensor, " feature"]:
    """The features of one environment, [dim]; arguments and errors as in `batch_obs_to_features`."""
    return batch_obs_to_features(
        [signals], [slot_reports], slot_config, task=task, telemetry=telemetry, device=device, dtype=dtype
    )[0]
