"""A controller that follows rules of thumb instead of a network: a rival to beat, and a teacher to read."""

from collections.abc import Iterator
from typing import NamedTuple, final

import torch
from jaxtyping import Int
from torch import Tensor

from leyline_types import (
    AlphaSpeedAction,
    AlphaTargetAction,
    BlueprintAction,
    FactoredAction,
    FactoredActions,
    GerminationStyle,
    LegalityRules,
    LifecycleOp,
    Observation,
    SlotConfig,
    TempoAction,
)
from tamiyo_features import check_observation
from tamiyo_masks import action_masks, check_masks
from tamiyo_policies.heuristic_rules import RULES, Rule, SlotView
from tamiyo_policies.heuristic_settings import HeuristicSettings

_DEFAULT_RULES = LegalityRules()
_DEFAULT_SETTINGS = HeuristicSettings()


class Decision(NamedTuple):
    """What the heuristic does to one environment, and the rule that made it."""

    action: FactoredAction
    rule: Rule

    def __str__(self) -> str:
        return f"{self.action.describe()}: {self.rule.value}"


class HeuristicMemory(NamedTuple):
    """What each environment's heuristic remembers of the blueprints it tried.

    `germinations` so far are its place in the rotation; `penalties` are for how many more germinations each blueprint
    is passed over.
    """

    germinations: Int[Tensor, " env"]
    penalties: Int[Tensor, "env blueprint"]


@final
class HeuristicController:
    """Follows `Rule`, in its order, slot by slot; deterministic, and never illegal. Not a `PolicyBundle`.

    Args:
        slot_config: the slots.
        settings: the numbers in the rules.
        rules: what is legal.
    """

    def __init__(
        self,
        slot_config: SlotConfig,
        *,
        settings: HeuristicSettings = _DEFAULT_SETTINGS,
        rules: LegalityRules = _DEFAULT_RULES,
    ) -> None:
        self._slot_config = slot_config
        self._settings = settings
        self._rules = rules

    def initial_memory(self, num_envs: int) -> HeuristicMemory:
        """Nothing germinated or pruned yet."""
        return HeuristicMemory(
            germinations=torch.zeros(num_envs, dtype=torch.int64),
            penalties=torch.zeros(num_envs, max(BlueprintAction) + 1, dtype=torch.int64),
        )

    def act(
        self, observation: Observation[Tensor], memory: HeuristicMemory
    ) -> tuple[FactoredActions[Tensor], HeuristicMemory]:
        """What the rules order, int64 [env] in each head. Raises: as `explain`."""
        decisions = self.explain(observation, memory)
        device = observation.slots.stage.device
        indices = [decision.action.to_indices(self._slot_config) for decision in decisions]
        actions = FactoredActions(*(torch.tensor(head, device=device) for head in zip(*indices, strict=True)))
        return actions, self._remember(observation, actions, memory)

    def explain(self, observation: Observation[Tensor], memory: HeuristicMemory) -> tuple[Decision, ...]:
        """What `act` does to each environment for this observation and memory, and the rule behind it.

        Raises:
            ObservationError: a value that is not finite (`tamiyo_features.check_observation`): no comparison of a rule
                would find it true.
            InvalidStateMachineError: an environment without a legal op, or a legal op without a legal choice.
        """
        check_observation(observation, self._slot_config)
        masks = action_masks(observation, self._slot_config, self._rules)
        check_masks(masks)
        columns = zip(
            _views(observation),
            (masks.slot_by_op & masks.op[..., None]).tolist(),  # rows of illegal ops still name slot 0
            masks.blueprint.tolist(),
            memory.germinations.tolist(),
            memory.penalties.tolist(),
            strict=True,
        )
        return tuple(self._decide(*each) for each in columns)

    def _remember(
        self, observation: Observation[Tensor], actions: FactoredActions[Tensor], memory: HeuristicMemory
    ) -> HeuristicMemory:
        """The memory after these actions: a germination takes 1 off every penalty, pruning adds to its blueprint's."""
        germinated, pruned = (
            (actions.op == int(op)).to(memory.penalties) for op in (LifecycleOp.GERMINATE, LifecycleOp.PRUNE)
        )
        blueprint = observation.slots.blueprint.gather(1, actions.slot[:, None]).to(memory.penalties)
        eased = (memory.penalties - germinated[:, None]).clamp_min(0)
        penalties = eased.scatter_add(1, blueprint, self._settings.penalty * pruned[:, None])
        return HeuristicMemory(memory.germinations + germinated, penalties)

    def _decide(
        self,
        slots: list[SlotView],
        legal: list[list[bool]],
        blueprints: list[bool],
        germinations: int,
        penalties: list[int],
    ) -> Decision:
        blueprint = self._next_blueprint(blueprints, germinations, penalties)
        for rule, op, applies in RULES:
            if op is LifecycleOp.GERMINATE and blueprint is None:
                continue
            for slot_id, slot, is_legal in zip(self._slot_config, slots, legal[op], strict=True):
                if is_legal and applies(slot, self._settings):
                    return Decision(_action(op, slot_id, blueprint), rule)
        return Decision(_action(LifecycleOp.WAIT, self._slot_config.slot_ids[0], None), Rule.WAIT)

    def _next_blueprint(
        self, legal: list[bool], germinations: int, penalties: list[int]
    ) -> BlueprintAction | None:
        """The least penalised blueprint that fits; among equals the one whose turn comes first."""
        fitting = [blueprint for blueprint in self._settings.rotation if legal[blueprint]]
        turn = germinations % len(fitting) if fitting else 0
        return min(fitting[turn:] + fitting[:turn], key=penalties.__getitem__, default=None)


def _action(op: LifecycleOp, slot_id: str, blueprint: BlueprintAction | None) -> FactoredAction:
    if op is LifecycleOp.GERMINATE and blueprint is not None:
        return FactoredAction(
            op,
            slot_id,
            blueprint=blueprint,
            style=GerminationStyle.LINEAR_ADD,
            tempo=TempoAction.STANDARD,
            alpha_target=AlphaTargetAction.FULL,
        )
    return FactoredAction(op, slot_id, alpha_speed=AlphaSpeedAction.INSTANT)


def _views(observation: Observation[Tensor]) -> Iterator[list[SlotView]]:
    """Each environment's slots, read off the columns in one go each."""
    signals, slots = observation.signals, observation.slots
    progress = signals.epoch / signals.max_epochs
    per_slot = (
        slots.stage,
        slots.alpha_mode,
        slots.alpha,
        slots.alpha_target,
        slots.epochs_in_stage,
        slots.improvement_in_stage,
        slots.contribution,
        slots.gradient_ratio,
    )
    per_env = (signals.plateau_epochs, signals.host_stabilized, progress)
    hosts = zip(*(column.tolist() for column in per_env), strict=True)
    for env, host in zip(zip(*(column.tolist() for column in per_slot), strict=True), hosts, strict=True):
        yield [SlotView(*slot, *host) for slot in zip(*env, strict=True)]
