"""Without a controller of the user's, a `Grower` follows the price-aware heuristic and says why."""

from copy import deepcopy

import pytest
import torch
from networks_to_grow import NETWORKS, loop, sgd
from torch import nn
from torch.nn.functional import cross_entropy

from kasmina_hosts import DigitsTask, Grower, GrowthStep
from leyline_types import BlueprintAction, LegalityRules, LifecycleOp, SlotConfig
from tamiyo_policies import HeuristicController

EPOCHS = 20


class Growing:
    """A network that is said to learn three points an epoch, up to 95 percent."""

    def __init__(self, task: DigitsTask, price: float, rules: LegalityRules = LegalityRules()) -> None:  # noqa: B008
        torch.manual_seed(0)
        build, self.slots, _ = NETWORKS["resnet"]
        self.model: nn.Module = build()
        self.optimizer = sgd(self.model)
        self.images, self.labels = task.train.images[:32], task.train.labels[:32]
        self.grower = Grower(
            self.model,
            slots=self.slots,
            optimizer=self.optimizer,
            sample=self.images[:2],
            max_epochs=EPOCHS,
            num_classes=10,
            parameter_price=price,
            rules=rules,
        )

    def epoch(self) -> GrowthStep:
        self.optimizer.zero_grad()
        cross_entropy(self.model(self.images), self.labels).backward()
        self.optimizer.step()
        accuracy = min(95.0, 35.0 + 3 * self.grower.epoch)
        return self.grower.end_epoch(
            train_loss=1.0, val_loss=1.0, train_accuracy=accuracy, val_accuracy=accuracy
        )

    def grow(self) -> list[GrowthStep]:
        return [self.epoch() for _ in range(EPOCHS)]


def test_the_heuristic_decides_and_says_why(task: DigitsTask) -> None:
    growing = Growing(task, price=0.3)
    steps = growing.grow()
    heuristic = HeuristicController(SlotConfig(tuple(growing.slots)))
    memory = heuristic.initial_memory(1)
    for step in steps[:-1]:
        (decision,) = heuristic.explain(step.observation, memory)
        assert step.action == decision.action
        assert step.reason == str(decision)
        assert step.legal
        _, memory = heuristic.act(step.observation, memory)
    assert (steps[-1].action, steps[-1].reason) == (None, None)
    ops = {step.action.op for step in steps if step.action is not None}
    assert ops >= {LifecycleOp.GERMINATE, LifecycleOp.ADVANCE, LifecycleOp.FOSSILIZE}


def test_the_price_decides_how_much_grows(task: DigitsTask) -> None:
    planted, reasons = [], []
    for price in (0.0, 0.3, 1e6):
        steps = Growing(task, price).grow()
        planted.append(
            int(steps[-1].observation.signals.total_params - steps[-1].observation.signals.host_params)
        )
        reasons.append([step.reason for step in steps if step.reason is not None])
    assert planted[0] >= planted[1] > planted[2] == 0
    assert any("nothing pays: the cheapest seed (norm) must bring" in reason for reason in reasons[2])


def test_the_heuristic_keeps_to_the_rules(task: DigitsTask) -> None:
    rules = LegalityRules(enabled_slots=("r0c1",), enabled_blueprints=(BlueprintAction.NORM,))
    steps = Growing(task, price=0.3, rules=rules).grow()
    acted = [
        step.action for step in steps if step.action is not None and step.action.op is not LifecycleOp.WAIT
    ]
    assert acted
    assert all(step.legal for step in steps)
    assert {action.slot_id for action in acted} == {"r0c1"}
    planted = [action.blueprint for action in acted if action.op is LifecycleOp.GERMINATE]
    assert set(planted) == {BlueprintAction.NORM}


@pytest.mark.parametrize("saved_at", [5, 12])
def test_what_the_heuristic_remembers_is_saved(task: DigitsTask, saved_at: int) -> None:
    first, second = Growing(task, price=0.3), Growing(task, price=0.3)
    for _ in range(saved_at):
        first.epoch()
    state = deepcopy([each.state_dict() for each in (first.grower, first.model, first.optimizer)])
    second.grower.load_state_dict(state[0])
    second.model.load_state_dict(state[1])
    second.optimizer.load_state_dict(state[2])
    for name in ("scales", "pruned"):
        memories = [getattr(each.grower._growth.memory, name) for each in (first, second)]
        assert torch.equal(*(memory.nan_to_num(-1) for memory in memories))
    assert first.grower._growth.memory.scales.isfinite().any()
    for _ in range(saved_at, EPOCHS):
        assert first.epoch().reason == second.epoch().reason


def test_other_controllers_give_no_reason(task: DigitsTask) -> None:
    assert loop(task, "resnet", []).epoch().reason is None
