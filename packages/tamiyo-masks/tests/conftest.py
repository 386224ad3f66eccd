"""One thread: the tensors are small, and more threads only wait for each other. No deadlines: first calls are slow."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

from leyline_types import AlphaAlgorithm, AlphaMode, SeedMetrics, SeedStage, SeedStateReport

sys.path.insert(0, str(Path(__file__).parent))  # for the modules that tests and benchmarks share

settings.register_profile("tensors", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tensors")


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def make_report() -> Callable[..., SeedStateReport]:
    """A seed's report, by slot, stage, age and mode."""

    def make(slot_id: str, *, stage: SeedStage, age: int, mode: AlphaMode) -> SeedStateReport:
        metrics = SeedMetrics(
            epochs_total=age,
            epochs_in_current_stage=1,
            initial_val_accuracy=10.0,
            current_val_accuracy=10.0,
            best_val_accuracy=10.0,
            accuracy_at_stage_start=10.0,
            total_improvement=0.0,
            improvement_since_stage_start=0.0,
            contribution_velocity=None,
            interaction_sum=None,
            boost_received=None,
            upstream_alpha_sum=0.0,
            downstream_alpha_sum=0.0,
            seed_gradient_norm_ratio=None,
            seed_param_count=1,
            host_param_count=1,
            gradient_norm_avg=None,
            current_alpha=0.0,
            alpha_ramp_step=0,
        )
        return SeedStateReport(
            seed_id="seed",
            slot_id=slot_id,
            blueprint_id="norm",
            stage=stage,
            previous_stage=SeedStage.DORMANT,
            previous_epochs_in_stage=0,
            alpha_mode=mode,
            alpha_target=1.0,
            alpha_steps_total=0,
            alpha_steps_done=0,
            time_to_target=0,
            alpha_velocity=0.0,
            alpha_algorithm=AlphaAlgorithm.ADD,
            metrics=metrics,
            is_healthy=True,
            is_improving=True,
            needs_attention=False,
        )

    return make
