"""What the columns of a saved state may hold.

Growth goes on from whatever is loaded, and looks at none of it again: a value that cannot come about would be an error
of another kind epochs later, or a host that is silently another one.
"""

from collections.abc import Mapping, Sequence
from math import inf
from typing import Final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from kasmina_hosts.diagnostics import Diagnostics
from kasmina_hosts.governor import MAX_STRIKES, LossWatch
from kasmina_hosts.lifecycle import ALTERS_HOST, Lifecycle, empty_lifecycle, in_stages
from kasmina_hosts.measures import HostMeasures, SeedMeasures
from kasmina_hosts.observing import LastAction
from kasmina_hosts.saving import StateError
from leyline_types import (
    TRANSITIONS,
    AlphaAlgorithm,
    AlphaCurveAction,
    AlphaMode,
    AlphaSpeedAction,
    BlueprintAction,
    LifecycleOp,
    SeedStage,
    TempoAction,
)

_ROUNDING: Final = 1e-2
"""How far a mean of accuracies may lie outside of 0 to 100 percent, points."""
_LARGEST: Final = torch.finfo(torch.float32).max
_STAGES: Final = tuple(stage for stage in SeedStage if stage is not SeedStage.UNKNOWN)
_TEMPOS: Final = (0, *(tempo.epochs for tempo in TempoAction))
_LONGEST_RAMP: Final = max(*_TEMPOS, *(speed.steps for speed in AlphaSpeedAction))


def check_life(life: Lifecycle, blueprints: Sequence[BlueprintAction], epoch: int) -> None:
    """That a saved lifecycle is one that can be.

    Args:
        life: the columns.
        blueprints: what there are modules for.
        epoch: epochs that have passed: nothing can be older.

    Raises:
        StateError: it names the column, a value and its place, and what was expected.
    """
    _among("life.stage", life.stage, _STAGES)
    _among("life.previous_stage", life.previous_stage, _STAGES)
    _among("life.alpha_mode", life.alpha_mode, tuple(AlphaMode))
    _among("life.curve", life.curve, tuple(AlphaCurveAction))
    _among("life.blueprint", life.blueprint, (BlueprintAction.NOOP, *blueprints))
    _among("life.algorithm", life.algorithm, (0, *AlphaAlgorithm))
    _among("life.tempo_epochs", life.tempo_epochs, _TEMPOS)
    for name in ("age", "previous_epochs_in_stage"):
        _within(f"life.{name}", getattr(life, name), 0, epoch)
    _within("life.epochs_in_stage", life.epochs_in_stage, 0, life.age)
    for name in ("alpha", "alpha_start", "alpha_target"):
        _within(f"life.{name}", getattr(life, name), 0, 1)
    _within("life.alpha_velocity", life.alpha_velocity, -1 - _ROUNDING, 1 + _ROUNDING)
    _within("life.steps_total", life.steps_total, 0, _LONGEST_RAMP)
    _within("life.steps_done", life.steps_done, 0, life.steps_total)
    for name, default, column in zip(
        Lifecycle._fields, empty_lifecycle(*life.stage.shape), life, strict=True
    ):
        _require(f"life.{name}", column, life.occupied | (column == default), "the default of an empty slot")
    for name in ("blueprint", "algorithm"):
        column = getattr(life, name)
        _require(f"life.{name}", column, ~life.occupied | (column != 0), "one, as the slot is occupied")
    may_follow = torch.tensor(
        [[_follows(source, stage) for stage in range(max(_STAGES) + 1)] for source in range(max(_STAGES) + 1)]
    )
    fits = ~life.occupied | may_follow[life.previous_stage, life.stage]
    _require("life.previous_stage", life.previous_stage, fits, "one that the slot's stage may follow")
    alters = in_stages(life.stage, ALTERS_HOST)
    _require("life.alpha", life.alpha, alters | (life.alpha == 0), "0, as the seed is no part of its host")
    may_move = (life.stage == SeedStage.BLENDING) & (life.steps_done < life.steps_total)
    fits = may_move | (life.alpha_mode == AlphaMode.HOLD)
    _require("life.alpha_mode", life.alpha_mode, fits, "0, as the seed's alpha is at rest")


def check_hosts(hosts: HostMeasures, epoch: int) -> None:
    """That saved curves can be those of hosts.

    Raises:
        StateError: as of `check_life`.
    """
    for name in ("train", "validation", "best"):
        loss, accuracy = getattr(hosts, name)
        _finite(f"hosts.{name}.loss", loss)
        _within(f"hosts.{name}.accuracy", accuracy, -_ROUNDING, 100 + _ROUNDING)
    _finite("hosts.loss_delta", hosts.loss_delta, optional=True)
    _finite("hosts.loss_history", hosts.loss_history, optional=True)
    limit = 100 + _ROUNDING
    _within("hosts.accuracy_delta", hosts.accuracy_delta, -limit, limit, optional=True)
    _within("hosts.accuracy_history", hosts.accuracy_history, -_ROUNDING, limit, optional=True)
    _within("hosts.plateau_epochs", hosts.plateau_epochs, 0, epoch)
    for name in ("grad_norm_host", "grad_norm_seed"):
        _within(f"hosts.{name}", getattr(hosts, name), 0, _LARGEST, optional=True)


