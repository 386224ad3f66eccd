"""Environments small enough to play many episodes of, and actions to play them with."""

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from kasmina_hosts import HostConfig, HostFamily
from leyline_types import HEAD_NAMES, FactoredAction, LegalityRules, LifecycleOp, SlotConfig
from simic_training.growth.config import GrowthConfig

Array = npt.NDArray[Any]

EPOCHS = 4
SLOTS = SlotConfig.default()
OP = HEAD_NAMES.index("op")
SMALL = GrowthConfig(
    family=HostFamily(class_counts=(2, 2), widths=(4, 5), max_label_noise=0.0, max_epochs=(EPOCHS, EPOCHS)),
    host=HostConfig(batch_size=128, interactions=False),
    group_size=2,
)
"""Two classes, four epochs of at most three optimiser steps, two hosts in a group."""

UNEVEN = replace(SMALL, family=replace(SMALL.family, max_epochs=(2, 4)))
"""Of episodes that differ in length."""


def grouped(size: int, *, rules: LegalityRules = LegalityRules(), epochs: int = EPOCHS) -> GrowthConfig:  # noqa: B008
    """`SMALL` with so many hosts in a group."""
    family = replace(SMALL.family, max_epochs=(epochs, epochs))
    return replace(SMALL, group_size=size, rules=rules, family=family)


def indices(action: FactoredAction) -> Array:
    return np.array(action.to_indices(SLOTS))


WAIT = indices(FactoredAction(LifecycleOp.WAIT, "r0c0"))


def random_choice(mask: Array, rng: np.random.Generator) -> Array:
    """One legal place of each row of a mask."""
    draws = np.where(mask, rng.random(mask.shape), -1.0)
    choice: Array = draws.argmax(-1)
    return choice
