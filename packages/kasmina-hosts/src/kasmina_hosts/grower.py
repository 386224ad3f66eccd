"""Growth of a user's own network in the user's own training loop."""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import partial
from typing import Any, NamedTuple, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from kasmina_hosts.actions import SlotRules, apply_actions, check_actions
from kasmina_hosts.contributions import Contributions, measure_contributions
from kasmina_hosts.diagnostics import Diagnostics, unknown_diagnostics
from kasmina_hosts.epoch import EpochResult
from kasmina_hosts.evaluation import Evaluation, Score
from kasmina_hosts.gates import Gates
from kasmina_hosts.growth import Growth, growth_state, no_growth, restore_growth
from kasmina_hosts.lifecycle import tick
from kasmina_hosts.measures import (
    first_measures,
    gate_inputs,
    next_measures,
    next_seed_measures,
)
from kasmina_hosts.observing import LastAction, observe
from kasmina_hosts.reporting import reports_of
from kasmina_hosts.saving import StateError, check_arguments, check_mapping, check_names
from kasmina_hosts.seed_optimizer import GradientTally, check_optimizer
from kasmina_hosts.seed_planting import SeedPlanting
from kasmina_hosts.slotted_model import (
    Sample,
    attach_slots,
    check_same,
    find_activations,
    measure_slots,
    without_slots,
)
from leyline_types import (
    Controller,
    FactoredAction,
    FactoredActions,
    LegalityRules,
    Observation,
    SeedStateReport,
    SlotConfig,
    TaskConfig,
    brief,
    find_not_finite,
)
from tamiyo_policies import HeuristicController


class GrowthStep(NamedTuple):
    """What the end of an epoch brought.

    Args:
        observation: what the controller saw, one environment.
        action: what it chose; None after the last epoch.
        legal, took_effect: whether it could be done, and was; WAIT always is.
        reason: why a `HeuristicController` chose it, in a sentence with numbers; None of other controllers and after
            the last epoch.
    """

    observation: Observation[Tensor]
    action: FactoredAction | None
    legal: bool
    took_effect: bool
    reason: str | None


ROUNDING = 1e-3
"""How far a mean of accuracies may lie outside of 0 to 100 percent."""


