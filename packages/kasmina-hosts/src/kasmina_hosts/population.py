"""E hosts in training at once: the world that a policy acts on."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from kasmina_hosts.actions import SlotRules, apply_actions, check_actions
from kasmina_hosts.config import HostConfig, check_price
from kasmina_hosts.diagnostics import unknown_diagnostics
from kasmina_hosts.episode import DivergedHostError, Episode, begin, episode_state, restore
from kasmina_hosts.epoch import train_epoch
from kasmina_hosts.evaluation import Score, diagnose, evaluate, score_hosts
from kasmina_hosts.gates import Gates
from kasmina_hosts.governor import add_planted, forget_epoch, is_finite, roll_back, update_snapshot, watch
from kasmina_hosts.grown import GrownSeed, fossilized, grown_seeds
from kasmina_hosts.host import host_size, host_slots
from kasmina_hosts.lifecycle import Lifecycle, empty_lifecycle, tick
from kasmina_hosts.measures import gate_inputs, next_measures, next_seed_measures
from kasmina_hosts.network import HostNetworks
from kasmina_hosts.observing import LastAction, observe
from kasmina_hosts.reporting import reports_of, signals_of
from kasmina_hosts.saving import StateError, check_mapping, dense, take
from kasmina_hosts.settings import check_settings, describe, encode
from kasmina_hosts.tasks import Split, Task, check_task
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


@final
class HostPopulation:
    """E hosts with seed slots, trained one epoch per step.

    Each host depends on its own seed alone, whichever other hosts there are. One thread of torch is the fastest.

    Args:
        task: the data.
        config: topology, width, learning rate, length of an episode, ...
        rules: which slots and blueprints are enabled, least age to prune, governor's override.
        gates: conditions of the lifecycle; None takes the defaults for the length of the episode.
        dtype: of parameters and activations; the columns of observations are float32 in any case.

    Raises:
        ValueError: the task is not as `Task` says, or a host cannot be built for its images; `rules` enables a slot
            that the host does not have, or no blueprint that fits its topology.
    """

    def __init__(
        self,
        task: Task,
        config: HostConfig,
        *,
        rules: LegalityRules = LegalityRules(),  # noqa: B008  (frozen)
        gates: Gates | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        check_task(task)
        self._task, self._config, self._dtype = task, config, dtype
        channels, height, width = task.train.images.shape[1:]
        self._image_shape = (channels, height, width)
        self._validation = Split(*(part[: config.validation_samples] for part in task.validation))
        self._gates = gates or Gates.for_episode(config.max_epochs)
        self.slot_config = SlotConfig.from_specs(host_slots(config.width))
        steps = math.ceil(len(task.train.labels) / config.batch_size)
        self.task_config = TaskConfig(
            name=task.name,
            topology=config.topology,
            max_epochs=config.max_epochs,
            max_steps=config.max_epochs * steps,
            max_seeds=config.max_seeds,
            num_classes=task.num_classes,
            baseline_loss=math.log(task.num_classes),
            target_loss=TARGET_LOSS,
            host_params=host_size(config, self._image_shape, task.num_classes),
            parameter_price=config.parameter_price,
        )
        self.rules = rules
        self._slot_rules = SlotRules.of(rules, self.slot_config, self.task_config)
        self._steps_per_epoch = steps
        self._episode: Episode | None = None

    @property
    def num_envs(self) -> int:
        """Hosts of the present episode."""
        return len(self._present.life.stage)

    @property
    def epoch(self) -> int:
        """Epochs trained in the present episode."""
        return self._present.epoch

    @property
    def task_configs(self) -> tuple[TaskConfig, ...]:
        """The task as each host of the present episode has it: with its own price."""
        return tuple(
            replace(self.task_config, parameter_price=float(price)) for price in self._present.prices
        )

    def reset(
        self,
        seeds: Sequence[int],
        grown: Sequence[Mapping[str, GrownSeed]] | None = None,
        *,
        parameter_prices: Sequence[float] | None = None,
    ) -> Observation[Tensor]:
        """Set out fresh hosts, measured before any training.

        Args:
            seeds: one per host, at least one, none negative; it sets first weights and the order of data.
            grown: seeds that each host holds from the start, fossilized; None for bare hosts.
            parameter_prices: what a parameter costs each host, see `leyline_types.TaskConfig`; None: the config's, for
                all. Nothing but what is observed depends on it.

        Raises:
            ValueError: no seeds, one outside 0 to 2^63 - 1, `grown` or `parameter_prices` of another length, an unknown
                slot, a blueprint that does not fit, or a price that is negative or not finite.
            DivergedHostError: a host's loss is not finite.
        """
        seeds = [int(seed) for seed in seeds]
        if not seeds:
            raise ValueError("`seeds` must hold at least one host seed")
        if not 0 <= min(seeds) <= max(seeds) < 2**63:
            raise ValueError(f"host seeds must lie in 0 to 2^63 - 1, not {min(seeds)} to {max(seeds)}")
        if grown is not None and len(grown) != len(seeds):
            raise ValueError(f"`grown` describes {len(grown)} hosts, `seeds` {len(seeds)}")
        prices = [self._config.parameter_price] * len(seeds) if parameter_prices is None else parameter_prices
        if len(prices) != len(seeds):
            raise ValueError(f"`parameter_prices` holds {len(prices)} prices, `seeds` {len(seeds)}")
        for host, price in enumerate(prices):
            check_price(price, f"`parameter_prices` of host {host}")
        bare = empty_lifecycle(len(seeds), len(self.slot_config))
        with torch.inference_mode(False):
            life = bare if grown is None else fossilized(grown, self.slot_config)
            self._episode = self._begin(seeds, torch.tensor(prices, dtype=torch.float32), life)
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
        if self.epoch >= self._config.max_epochs:
            raise RuntimeError(f"the episode ended after {self._config.max_epochs} epochs; call reset")
        check_actions(actions, self.slot_config, self.num_envs)
        with torch.inference_mode(False):  # which brings gradients back under `no_grad` too
            return self._step(FactoredActions(*(head.clone() for head in actions)))

    def _step(self, actions: FactoredActions[Tensor]) -> StepOutcome:
        now = self._present
        accuracy = now.hosts.validation.accuracy
        measured = gate_inputs(now.hosts, now.seeds)
        applied = apply_actions(now.life, actions, self._slot_rules, self._gates, measured)
        self._plant(now, applied.state)
        life = tick(applied.state, self._gates, now.life.alpha)
        for host, slot in (now.life.live & ~life.live).nonzero().tolist():
            now.networks.forget(host, slot)
        epoch = train_epoch(
            now.networks,
            life,
            self._task.train,
            self._next_order(now),
            batch_size=self._config.batch_size,
        )
        evaluation = evaluate(now.networks, life, self._validation, interactions=self._config.interactions)
        now.watch, diverged = watch(now.watch, epoch.score, evaluation.score)
        if diverged.any():
            life = roll_back(now.networks, now.snapshot, life, diverged)
            evaluation = evaluate(
                now.networks, life, self._validation, interactions=self._config.interactions
            )
            restored = score_hosts(now.networks, life, self._task.train)
            epoch = forget_epoch(epoch, restored, diverged)
            if not is_finite(epoch.score, evaluation.score).all():
                raise DivergedHostError(
                    "a host is not finite although its last sound parameters were restored"
                )
        now.snapshot = update_snapshot(now.networks, now.snapshot, now.watch.strikes == 0)
        sizes = now.networks.seed_sizes(life)
        now.seeds = next_seed_measures(
            now.seeds, life, accuracy, epoch, evaluation, sizes, self.task_config.host_params
        )
        now.hosts = next_measures(now.hosts, epoch, evaluation.score)
        now.diagnostics = diagnose(now.networks, life, self._validation)
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
            now.diagnostics,
            prices=now.prices,
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

    def state_dict(self) -> dict[str, Tensor]:
        """All that the rest of the episode depends on, by name: hosts, seeds, lifecycle, measures, random states.

        The tensors are copies; safetensors stores them as they are. A population with the same arguments that loads
        them goes on bit for bit as this one would.
        """
        settings = describe(self._task, self._config, self.rules, self._gates, self._dtype)
        return {**episode_state(self._present), "settings": encode(settings)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from where `state_dict` was taken.

        Raises:
            StateError: the state is of a population with other arguments, or damaged; this one is then as before.
        """
        check_mapping(state)
        check_settings(state, describe(self._task, self._config, self.rules, self._gates, self._dtype))
        seeds = dense(state.get("host_seeds"), "'host_seeds' of the state")
        if seeds.dim() != 1 or seeds.dtype != torch.long or not len(seeds) or seeds.min() < 0:
            raise StateError(
                f"'host_seeds' of the state is {seeds.dtype} of shape {tuple(seeds.shape)}, expected torch.int64 of "
                "(hosts,), at least one and none negative"
            )
        # Looked at before so many hosts are built: a generator's state is large, so that the file must be too.
        take(state, "orders", torch.Generator().get_state().expand(len(seeds), -1))
        bare = empty_lifecycle(len(seeds), len(self.slot_config))
        blank = Score(torch.zeros(len(seeds)), torch.zeros(len(seeds)))  # what was measured is in the state
        with torch.inference_mode(False):
            networks = self._fresh_networks(seeds.tolist())
            prices = torch.zeros(len(seeds))
            nothing = unknown_diagnostics(len(seeds), len(self.slot_config))
            fresh = begin(seeds.tolist(), prices, networks, bare, blank, blank, nothing)
            self._episode = restore(
                fresh,
                state,
                max_epochs=self._config.max_epochs,
                steps_per_epoch=self._steps_per_epoch,
            )

    @property
    def _present(self) -> Episode:
        if self._episode is None:
            raise RuntimeError("the population has no hosts yet; call reset")
        return self._episode

    def _begin(self, seeds: Sequence[int], prices: Float[Tensor, " host"], life: Lifecycle) -> Episode:
        networks = self._fresh_networks(seeds)
        for host, slot in life.occupied.nonzero().tolist():
            networks.plant(host, slot, BlueprintAction(int(life.blueprint[host, slot])), 0)
        train, validation = (
            score_hosts(networks, life, part) for part in (self._task.train, self._validation)
        )
        diagnostics = diagnose(networks, life, self._validation)
        return begin(seeds, prices, networks, life, train, validation, diagnostics)

    def _fresh_networks(self, seeds: Sequence[int]) -> HostNetworks:
        return HostNetworks(seeds, self._config, self._image_shape, self._task.num_classes, self._dtype)

    def _plant(self, now: Episode, life: Lifecycle) -> None:
        germinated = (life.stage == SeedStage.GERMINATED) & (now.life.stage == SeedStage.DORMANT)
        places = [(host, slot) for host, slot in germinated.nonzero().tolist()]
        for host, slot in places:
            blueprint = BlueprintAction(int(life.blueprint[host, slot]))
            now.networks.plant(host, slot, blueprint, int(now.planted[host, slot]))
        now.planted = now.planted + germinated
        if places:
            now.snapshot = add_planted(now.networks, now.snapshot, places)

    def _next_order(self, now: Episode) -> Int[Tensor, "host sample"]:
        samples = len(self._task.train.labels)
        return torch.stack([torch.randperm(samples, generator=order) for order in now.orders])
