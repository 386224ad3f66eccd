"""E hosts in training at once: the world that a policy acts on."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from kasmina_hosts.actions import SlotRules, apply_actions
from kasmina_hosts.blueprints import buildable
from kasmina_hosts.config import HostConfig
from kasmina_hosts.epoch import evaluate, score_hosts, train_epoch
from kasmina_hosts.gates import GateInputs, Gates
from kasmina_hosts.governor import find_diverged, forget_epoch, roll_back, take_snapshot
from kasmina_hosts.grown import GrownSeed, fossilized, grown_seeds
from kasmina_hosts.host import host_slots
from kasmina_hosts.lifecycle import Lifecycle, empty_lifecycle, tick
from kasmina_hosts.measures import (
    HostMeasures,
    SeedMeasures,
    first_measures,
    next_measures,
    next_seed_measures,
    no_seed_measures,
)
from kasmina_hosts.network import HostNetworks
from kasmina_hosts.observing import LastAction, observe
from kasmina_hosts.reporting import reports_of, signals_of
from kasmina_hosts.tasks import DigitsTask
from leyline_types import (
    BlueprintAction,
    FactoredActions,
    LegalityRules,
    Observation,
    SeedStage,
    SeedStateReport,
    SlotConfig,
    TaskConfig,
    TrainingSignals,
    head_sizes,
)

TARGET_LOSS = 0.3
"""Validation loss (nats) that the default hosts reach when they are grown well."""


class StepOutcome(NamedTuple):
    """What a step did.

    Args:
        observation: the new one.
        legal, took_effect: of each host's action; WAIT always takes effect.
        rolled_back: whether the host diverged and its last sound state was restored.
    """

    observation: Observation[Tensor]
    legal: Bool[Tensor, " host"]
    took_effect: Bool[Tensor, " host"]
    rolled_back: Bool[Tensor, " host"]


class DivergedHostError(ArithmeticError):
    """A host that is not finite before any training, or right after it was rolled back."""


@dataclass(slots=True)
class _Episode:
    """The state of the hosts between two steps."""

    networks: HostNetworks
    orders: list[torch.Generator]
    life: Lifecycle
    hosts: HostMeasures
    seeds: SeedMeasures
    last: LastAction
    planted: Int[Tensor, "host slot"]
    epoch: int


@final
class HostPopulation:
    """E hosts with seed slots, trained one epoch per step.

    Each host depends on its own seed alone, whichever other hosts there are. One thread of torch is the fastest.

    Args:
        task: the data.
        config: width, learning rate, length of an episode, ...
        rules: which slots and blueprints are enabled, least age to prune, governor's override. The population's own
            `rules` enable only blueprints that there are modules for: make masks with those.
        gates: conditions of the lifecycle; None takes the defaults for the length of the episode.

    Raises:
        ValueError: `rules` enables a slot that the host does not have, or no blueprint that there is a module for.
    """

    def __init__(
        self,
        task: DigitsTask,
        config: HostConfig,
        *,
        rules: LegalityRules = LegalityRules(),  # noqa: B008  (frozen)
        gates: Gates | None = None,
    ) -> None:
        self._task, self._config = task, config
        self._gates = gates or Gates.for_episode(config.max_epochs)
        self.slot_config = SlotConfig.from_specs(host_slots(config.width))
        networks = HostNetworks([0], config.width, task.num_classes)
        steps = math.ceil(len(task.train.labels) / config.batch_size)
        self.task_config = TaskConfig(
            name=task.name,
            topology=networks.topology,
            max_epochs=config.max_epochs,
            max_steps=config.max_epochs * steps,
            max_seeds=config.max_seeds,
            num_classes=task.num_classes,
            baseline_loss=math.log(task.num_classes),
            target_loss=TARGET_LOSS,
            host_params=networks.host_size,
        )
        self.rules = replace(
            rules, enabled_blueprints=buildable(rules.blueprints(networks.topology), networks.topology)
        )
        enabled = [self.slot_config.index(slot_id) for slot_id in rules.enabled_slots or self.slot_config]
        self._slot_rules = SlotRules(
            enabled=torch.isin(torch.arange(len(self.slot_config)), torch.tensor(enabled)),
            capacity=self.task_config.seed_capacity(len(self.slot_config)),
            blueprints=self.rules.blueprints(networks.topology),
            rules=self.rules,
        )
        self._steps_per_epoch = steps
        self._episode: _Episode | None = None

    @property
    def num_envs(self) -> int:
        """Hosts of the present episode."""
        return len(self._present.life.stage)

    @property
    def epoch(self) -> int:
        """Epochs trained in the present episode."""
        return self._present.epoch

    def reset(
        self, seeds: Sequence[int], grown: Sequence[Mapping[str, GrownSeed]] | None = None
    ) -> Observation[Tensor]:
        """Set out fresh hosts, measured before any training.

        Args:
            seeds: one per host, at least one, none negative; it sets first weights and the order of data.
            grown: seeds that each host holds from the start, fossilized; None for bare hosts.

        Raises:
            ValueError: no seeds, a negative one, `grown` of another length or with an unknown slot or blueprint.
            DivergedHostError: a host's loss is not finite.
        """
        if not seeds:
            raise ValueError("`seeds` must hold at least one host seed")
        if min(seeds) < 0:
            raise ValueError(f"host seeds must be at least 0, not {min(seeds)}")
        if grown is not None and len(grown) != len(seeds):
            raise ValueError(f"`grown` describes {len(grown)} hosts, `seeds` {len(seeds)}")
        networks = HostNetworks(list(seeds), self._config.width, self._task.num_classes)
        num_hosts, num_slots = len(seeds), len(self.slot_config)
        life = empty_lifecycle(num_hosts, num_slots) if grown is None else fossilized(grown, self.slot_config)
        for host, slot in life.occupied.nonzero().tolist():
            networks.plant(host, slot, BlueprintAction(int(life.blueprint[host, slot])), 0)
        train, validation = (
            score_hosts(networks, life, part) for part in (self._task.train, self._task.validation)
        )
        if find_diverged(train, validation).any():
            raise DivergedHostError(
                "a fresh host has a loss that is not finite; its data or its width must be at fault"
            )
        never = torch.full((num_hosts,), -1)
        self._episode = _Episode(
            networks=networks,
            orders=[torch.Generator().manual_seed(seed) for seed in seeds],
            life=life,
            hosts=first_measures(train, validation),
            seeds=no_seed_measures(num_hosts, num_slots),
            last=LastAction(never, never, torch.zeros(num_hosts, dtype=torch.bool)),
            planted=life.occupied.long(),
            epoch=0,
        )
        return self.observe()

    def step(self, actions: FactoredActions[Tensor]) -> StepOutcome:
        """Apply the actions, let the lifecycle tick, train one epoch, evaluate.

        An illegal action and one that fails its gate change nothing; the next observation says so.

        Args:
            actions: [host] indices in every head.

        Raises:
            ValueError: wrong shapes or indices outside their heads; the hosts are as before.
            RuntimeError: before `reset`, or after the last epoch.
            DivergedHostError: a host that was rolled back is not finite even so.
        """
        now = self._present
        if now.epoch >= self._config.max_epochs:
            raise RuntimeError(f"the episode ended after {self._config.max_epochs} epochs; call reset")
        self._check(actions)
        snapshot = take_snapshot(now.networks)
        accuracy = now.hosts.validation.accuracy
        improvement = accuracy[:, None] - now.seeds.stage_accuracy
        measured = GateInputs(improvement, now.seeds.gradient_ratio, now.seeds.contribution)
        applied = apply_actions(now.life, actions, self._slot_rules, self._gates, measured)
        self._plant(now, applied.state)
        life = tick(applied.state, self._gates, now.life.alpha)
        epoch = train_epoch(
            now.networks,
            life,
            self._task.train,
            self._next_order(now),
            batch_size=self._config.batch_size,
            learning_rate=self._config.learning_rate,
        )
        evaluation = evaluate(now.networks, life, self._task.validation)
        diverged = find_diverged(epoch.score, evaluation.score)
        if diverged.any():
            life = roll_back(now.networks, snapshot, life, diverged)
            evaluation = evaluate(now.networks, life, self._task.validation)
            epoch = forget_epoch(epoch, now.hosts.train, diverged)
            if find_diverged(epoch.score, evaluation.score).any():
                raise DivergedHostError(
                    "a host is not finite although its last sound parameters were restored"
                )
        sizes = now.networks.seed_sizes(life)
        now.seeds = next_seed_measures(
            now.seeds, life, accuracy, epoch, evaluation, sizes, self.task_config.host_params
        )
        now.hosts = next_measures(now.hosts, epoch, evaluation.score)
        now.last = LastAction(actions.op, applied.took_effect.long(), diverged)
        now.life, now.epoch = life, now.epoch + 1
        return StepOutcome(self.observe(), applied.legal, applied.took_effect, diverged)

    def observe(self) -> Observation[Tensor]:
        """The present state as columns, [host] and [host, slot]."""
        now = self._present
        return observe(
            self.task_config,
            now.life,
            now.hosts,
            now.seeds,
            now.last,
            now.networks.seed_sizes(now.life),
            epoch=now.epoch,
            global_step=now.epoch * self._steps_per_epoch,
        )

    def signals(self) -> list[TrainingSignals]:
        """The present state of each host as an object."""
        observation = self.observe()
        return [signals_of(observation, host, self.slot_config) for host in range(self.num_envs)]

    def reports(self) -> list[dict[str, SeedStateReport | None]]:
        """The present state of each host's slots as objects, by slot id; None where a slot is empty."""
        now, observation = self._present, self.observe()
        return [
            reports_of(observation, now.life, now.seeds, host, self.slot_config)
            for host in range(self.num_envs)
        ]

    def grown(self) -> list[dict[str, GrownSeed]]:
        """Of each host, the seeds that alter its output, by slot id."""
        return grown_seeds(self._present.life, self.slot_config)

    def test_accuracy(self) -> Float[Tensor, " host"]:
        """Percent on the test part, which nothing else looks at."""
        return score_hosts(self._present.networks, self._present.life, self._task.test).accuracy

    @property
    def _present(self) -> _Episode:
        if self._episode is None:
            raise RuntimeError("the population has no hosts yet; call reset")
        return self._episode

    def _check(self, actions: FactoredActions[Tensor]) -> None:
        for name, size, head in zip(actions._fields, head_sizes(self.slot_config), actions, strict=True):
            if head.shape != (self.num_envs,):
                raise ValueError(
                    f"head {name!r} has shape {tuple(head.shape)}, there are {self.num_envs} hosts"
                )
            if head.min() < 0 or head.max() >= size:
                raise ValueError(
                    f"head {name!r} has {size} choices, got {int(head.min())} to {int(head.max())}"
                )

    def _plant(self, now: _Episode, life: Lifecycle) -> None:
        germinated = (life.stage == SeedStage.GERMINATED) & (now.life.stage == SeedStage.DORMANT)
        for host, slot in germinated.nonzero().tolist():
            blueprint = BlueprintAction(int(life.blueprint[host, slot]))
            now.networks.plant(host, slot, blueprint, int(now.planted[host, slot]))
        now.planted = now.planted + germinated

    def _next_order(self, now: _Episode) -> Int[Tensor, "host sample"]:
        samples = len(self._task.train.labels)
        return torch.stack([torch.randperm(samples, generator=order) for order in now.orders])
