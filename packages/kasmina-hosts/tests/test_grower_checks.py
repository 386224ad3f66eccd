"""A `Grower` shows its controller finite numbers alone and takes whole actions alone; the network is else as before."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from networks_to_grow import FIGURES, Loop, Script, assert_as_before, eventful, loop, snapshot
from torch import Tensor

from kasmina_hosts import DigitsTask, GrowthStep
from kasmina_hosts.contributions import Contributions
from kasmina_hosts.epoch import EpochResult
from kasmina_hosts.evaluation import Evaluation, Score
from kasmina_hosts.lifecycle import empty_lifecycle
from kasmina_hosts.measures import (
    first_measures,
    next_measures,
    next_seed_measures,
    no_seed_measures,
)
from leyline_types import FactoredActions, LifecycleOp, Observation, SeedStage, Topology

COLUMNS = {
    ("life", "alpha"): "feature 'alpha'",
    ("life", "alpha_target"): "feature 'alpha_target'",
    ("life", "alpha_velocity"): "feature 'alpha_velocity'",
}
"""Columns that the next observation holds as they are, and what errors call them."""


@given(
    st.sampled_from(list(COLUMNS)),
    st.sampled_from(range(3)),
    st.sampled_from([torch.nan, torch.inf, -torch.inf]),
)
@settings(
    deadline=None,
    max_examples=15,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_what_the_controller_would_be_shown_is_finite_or_named(
    task: DigitsTask, column: tuple[str, str], slot: int, value: float
) -> None:
    run, (part, name) = loop(task, "resnet", eventful(Topology.CNN)), column
    run.epoch()
    run.step(torch.arange(32))
    now = run.grower._growth
    values = getattr(getattr(now, part), name).clone()
    values[0, slot] = value
    run.grower._growth = now._replace(**{part: getattr(now, part)._replace(**{name: values})})
    before = snapshot(run)
    expected = (
        f"the controller cannot be shown what is not finite: environment 0, slot r0c{slot}: {COLUMNS[column]} is "
        f"{value}, expected a finite number"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        run.grower.end_epoch(**FIGURES)
    assert_as_before(run, before, epoch=1)
    run.grower._growth = now
    run.grower.end_epoch(**FIGURES)
    assert run.grower.epoch == 2


def test_losses_that_float32_cannot_hold(task: DigitsTask) -> None:
    run = loop(task, "resnet", [])
    run.step(torch.arange(32))
    for kind, value in (("train", 1e39), ("val", -1e39)):
        with pytest.raises(
            ValueError, match=re.escape(f"`{kind}_loss` must be finite, not {value}; has the net")
        ):
            run.grower.end_epoch(**(FIGURES | {f"{kind}_loss": value}))
    run.grower.end_epoch(**(FIGURES | {"val_loss": 3e38}))
    run.step(torch.arange(32))
    before = snapshot(run)
    with pytest.raises(ValueError, match="not finite: environment 0: feature 'loss_delta' is inf, expected"):
        run.grower.end_epoch(**(FIGURES | {"val_loss": -3e38}))
    assert_as_before(run, before, epoch=1)
    run.grower.end_epoch(**FIGURES)


def test_the_last_observation_is_looked_at_too(task: DigitsTask) -> None:
    """No controller is shown it, but it is handed out."""
    run = loop(task, "resnet", [], max_epochs=2)
    run.step(torch.arange(32))
    run.grower.end_epoch(**(FIGURES | {"val_loss": 3e38}))
    run.step(torch.arange(32))
    with pytest.raises(ValueError, match="environment 0: feature 'loss_delta' is inf"):
        run.grower.end_epoch(**(FIGURES | {"val_loss": -3e38}))
    assert run.grower.end_epoch(**FIGURES).action is None


def test_validate_that_returns_nan(task: DigitsTask) -> None:
    run = loop(task, "resnet", eventful(Topology.CNN))
    for _ in range(4):
        run.epoch()
    run.grower._validate = lambda: torch.nan
    run.step(torch.arange(32))
    before = snapshot(run)
    with pytest.raises(ValueError, match="what `validate` returns must lie in 0 to 100 percent, not nan"):
        run.grower.end_epoch(**FIGURES)
    assert_as_before(run, before, epoch=4)
    assert not run.model.get_submodule("grown_slots.r0c0").suppressed


class SkippingSGD(torch.optim.SGD):
    """Takes no step where a gradient is not finite, as fused optimisers do for a `GradScaler`."""

    def step(self, closure: Any = None) -> Any:
        parameters = [parameter for group in self.param_groups for parameter in group["params"]]
        if all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in parameters):
            super().step(closure)


def skipping(model: torch.nn.Module) -> torch.optim.Optimizer:
    return SkippingSGD(model.parameters(), lr=0.05)


def spoiled_step(run: Loop, value: float) -> None:
    """A step whose gradients overflow."""
    for parameter in run.model.parameters():
        parameter.grad = torch.full_like(parameter, value)
    run.optimizer.step()


def end(run: Loop) -> GrowthStep:
    return run.grower.end_epoch(**FIGURES)


@pytest.mark.parametrize("value", [torch.inf, torch.nan])
def test_steps_without_finite_gradients_are_not_counted(task: DigitsTask, value: float) -> None:
    plain, spoiled = (loop(task, "resnet", eventful(Topology.CNN), make_optimizer=skipping) for _ in range(2))
    for epoch in range(6):
        for batch in torch.arange(64).split(16):
            for run in (plain, spoiled):
                run.step(batch)
            spoiled_step(spoiled, value)
        seen, expected = end(spoiled).observation, end(plain).observation
        assert seen.signals.grad_norm_host.isfinite().all()
        for name in ("grad_norm_host", "grad_norm_seed"):
            torch.testing.assert_close(
                getattr(seen.signals, name), getattr(expected.signals, name), equal_nan=True
            )
        torch.testing.assert_close(seen.slots.gradient_ratio, expected.slots.gradient_ratio, equal_nan=True)
        assert epoch < 3 or seen.slots.gradient_ratio.isfinite().any()


@pytest.mark.parametrize("value", [torch.inf, torch.nan, 1e30])
def test_an_epoch_without_finite_norms_has_unknown_ones(task: DigitsTask, value: float) -> None:
    """1e30 is finite; the norm of many is not."""
    run = loop(task, "resnet", eventful(Topology.CNN), make_optimizer=skipping)
    for _ in range(3):
        run.epoch()
    weights = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    spoiled_step(run, value)
    run.model.load_state_dict(weights)
    seen = end(run).observation
    for column in (seen.signals.grad_norm_host, seen.signals.grad_norm_seed, seen.slots.gradient_ratio):
        assert column.isnan().all()
    run.epoch()
    assert run.epoch().observation.signals.grad_norm_host.isfinite().all()


def test_norms_of_hosts_that_overflow_are_unknown() -> None:
    score = Score(torch.ones(2), torch.full((2,), 50.0))
    hosts = first_measures(score, score)
    epoch = EpochResult(
        score=score,
        host_gradient=torch.tensor([torch.inf, 1.0]),
        mean_host_gradient=torch.tensor([torch.inf, 1.0]),
        seed_gradient=torch.tensor([[1.0, 2.0], [1e25, torch.nan]]),  # whose square overflows
    )
    after = next_measures(hosts, epoch, score)
    assert after.grad_norm_host.isnan().tolist() == [True, False]
    assert after.grad_norm_seed.isnan().tolist() == [False, True]
    training = torch.full((2, 2), int(SeedStage.TRAINING))
    life = empty_lifecycle(2, 2)._replace(stage=training, age=torch.full((2, 2), 2))
    unknown = torch.full((2, 2), torch.nan)
    evaluation = Evaluation(score, Contributions(unknown, unknown, unknown))
    seeds = next_seed_measures(
        no_seed_measures(2, 2), life, score.accuracy, epoch, evaluation, torch.ones(2, 2).long(), 4
    )
    # Over an infinite norm of the host a ratio would be 0, a number.
    assert seeds.gradient_ratio.isnan().tolist() == [[True, True], [False, True]]


Answer = Callable[[FactoredActions[Tensor], int], Any]

ANSWERS: dict[str, tuple[Answer, str]] = {
    "nothing": (lambda actions, memory: None, "FactoredActions of tensors and its memory, not None"),
    "no memory": (
        lambda actions, memory: actions,
        "FactoredActions of tensors and its memory, not FactoredActions(",
    ),
    "a bare tuple": (lambda actions, memory: (tuple(actions), memory), "its memory, not ((tensor("),
    "numbers": (lambda actions, memory: (FactoredActions(*[0] * 8), memory), "not (FactoredActions(slot=0,"),
    "NaN": (
        lambda actions, memory: (actions._replace(op=torch.tensor([torch.nan])), memory),
        "head 'op' holds torch.float32, expected integers",
    ),
    "bits": (
        lambda actions, memory: (actions._replace(slot=torch.tensor([True])), memory),
        "head 'slot' holds torch.bool, expected integers",
    ),
    "several": (
        lambda actions, memory: (actions._replace(op=torch.tensor([0, 0])), memory),
        "head 'op' has shape (2,), there are 1 hosts",
    ),
    "out of range": (
        lambda actions, memory: (actions._replace(slot=torch.tensor([-1])), memory),
        "head 'slot' has 3 choices, got -1 to -1",
    ),
}


class Answering(Script):  # type: ignore[misc]
    """Follows a script until it is told to answer otherwise."""

    answer: Answer = staticmethod(lambda actions, memory: (actions, memory))

    def act(self, observation: Observation[Tensor], memory: int) -> Any:
        return self.answer(*super().act(observation, memory))


@pytest.mark.parametrize("name", ANSWERS)
def test_answers_that_are_no_action(task: DigitsTask, name: str) -> None:
    controller = Answering(eventful(Topology.CNN))
    run = loop(task, "resnet", [])
    run.grower._controller = controller
    run.epoch()
    run.step(torch.arange(32))
    controller.answer, message = ANSWERS[name]
    before = snapshot(run)
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        run.grower.end_epoch(**FIGURES)
    assert "\n" not in str(caught.value)
    assert_as_before(run, before, epoch=1)
    controller.answer = lambda actions, memory: (FactoredActions(*(head.int() for head in actions)), memory)
    assert run.grower.end_epoch(**FIGURES).took_effect


def test_an_illegal_action_is_reported_and_does_nothing(task: DigitsTask) -> None:
    run = loop(task, "resnet", [])
    controller = Answering([])
    controller.answer = lambda actions, memory: (
        actions._replace(op=torch.tensor([int(LifecycleOp.FOSSILIZE)])),
        memory,
    )
    run.grower._controller = controller
    step = run.epoch()
    assert (step.legal, step.took_effect) == (False, False)
    assert step.action is not None
    assert step.action.op is LifecycleOp.FOSSILIZE
    assert set(run.grower.reports().values()) == {None}