def check_seeds(seeds: SeedMeasures, life: Lifecycle, *, measured_from: int) -> None:
    """That saved measures can be those of such seeds.

    Args:
        seeds, life: the columns.
        measured_from: the age at which a seed has been measured for the first time, epochs.

    Raises:
        StateError: as of `check_life`.
    """
    measured = life.occupied & (life.age >= measured_from)
    for name in ("initial_accuracy", "stage_accuracy", "best_accuracy"):
        column = getattr(seeds, name)
        _within(f"seeds.{name}", column, -_ROUNDING, 100 + _ROUNDING, optional=True)
        _require(f"seeds.{name}", column, ~measured | ~column.isnan(), "a number, as the seed was measured")
    for name in ("gradient_norm", "gradient_ratio"):
        _within(f"seeds.{name}", getattr(seeds, name), 0, _LARGEST, optional=True)
    for name, limit in (("contribution", 100), ("contribution_velocity", 200)):
        span = limit + 2 * _ROUNDING
        _within(f"seeds.{name}", getattr(seeds, name), -span, span, optional=True)
    for name in ("interaction_sum", "boost_received"):
        _finite(f"seeds.{name}", getattr(seeds, name), optional=True)


def check_diagnostics(diagnostics: Diagnostics) -> None:
    """That saved diagnostics can be those of slots.

    Raises:
        StateError: as of `check_life`.
    """
    for name, column in zip(diagnostics._fields, diagnostics, strict=True):
        _within(f"diagnostics.{name}", column, 0, 1, optional=True)


def check_prices(prices: Float[Tensor, " host"]) -> None:
    """That saved prices can be.

    Raises:
        StateError: as of `check_life`.
    """
    _within("prices", prices, 0, _LARGEST)


def check_last(last: LastAction) -> None:
    """That saved actions can be the last ones.

    Raises:
        StateError: as of `check_life`.
    """
    _among("last.op", last.op, (-1, *LifecycleOp))
    _among("last.took_effect", last.took_effect, (-1, 0, 1))
    never = last.op == -1
    _require("last.took_effect", last.took_effect, never == (last.took_effect == -1), "-1 where the op is")


def check_watch(watch: LossWatch, epoch: int) -> None:
    """That what a governor remembers can be of so many epochs.

    Raises:
        StateError: as of `check_life`.
    """
    _within("watch.epochs", watch.epochs, 1, epoch + 1)
    _finite("watch.mean", watch.mean)
    _within("watch.squares", watch.squares, 0, _LARGEST)
    _within("watch.strikes", watch.strikes, 0, MAX_STRIKES - 1)


def check_planted(planted: Int[Tensor, "*slot"], occupied: Bool[Tensor, "*slot"], epoch: int) -> None:
    """That so many seeds can have been planted: one in each epoch, one before the first.

    Raises:
        StateError: as of `check_life`.
    """
    _within("planted", planted, occupied.long(), epoch + 1)


def check_moments(part: str, tensors: Mapping[str, Tensor], max_steps: int) -> None:
    """That an optimiser can remember this of its parameters.

    Args:
        part: of the state, for the message.
        tensors: by name; only those of the optimiser are looked at.
        max_steps: that it has taken.

    Raises:
        StateError: as of `check_life`.
    """
    for name, tensor in tensors.items():
        if name.startswith("optimizer.") and name.endswith(".steps"):
            _within(f"{part}.{name}", tensor, 0, max_steps)
        elif name.startswith("optimizer.") and name.endswith(".second"):
            fits = ~(tensor < 0)  # NaN fits: a seed that only learns beside its host may have diverged
            _require(f"{part}.{name}", tensor, fits, "at least 0, as it is a mean of squares")


def check_rows(name: str, tensor: Tensor, rows: Bool[Tensor, " host"]) -> None:
    """That the parameters of these hosts are finite.

    Raises:
        StateError: it names the tensor and the first such host.
    """
    bad = rows & ~tensor.isfinite().reshape(len(tensor), -1).all(1)
    if bad.any():
        raise StateError(f"{name!r} of the state holds NaN or infinity for host {int(bad.nonzero()[0])}")


def _follows(source: int, stage: int) -> bool:
    return source in _STAGES and stage in TRANSITIONS[SeedStage(source)]


def _among(name: str, column: Tensor, values: Sequence[int]) -> None:
    fits = torch.isin(column, torch.tensor(values, dtype=column.dtype))
    _require(name, column, fits, f"one of {', '.join(str(int(value)) for value in values)}")


def _within(
    name: str, column: Tensor, low: float | Tensor, high: float | Tensor, *, optional: bool = False
) -> None:
    """That low <= value <= high; NaN fits where the value may be unknown."""
    fits = (column >= low) & (column <= high)
    fits = fits | column.isnan() if optional else fits
    if not fits.all():
        place = tuple((~fits).nonzero()[0].tolist())
        bounds = [torch.as_tensor(bound).expand_as(column)[place].item() for bound in (low, high)]
        _require(name, column, fits, f"{bounds[0]:g} to {bounds[1]:g}")


def _finite(name: str, column: Tensor, *, optional: bool = False) -> None:
    fits = column.abs() < inf
    expected = "a finite number, or NaN for unknown" if optional else "a finite number"
    _require(name, column, fits | column.isnan() if optional else fits, expected)


def _require(name: str, column: Tensor, fits: Tensor, expected: str) -> None:
    """That every value fits; what does not is named with its place, [host] or [host, slot]."""
    if not fits.all():
        place = (~fits).nonzero()[0].tolist()
        raise StateError(
            f"{name!r} of the state holds {column[tuple(place)].item()} at {place}, expected {expected}"
        )
