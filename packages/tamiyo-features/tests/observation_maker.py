"""Valid observations, as objects, made at random."""

import random
from collections.abc import Iterable
from dataclasses import replace

import torch

from leyline_types import (
    AlphaAlgorithm,
    AlphaMode,
    BlueprintAction,
    LifecycleOp,
    SeedMetrics,
    SeedStage,
    SeedStateReport,
    SeedTelemetry,
    SlotDiagnostics,
    TaskConfig,
    Topology,
    TrainingMetrics,
    TrainingSignals,
)

Reports = dict[str, SeedStateReport | None]

LARGEST = float(torch.finfo(torch.float32).max)
SMALLEST = 2.0**-149  # the least number above 0 that float32 holds


class Maker:
    """Makes observations from a source of randomness, hypothesis' own or a seeded one.

    Every stage, blueprint, unknown value and length of history turns up, and numbers up to the largest of float32.
    """

    task = TaskConfig("test", Topology.CNN, 25, 450, 2, 10, 2.3, 0.3, 400, 0.3)
    other_task = TaskConfig("other", Topology.TRANSFORMER, 50, 900, 0, 4, 1.4, 0.1, 400, 1.25)

    def signals(self, rng: random.Random, slots: Iterable[str] = ()) -> TrainingSignals:
        """Signals with diagnostics of none of the slots, of all in order, or of some in any order."""

        def number(largest: float) -> float:
            return rng.choice([0.0, rng.uniform(0, largest), 1e3 * largest, LARGEST])

        def maybe(value: float) -> float | None:
            return rng.choice([None, value, -value])

        last_op = rng.choice([None, *LifecycleOp])
        diagnostics = self.diagnostics(rng, slots)
        some = rng.sample(diagnostics, rng.randint(0, len(diagnostics)))
        return TrainingSignals(
            metrics=TrainingMetrics(
                epoch=rng.randrange(30),
                global_step=rng.randrange(500),
                train_loss=number(3),
                val_loss=number(3),
                loss_delta=maybe(number(1)),
                train_accuracy=rng.uniform(0, 100),
                val_accuracy=rng.uniform(0, 100),
                accuracy_delta=maybe(number(10)),
                plateau_epochs=rng.randrange(12),
                host_stabilized=rng.randrange(2),
                best_val_accuracy=rng.uniform(0, 100),
                best_val_loss=rng.choice([float("inf"), number(2)]),
                grad_norm_host=rng.choice([None, number(5)]),
                grad_norm_seed=rng.choice([None, number(5)]),
            ),
            active_seeds=tuple(f"seed{index}" for index in range(rng.randrange(3))),
            available_slots=1,
            loss_history=tuple(number(3) for _ in range(rng.randrange(11))),
            accuracy_history=tuple(rng.uniform(0, 100) for _ in range(rng.randrange(11))),
            total_params=rng.choice([400, rng.randrange(400, 5000), 2**24 + 1, 2**40 + 1]),
            host_params=400,
            last_op=last_op,
            last_op_took_effect=None if last_op is None else rng.random() < 0.5,
            rolled_back=rng.random() < 0.5,
            slot_diagnostics=rng.choice([(), diagnostics, tuple(some)]),
        )

    def diagnostics(self, rng: random.Random, slots: Iterable[str]) -> tuple[SlotDiagnostics, ...]:
        """Of every slot, in order."""

        def maybe() -> float | None:
            return rng.choice([None, 0.0, 1.0, rng.random()])

        return tuple(
            SlotDiagnostics(
                slot_id=slot_id,
                host_gradient_share=maybe(),
                activation_rank=maybe(),
                within_map_variance=maybe(),
            )
            for slot_id in slots
        )

    def report(self, rng: random.Random, slot_id: str, *, telemetry: bool = False) -> SeedStateReport:
        def number(largest: float) -> float:
            return rng.choice([0.0, rng.uniform(-largest, largest), 1e3 * largest, -LARGEST, SMALLEST])

        def maybe() -> float | None:
            return rng.choice([None, number(10)])

        stage, mode, algorithm = (
            rng.choice(list(SeedStage)),
            rng.choice(list(AlphaMode)),
            rng.choice(list(AlphaAlgorithm)),
        )
        blueprint = rng.choice(list(BlueprintAction)).blueprint_id
        alpha, done = rng.random(), rng.randrange(9)
        closer = SeedTelemetry(
            seed_id="seed",
            blueprint_id=blueprint,
            layer_id="layer",
            gradient_norm=abs(number(5)),
            gradient_health=rng.random(),
            has_vanishing=rng.random() < 0.5,
            has_exploding=rng.random() < 0.5,
            accuracy=rng.uniform(0, 100),
            accuracy_delta=number(10),
            epochs_in_stage=1,
            stage=stage,
            alpha=alpha,
            alpha_target=1.0,
            alpha_mode=mode,
            alpha_steps_total=8,
            alpha_steps_done=done,
            time_to_target=8 - done,
            alpha_velocity=0.1,
            alpha_algorithm=algorithm,
            epoch=1,
            max_epochs=25,
            blend_tempo_epochs=5,
            blending_velocity=number(1),
        )
        return SeedStateReport(
            seed_id="seed",
            slot_id=slot_id,
            blueprint_id=blueprint,
            stage=stage,
            previous_stage=SeedStage.DORMANT,
            previous_epochs_in_stage=0,
            alpha_mode=mode,
            alpha_target=rng.random(),
            alpha_steps_total=8,
            alpha_steps_done=done,
            time_to_target=8 - done,
            alpha_velocity=number(1),
            alpha_algorithm=algorithm,
            blend_tempo_epochs=rng.choice([3, 5, 8]),
            metrics=SeedMetrics(
                epochs_total=rng.randrange(30),
                epochs_in_current_stage=rng.randrange(30),
                initial_val_accuracy=10.0,
                current_val_accuracy=20.0,
                best_val_accuracy=20.0,
                accuracy_at_stage_start=15.0,
                total_improvement=10.0,
                improvement_since_stage_start=number(10),
                counterfactual_contribution=maybe(),
                contribution_velocity=maybe(),
                interaction_sum=maybe(),
                boost_received=maybe(),
                upstream_alpha_sum=abs(number(3)),
                downstream_alpha_sum=abs(number(3)),
                seed_gradient_norm_ratio=rng.choice([None, abs(number(2))]),
                seed_param_count=rng.choice([rng.randrange(2000), 2**24 + 1]),
                host_param_count=400,
                gradient_norm_avg=None,
                current_alpha=alpha,
                alpha_ramp_step=done,
            ),
            telemetry=closer if telemetry else None,
            is_healthy=True,
            is_improving=True,
            needs_attention=False,
        )

    def reports(
        self, rng: random.Random, slots: Iterable[str], *, telemetry: bool = False, occupancy: float = 0.7
    ) -> Reports:
        return {
            slot_id: self.report(rng, slot_id, telemetry=telemetry and rng.random() < 0.5)
            if rng.random() < occupancy
            else None
            for slot_id in slots
        }

    def batch(
        self,
        source: int | random.Random,
        num_envs: int,
        slots: Iterable[str],
        *,
        telemetry: bool = False,
        occupancy: float = 0.7,
        diagnosed: bool = False,
    ) -> tuple[list[TrainingSignals], list[Reports]]:
        """Signals and reports of so many environments; with `diagnosed` there are diagnostics of every slot."""
        rng = random.Random(source) if isinstance(source, int) else source
        signals = [self.signals(rng, slots) for _ in range(num_envs)]
        if diagnosed:
            signals = [replace(each, slot_diagnostics=self.diagnostics(rng, slots)) for each in signals]
        return (
            signals,
            [self.reports(rng, slots, telemetry=telemetry, occupancy=occupancy) for _ in range(num_envs)],
        )
