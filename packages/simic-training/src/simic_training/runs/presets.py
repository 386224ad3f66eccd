"""Named settings to start from."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from simic_training.runs.config import TrainConfig
from simic_training.runs.settings import ConfigError, config_from_mapping

_FULL: Final[Mapping[str, Any]] = {
    "episodes": 2400,
    "groups": 2,
    "prune_from": 0.4,
    "env": {"group_size": 16, "replicas": 0, "host": {"interactions": False}},
    "ppo": {
        "gamma": 0.98,
        "lam": 0.92,
        "entropy_start": 0.08,
        "entropy_end": 0.0,
        "op_floor": 0.1,
        "learning_rate": 1e-3,
        "learning_rate_end": 5e-4,
        "target_kl": 0.03,
    },
}
"""Batches of two hosts, each grown sixteen times, and short horizons: the noise of far epochs is not learnt from."""

_QUICK: Final[Mapping[str, Any]] = {
    **_FULL,
    "episodes": 320,
    "groups": 1,
    "units": 2,
    "prune_from": 0.7,
    "ppo": {
        **_FULL["ppo"],
        "entropy_start": 0.04,
        "learning_rate": 2e-3,
        "epochs": 12,
        "target_kl": 0.05,
    },
}
"""The same with twice as many updates for their episodes, each of them longer; two workers share a host's replicas."""

PRESETS: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType({"quick": _QUICK, "full": _FULL})
"""What each sets, as it would stand in a settings file; the rest keeps its default."""

DEFAULT_PRESET: Final = "quick"
"""What the command starts from where no other is named."""


def preset(name: str) -> TrainConfig:
    """The settings of a preset.

    Raises:
        ConfigError: there is none of this name.
    """
    return config_from_mapping(preset_mapping(name))


def preset_mapping(name: str) -> Mapping[str, Any]:
    """What a preset sets.

    Raises:
        ConfigError: there is none of this name.
    """
    if name not in PRESETS:
        raise ConfigError(f"no preset {name!r}; choose from {', '.join(PRESETS)}")
    return PRESETS[name]