@final
class Grower:
    """Grows a network: at the end of every epoch a controller decides what becomes of its slots.

    The seeds are among the model's parameters (in `model.grown_slots`) and in the optimiser, in the group of their
    layer; pruned ones leave both. Everything else about the training loop is the user's: data, loss, precision,
    schedules, clipping.

    Args:
        model: any network.
        slots: slot id -> name of a layer (as in `model.named_modules()`) that puts out [B, C, H, W] or [B, T, D]; the
            seeds grow behind it. From input to output.
        optimizer: any of torch.optim but LBFGS, Muon and SparseAdam, made with the model's parameters.
        sample: an input of the model, of any batch size, to find shapes with; a tuple is
            its positional, a mapping its keyword arguments.
        max_epochs: how many epochs will be reported; schedules of growth are relative to it.
        num_classes: of the task; the loss of a guess is taken to be log(num_classes) nats.
        controller: decides; its own slots and legality rules must be `slots` and `rules`. It is asked once at the
            start, without consequence, so that one that does not fit fails at once. None: the heuristic that weighs
            what a seed contributes against its price, `tamiyo_policies.HeuristicController`.
        parameter_price: accuracy that doubling the network must bring to be worth it, in tens of points (0.3: three
            points; 0: size does not matter); see `leyline_types.TaskConfig`. The controller is shown it.
        diagnose: returns the mean loss of the model on one small batch of validation data, some tens of samples, with
            its graph. It is called once at the end of every epoch, with the model in evaluation mode and gradients
            enabled. The pass shows the controller where the network may lack something: of each slot, how much of what
            the loss depends on falls on the layer before it, how many directions that layer's output fills, and how
            much it varies within a sample (see `kasmina_hosts.diagnostics`; of a layer used several times in a pass,
            the first output counts). A layer without parameters that learn (a ReLU, a frozen one) has no share of the
            first: name the block that holds it. Call `model` itself, not a copy and not DistributedDataParallel; what
            torch.compile returned is run uncompiled. Training is the same bit for bit.
            None: these three are unknown, and a controller that was trained with them must guess from the curves alone
            what the network lacks, and where.
        validate: validation accuracy (percent) of the model as it is, in evaluation mode: measured anew without
            each seed after every epoch, which is what a seed contributes. None: a seed's contribution is estimated
            as the rise of the validation accuracy since it germinated.
        interactions: whether pairs of seeds are measured by `validate` too.
        co_adapt: whether the network learns through its seeds once they blend in; if not, they only learn beside it.
        rules: which slots and blueprints are enabled, least age to prune, ...
        gates: conditions of the lifecycle; None takes the defaults for `max_epochs`.
        max_seeds: live seeds at a time; 0 sets no limit.
        seed: the first values of the network's seeds depend on it, their slot and their number in it.

    Raises:
        SlotError, OptimizerError, ValueError: a slot, the optimiser or a number that cannot be; the model is untouched.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        slots: Mapping[str, str],
        optimizer: torch.optim.Optimizer,
        sample: Sample,
        max_epochs: int,
        num_classes: int,
        controller: Controller[Tensor, Any] | None = None,
        parameter_price: float = 0.3,
        diagnose: Callable[[], Tensor] | None = None,
        validate: Callable[[], float] | None = None,
        interactions: bool = False,
        co_adapt: bool = True,
        rules: LegalityRules = LegalityRules(),  # noqa: B008  (frozen)
        gates: Gates | None = None,
        max_seeds: int = 0,
        seed: int = 0,
    ) -> None:
        self.slot_config = SlotConfig(tuple(slots))
        check_optimizer(optimizer, model)
        activations = find_activations(model, slots, sample)
        if num_classes < 2:
            raise ValueError(f"`num_classes` must be at least 2, not {num_classes}")
        self._task = TaskConfig(
            name=type(model).__name__,
            topology=next(iter(activations.values())).topology,
            max_epochs=max_epochs,
            max_steps=max_epochs,
            max_seeds=max_seeds,
            num_classes=num_classes,
            baseline_loss=math.log(num_classes),
            target_loss=0.0,
            host_params=sum(parameter.numel() for parameter in model.parameters()),
            parameter_price=float(parameter_price),
        )
        self._slot_rules = SlotRules.of(rules, self.slot_config, self._task)
        self._gates = gates or Gates.for_episode(max_epochs)
        self._model, self._layers = model, dict(slots)
        self._controller: Controller[Tensor, Any] = (
            HeuristicController(self.slot_config, rules=rules) if controller is None else controller
        )
        self._validate, self._interactions, self._diagnose = validate, interactions, diagnose
        self._sample = sample
        self._arguments = {
            "slots": dict(slots),
            "channels": {slot_id: activation.channels for slot_id, activation in activations.items()},
            **{name: str(value) for name, value in asdict(self._task).items() if name != "name"},
            "rules": str(rules),
            "gates": str(self._gates),
            "seed": seed,
            "co_adapt": co_adapt,
        }
        self._growth = no_growth(len(slots), self._controller.initial_memory(1), self._task)
        self._ask(
            self._observe(self._growth, torch.zeros(1, len(slots), dtype=torch.long)), self._growth.memory
        )
        host = list(model.parameters())
        self._slots = attach_slots(model, slots, activations, co_adapt=co_adapt)
        self._planting = SeedPlanting(model, self._slots, slots, optimizer, seed)
        self._tally = GradientTally(host, self._slots)
        optimizer.register_step_pre_hook(self._tally.before_step)

    @property
    def epoch(self) -> int:
        """Epochs reported so far."""
        return self._growth.epoch

    def end_epoch(
        self, *, train_loss: float, val_loss: float, train_accuracy: float, val_accuracy: float
    ) -> GrowthStep:
        """Report an epoch of training; the controller decides, and the network changes.

        Args:
            train_loss, val_loss: means, nats.
            train_accuracy, val_accuracy: percent, 0 to 100.

        Raises:
            ValueError: a value that is not finite (or too large for float32) or an accuracy outside its range, here or
                in what the controller would be shown, an answer of the controller's that is not one action, or
                something else from `diagnose` than a finite loss whose gradient reaches the slots' layers. The network
                is as before. An action that is one and not legal is no error: see `GrowthStep`.
            RuntimeError: no optimiser step since the last epoch, a seed without gradients, or more epochs than
                `max_epochs`. The network is as before.
        """
        train, validation = _score(train_loss, train_accuracy, "train"), _score(val_loss, val_accuracy, "val")
        if self.epoch >= self._task.max_epochs:
            raise RuntimeError(f"growth ended after the {self._task.max_epochs} epochs of `max_epochs`")
        if self._tally.steps == 0:
            raise RuntimeError("the optimiser has taken no step since the last epoch")
        now = self._measure(train, validation)
        observation = self._observe(now, self._planting.sizes())
        if now.epoch == self._task.max_epochs:
            self._check(observation)
            self._go_on(now)
            return GrowthStep(observation, None, legal=True, took_effect=True, reason=None)
        actions, memory = self._ask(observation, now.memory)
        reason = self._reason(observation, now.memory)
        measured = gate_inputs(now.hosts, now.seeds)
        applied = apply_actions(now.life, actions, self._slot_rules, self._gates, measured)
        life = tick(applied.state, self._gates, now.life.alpha)
        last = LastAction(actions.op, applied.took_effect.long(), torch.zeros(1, dtype=torch.bool))
        self._go_on(now._replace(life=life, last=last, memory=memory))
        chosen = FactoredAction.from_indices(
            FactoredActions(*(int(head) for head in actions)), self.slot_config
        )
        return GrowthStep(observation, chosen, bool(applied.legal), bool(applied.took_effect), reason)

    def reports(self) -> dict[str, SeedStateReport | None]:
        """The present state of every slot, by slot id; None where it is empty."""
        now = self._growth
        return reports_of(
            self._observe(now, self._planting.sizes()), now.life, now.seeds, 0, self.slot_config
        )

    def export(self) -> nn.Module:
        """A copy of the network with its seeds as ordinary layers, and without slots.

        It computes what the model computes in evaluation mode; seeds that do not alter the output yet are left out.

        Raises:
            ExportError: on the sample it does not: a module looks into a layer in a way that a grown one cannot follow.
        """
        plain = without_slots(self._model, self._layers)
        check_same(self._model, plain, self._sample)
        return plain

    def state_dict(self) -> dict[str, Any]:
        """What has to be saved beside the state of the model and of the optimiser, after an `end_epoch`.

        Tensors, numbers, strings, lists and dictionaries: `torch.load` reads it with `weights_only=True`.
        """
        return {
            **growth_state(self._growth),
            **self._planting.state(),
            "arguments": self._arguments,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from where a grower was saved.

        Afterwards the model and the optimiser have the parameters to load their own states, in this order.

        Raises:
            StateError: the state is of a grower with other arguments, or damaged; this one is then as before.
        """
        check_mapping(state)
        check_names(state, self.state_dict().keys(), "grower")
        saved = state.get("arguments")
        if not isinstance(saved, dict):
            raise StateError("the state holds no dict 'arguments'")
        check_arguments(saved, self._arguments, "grower")
        growth = restore_growth(state, self._growth, self._task)
        try:  # without consequence; what its memory may hold only the controller knows, and how it says so
            self._ask(self._observe(growth, self._planting.sizes()), growth.memory)
        except Exception as error:
            raise StateError(
                f"the controller cannot act on the state: {type(error).__name__}: {brief(str(error))}"
            ) from error
        with torch.inference_mode(False):
            self._planting.restore(state, growth.life, growth.epoch)
        self._growth = growth
        self._tally.clear()

    def _go_on(self, growth: Growth) -> None:
        with torch.inference_mode(False):
            self._planting.follow(growth.life)
        self._growth = growth
        self._tally.clear()

    def _measure(self, train: Score, validation: Score) -> Growth:
        """The growth with the epoch's figures."""
        now = self._growth
        last_gradient, host_gradient, seed_gradient = self._tally.means()
        learns = now.life.learns
        deaf = learns & ~torch.tensor([self._tally.learning])
        if deaf.any():
            names = ", ".join(
                slot_id for slot_id, is_deaf in zip(self._layers, deaf[0], strict=True) if is_deaf
            )
            raise RuntimeError(
                f"the seeds in {names} have had no gradient in this epoch: was the model compiled before its Grower "
                "was made, or is the layer not used in training?"
            )
        epoch = EpochResult(
            score=train,
            host_gradient=last_gradient[None],
            mean_host_gradient=host_gradient[None],
            seed_gradient=torch.where(learns, seed_gradient, torch.nan),
        )
        if now.epoch == 0:
            hosts = first_measures(train, validation)._replace(grad_norm_host=epoch.host_gradient)
            seeds = now.seeds
        else:
            accuracy = now.hosts.validation.accuracy
            evaluation = Evaluation(validation, self._contributions(validation.accuracy))
            sizes, host_size = self._planting.sizes(), self._task.host_params
            hosts = next_measures(now.hosts, epoch, validation)
            seeds = next_seed_measures(now.seeds, now.life, accuracy, epoch, evaluation, sizes, host_size)
        return now._replace(
            hosts=hosts,
            seeds=seeds,
            diagnostics=self._diagnostics(),
            epoch=now.epoch + 1,
            steps=now.steps + self._tally.steps,
        )

    def _contributions(self, accuracy: Float[Tensor, " 1"]) -> Contributions:
        measured = self._growth.life.alters_output
        if self._validate is not None:
            without = partial(self._accuracy_without, self._validate)
            return measure_contributions(accuracy, measured, without, interactions=self._interactions)
        rise = torch.where(measured, accuracy[:, None] - self._growth.seeds.initial_accuracy, torch.nan)
        unknown = torch.full_like(rise, torch.nan)
        return Contributions(rise, unknown, unknown)

    def _diagnostics(self) -> Diagnostics:
        if self._diagnose is None:
            return unknown_diagnostics(1, len(self._slots))
        return measure_slots(self._model, self._slots, self._layers, self._diagnose)

    def _accuracy_without(
        self, validate: Callable[[], float], first: int, second: int | None
    ) -> Float[Tensor, " 1"]:
        slots = list(self._slots.values())
        off = [slots[index] for index in (first, second) if index is not None]
        for slot in off:
            slot.suppressed = True
        try:
            return _percent(validate(), "what `validate` returns")
        finally:
            for slot in off:
                slot.suppressed = False

    def _ask(self, observation: Observation[Tensor], memory: Any) -> tuple[FactoredActions[Tensor], Any]:
        """One action of the controller, and its new memory.

        Raises:
            ValueError: the observation is not finite, or the answer is not one action and a memory.
        """
        self._check(observation)
        # A pair of actions and memory only if the controller keeps to the annotations.
        answer: object = self._controller.act(observation, memory)
        match answer:
            case (FactoredActions() as heads, memory) if all(isinstance(head, Tensor) for head in heads):
                found: list[Any] = list(heads)
                actions: FactoredActions[Tensor] = FactoredActions(*found)
                check_actions(actions, self.slot_config, 1)
                return FactoredActions(*(head.cpu().long() for head in actions)), memory
        raise ValueError(
            f"the controller must answer FactoredActions of tensors and its memory, not {brief(repr(answer))}"
        )

    def _reason(self, observation: Observation[Tensor], memory: Any) -> str | None:
        """Why a heuristic acts as it does."""
        if not isinstance(self._controller, HeuristicController):
            return None
        return str(self._controller.explain(observation, memory)[0])

    def _check(self, observation: Observation[Tensor]) -> None:
        """That all that must be finite is: a single network's values are soon looked at one by one.

        Raises:
            ValueError: it names the slot, the feature and its value.
        """
        found = next(find_not_finite(observation, self.slot_config), None)
        if found is not None:
            raise ValueError(f"the controller cannot be shown what is not finite: {found}")

    def _observe(self, now: Growth, sizes: Int[Tensor, "1 slot"]) -> Observation[Tensor]:
        steps = max(1, round(now.steps * self._task.max_epochs / max(1, now.epoch)))
        return observe(
            replace(self._task, max_steps=steps),
            now.life,
            now.hosts,
            now.seeds,
            now.last,
            sizes,
            now.diagnostics,
            prices=torch.tensor([self._task.parameter_price], dtype=torch.float32),
            epoch=now.epoch,
            global_step=now.steps,
        )


def _score(loss: float, accuracy: float, kind: str) -> Score:
    mean = torch.tensor([float(loss)], dtype=torch.float32)  # where large ones become infinite
    if not mean.isfinite():
        raise ValueError(f"`{kind}_loss` must be finite, not {loss}; has the network diverged?")
    return Score(mean, _percent(accuracy, f"`{kind}_accuracy`"))


def _percent(accuracy: float, what: str) -> Float[Tensor, " 1"]:
    if not -ROUNDING <= accuracy <= 100 + ROUNDING:
        raise ValueError(f"{what} must lie in 0 to 100 percent, not {accuracy}")
    return torch.tensor([min(max(float(accuracy), 0.0), 100.0)])
