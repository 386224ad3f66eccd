"""A controller that follows rules of thumb instead of a network: a rival to beat, and a teacher to read."""

from collections.abc import Iterator
from typing import NamedTuple, final

import torch
from jaxtyping import Bool, Float
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
    Topology,
)
from tamiyo_features import check_observation
from tamiyo_masks import action_masks, check_masks
from tamiyo_policies.heuristic_planting import plan_planting
from tamiyo_policies.heuristic_rules import RULES, HostView, Rule, SlotView
from tamiyo_policies.heuristic_settings import HeuristicSettings

_DEFAULT_RULES = LegalityRules()
_DEFAULT_SETTINGS = HeuristicSettings()
_TOPOLOGIES = tuple(Topology)  # by their codes


class Decision(NamedTuple):
    """What the heuristic does to one environment, the rule that made it, and the numbers behind it in words.

    >>> prune = FactoredAction(LifecycleOp.PRUNE, "r0c1", alpha_speed=AlphaSpeedAction.INSTANT)
    >>> print(Decision(prune, Rule.PRUNE_HARMFUL, "contributes -2.00 points, the limit is -1.00"))
    prune r0c1: contributes -2.00 points, the limit is -1.00
    """

    action: FactoredAction
    rule: Rule
    reason: str

    def __str__(self) -> str:
        op = self.action.op
        place = "" if op is LifecycleOp.WAIT else f" {self.action.slot_id}"
        return f"{op.name.lower()}{place}: {self.reason}"


class HeuristicMemory(NamedTuple):
    """What each environment's heuristic remembers of the seeds that it has seen.

    `scales` are the sizes of each slot's last seed as multiples of those in the settings, NaN where unknown; `pruned`
    is true of what the heuristic has pruned.
    """

    scales: Float[Tensor, "env slot"]
    pruned: Bool[Tensor, "env slot blueprint"]


@final
class HeuristicController:
    """Follows `Rule`, in its order, slot by slot; deterministic, and never illegal. Not a `PolicyBundle`.

    It keeps what pays. The return of an episode is the gain of accuracy in tens of points minus the price times the
    parameters added, in sizes of the host. So a seed of `param_count` parameters has a price in points,
    10 * parameter_price * param_count / host_params, and pays if it contributes as much. What is pruned before the end
    costs nothing; what is live at the end counts, whatever its stage, so that nothing unproven stays.

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
        self._sizes = torch.full((len(_TOPOLOGIES), max(BlueprintAction) + 1), torch.nan)
        for topology in _TOPOLOGIES:
            for blueprint, size in settings.candidates(topology):
                self._sizes[topology.code, blueprint] = size

    def initial_memory(self, num_envs: int) -> HeuristicMemory:
        """No seed seen or pruned yet."""
        shape = (num_envs, len(self._slot_config))
        return HeuristicMemory(
            scales=torch.full(shape, torch.nan),
            pruned=torch.zeros(*shape, max(BlueprintAction) + 1, dtype=torch.bool),
        )

    def act(
        self, observation: Observation[Tensor], memory: HeuristicMemory
    ) -> tuple[FactoredActions[Tensor], HeuristicMemory]:
        """What the rules order, int64 [env] in each head. Raises: as `explain`."""
        decisions = self.explain(observation, memory)
        indices = [decision.action.to_indices(self._slot_config) for decision in decisions]
        actions = FactoredActions(*(torch.tensor(head) for head in zip(*indices, strict=True)))
        device = observation.slots.stage.device
        memory = self._remember(observation, actions, memory)
        return FactoredActions(*(head.to(device) for head in actions)), memory

    def explain(self, observation: Observation[Tensor], memory: HeuristicMemory) -> tuple[Decision, ...]:
        """What `act` does to each environment for this observation and memory, the rule behind it, and why.

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
            self._scales(observation, memory).tolist(),
            memory.pruned.tolist(),
            strict=True,
        )
        return tuple(self._decide(*each) for each in columns)

    def _scales(self, observation: Observation[Tensor], memory: HeuristicMemory) -> Float[Tensor, "env slot"]:
        """The scales with those of the seeds that are seen now."""
        signals, slots = observation.signals, observation.slots
        sizes = slots.param_count.cpu() / signals.host_params.cpu()[:, None]
        scales = sizes / self._sizes[signals.topology.cpu()[:, None], slots.blueprint.cpu()]
        return torch.where(scales > 0, scales, memory.scales)  # NaN where no seed of the settings is

    def _remember(
        self, observation: Observation[Tensor], actions: FactoredActions[Tensor], memory: HeuristicMemory
    ) -> HeuristicMemory:
        """The memory after these actions."""
        (envs,) = torch.nonzero(actions.op == int(LifecycleOp.PRUNE), as_tuple=True)
        places = actions.slot[envs]
        pruned = memory.pruned.clone()
        pruned[envs, places, observation.slots.blueprint.cpu()[envs, places]] = True
        return HeuristicMemory(self._scales(observation, memory), pruned)

    def _decide(
        self,
        host: HostView,
        legal: list[list[bool]],
        blueprints: list[bool],
        scales: list[float],
        pruned: list[list[bool]],
    ) -> Decision:
        limits, slot_ids = self._settings, self._slot_config.slot_ids
        for rule, op, reason_of in RULES:
            for slot_id, slot, is_legal in zip(slot_ids, host.slots, legal[op], strict=True):
                if is_legal and (reason := reason_of(slot, host, limits)) is not None:
                    # Alpha rests, and a seed on its way down would still be there at the end: prune at once.
                    action = FactoredAction(op, slot_id, alpha_speed=AlphaSpeedAction.INSTANT)
                    return Decision(action, rule, reason)
        plan = plan_planting(
            host,
            is_open=legal[LifecycleOp.GERMINATE],
            is_legal=blueprints,
            scales=scales,
            pruned=pruned,
            limits=limits,
        )
        if isinstance(plan, str):
            return Decision(FactoredAction(LifecycleOp.WAIT, slot_ids[0]), Rule.WAIT, plan)
        action = FactoredAction(
            LifecycleOp.GERMINATE,
            slot_ids[plan.slot],
            blueprint=plan.blueprint,
            style=GerminationStyle.LINEAR_ADD,
            tempo=limits.tempo,
            alpha_target=AlphaTargetAction.FULL,
        )
        return Decision(action, Rule.GERMINATE, plan.reason)


def _views(observation: Observation[Tensor]) -> Iterator[HostView]:
    """Each environment's numbers, read off the columns in one go each."""
    signals = observation.signals
    per_slot = [getattr(observation.slots, name).tolist() for name in SlotView._fields]
    per_env = (
        signals.epoch,
        signals.max_epochs,
        signals.topology,
        signals.parameter_price,
        signals.host_params,
        100 - signals.train_accuracy,
    )
    hosts = zip(*(column.tolist() for column in per_env), strict=True)
    for env, (epoch, max_epochs, topology, price, host_params, room) in zip(
        zip(*per_slot, strict=True), hosts, strict=True
    ):
        yield HostView(
            epoch=epoch,
            max_epochs=max_epochs,
            topology=_TOPOLOGIES[topology],
            price=price,
            host_params=host_params,
            room=room,
            slots=tuple(SlotView(*slot) for slot in zip(*env, strict=True)),
        )
