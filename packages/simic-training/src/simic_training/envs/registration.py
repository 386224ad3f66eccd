"""Names under which Gymnasium makes the environments."""

from typing import Final

import gymnasium
from gymnasium.vector import AutoresetMode

from simic_training.envs.flatten import FlattenAction, FlattenVectorAction
from simic_training.envs.single import GrowthEnv
from simic_training.envs.vector import GrowthVectorEnv
from simic_training.growth.config import GrowthConfig

GROWTH: Final = "tamiyo/Growth-v0"
"""`GrowthEnv` and `GrowthVectorEnv`: `MultiDiscrete` actions."""

FLAT_GROWTH: Final = "tamiyo/FlatGrowth-v0"
"""The same in `FlattenAction` and `FlattenVectorAction`: `Discrete` actions."""


def register_envs() -> None:
    """Make `GROWTH` and `FLAT_GROWTH` known to `gymnasium.make` and `gymnasium.make_vec`; again does no harm.

    Keyword arguments of `make` and `make_vec` go to `GrowthEnv` and `GrowthVectorEnv`, `config` for one.
    """
    envs = "simic_training.envs"
    entry_points = {
        GROWTH: (f"{envs}.single:GrowthEnv", f"{envs}.vector:GrowthVectorEnv"),
        FLAT_GROWTH: (f"{envs}.registration:flat_growth_env", f"{envs}.registration:flat_growth_vector_env"),
    }
    for env_id, (entry_point, vector_entry_point) in entry_points.items():
        if env_id not in gymnasium.registry:
            gymnasium.register(env_id, entry_point=entry_point, vector_entry_point=vector_entry_point)


def flat_growth_env(
    config: GrowthConfig = GrowthConfig(),  # noqa: B008  (frozen)
    *,
    truncate: bool = False,
    held_out: bool = False,
    mask_in_observation: bool = False,
    render_mode: str | None = None,
) -> FlattenAction:
    """A `GrowthEnv` in `FlattenAction`; arguments and errors as there."""
    return FlattenAction(
        GrowthEnv(
            config,
            truncate=truncate,
            held_out=held_out,
            mask_in_observation=mask_in_observation,
            render_mode=render_mode,
        )
    )


def flat_growth_vector_env(
    num_envs: int = 8,
    config: GrowthConfig = GrowthConfig(),  # noqa: B008  (frozen)
    *,
    autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
    truncate: bool = False,
    held_out: bool = False,
    mask_in_observation: bool = False,
    render_mode: str | None = None,
) -> FlattenVectorAction:
    """A `GrowthVectorEnv` in `FlattenVectorAction`; arguments and errors as there."""
    return FlattenVectorAction(
        GrowthVectorEnv(
            num_envs,
            config,
            autoreset_mode=autoreset_mode,
            truncate=truncate,
            held_out=held_out,
            mask_in_observation=mask_in_observation,
            render_mode=render_mode,
        )
    )
