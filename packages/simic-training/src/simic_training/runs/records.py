"""What a run writes down: a line per update in metrics.jsonl, a line per episode in episodes.jsonl.

All but `CLOCK_FIELDS` is the same in every run of the same settings.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import torch

from leyline_types import BlueprintAction, FactoredAction, FactoredActions, LifecycleOp, SeedStage, SlotConfig
from simic_training.engines.load import Load
from simic_training.growth.episodes import Episodes
from simic_training.ppo.update import UpdateStats
from simic_training.runs.config import TrainConfig
from simic_training.runs.rollout import Rollout
from simic_training.statistics import estimate

CLOCK_FIELDS: Final = ("seconds", "steps_per_second", "rollout")
"""The fields of a line of metrics that depend on the machine and the hour."""


class Rollbacks(NamedTuple):
    """How many hosts of an update diverged, so that they were set back to their last sound state.

    Args:
        hosts: those that did at least once.
        of: hosts in all.
        times: how often, summed over the hosts.
    """

    hosts: int
    of: int
    times: int

    @classmethod
    def among(cls, played: Iterable[Episodes]) -> "Rollbacks":
        """Those of some episodes, at least one."""
        rolled_back = torch.cat([episodes.rolled_back for episodes in played])
        return cls(int(rolled_back.any(1).sum()), len(rolled_back), int(rolled_back.sum()))

    @property
    def widespread(self) -> bool:
        """Whether it was at least half of the hosts."""
        return 2 * self.hosts >= self.of


def metrics_record(
    config: TrainConfig,
    update: int,
    rollouts: Sequence[Rollout],
    stats: UpdateStats,
    *,
    head_entropy: dict[str, float | None],
    actions: dict[str, list[int]],
    update_seconds: float,
    staleness: int,
    load: Load,
    seconds: float,
) -> dict[str, Any]:
    """The line that an update leaves in metrics.jsonl.

    Args:
        config: of the run.
        update: counted from 0; it is written counted from 1.
        rollouts: what the update learnt from. The interval of the return is over its episodes, given its hosts.
        stats: of the update.
        head_entropy, actions: see `ppo.diagnostics`.
        update_seconds: what it took.
        staleness: updates that its weights were ahead of those that the networks were grown with.
        load: who grew the networks, and how long that took.
        seconds: since the update before.
    """
    played = [rollout.episodes for rollout in rollouts]
    returns = torch.cat([episodes.episode_return for episodes in played])
    spent = {
        part: sum(rollout.seconds[part] for rollout in rollouts)
        for part in ("host", "features", "masks", "policy")
    }
    spent["update"] = update_seconds
    rollbacks = Rollbacks.among(played)
    epochs = config.epochs_of(update)
    steps = config.batch * epochs
    return {
        "update": update + 1,
        "episodes": (update + 1) * config.batch,
        "env_steps": config.steps_until(update + 1),
        "max_epochs": epochs,
        "price": _mean([episodes.price for episodes in played]),
        "return": estimate(returns)._asdict(),
        "return_accuracy": _mean([episodes.reward.accuracy.sum(-1) for episodes in played]),
        "return_rent": _mean([episodes.reward.rent.sum(-1) for episodes in played]),
        "val_accuracy": _mean([episodes.val_accuracy[:, -1] for episodes in played]),
        "size": _mean([episodes.size for episodes in played]),
        "took_effect": _mean([episodes.took_effect.float() for episodes in played]),
        "rollbacks": rollbacks._asdict(),
        "staleness": staleness,
        "actions": actions,
        "head_entropy": head_entropy,
        **stats._asdict(),
        "entropy_weight": config.ppo.entropy_weight(config.progress(update)),
        "learning_rate": config.ppo.learning_rate_at(config.progress(update)),
        "held_back": [op.name for op in config.held_back(update)],
        "seconds": spent,
        "rollout": {
            "seconds": load.seconds,
            "workers": {
                name: {"units": units, "seconds": busy} for name, (units, busy) in load.workers.items()
            },
            "slowest_over_median": load.slowest,
            "faults": load.faults,
        },
        "steps_per_second": steps / seconds,
    }


def _mean(values: Sequence[torch.Tensor]) -> float:
    return float(torch.cat([value.flatten() for value in values]).mean())


def episode_records(
    episodes: Episodes, slot_config: SlotConfig, *, first: int, update: int
) -> Iterator[dict[str, Any]]:
    """The lines that episodes leave in episodes.jsonl.

    Args:
        episodes: what happened.
        slot_config: names of the slots.
        first: number of the first of these episodes in the run.
        update: the update that learnt from them, counted from 1.
    """
    host = 0
    for group in episodes.groups:
        for place, host_seed in enumerate(group.host_seeds):
            yield {
                "episode": first + host,
                "update": update,
                **group.describe_host(place),
                "host_seed": host_seed,
                "return": float(episodes.episode_return[host]),
                "return_accuracy": float(episodes.reward.accuracy[host].sum()),
                "return_rent": float(episodes.reward.rent[host].sum()),
                "size": float(episodes.size[host]),
                "rolled_back": [
                    epoch + 1 for epoch in episodes.rolled_back[host].nonzero().flatten().tolist()
                ],
                "val_accuracy": [round(value, 2) for value in episodes.val_accuracy[host].tolist()],
                "actions": list(action_events(episodes, host, slot_config)),
                "slots": {
                    slot: list(_stages(episodes, host, index)) for index, slot in enumerate(slot_config)
                },
            }
            host += 1


def action_events(episodes: Episodes, host: int, slot_config: SlotConfig) -> Iterator[dict[str, Any]]:
    """Every action but WAIT: the epoch that followed it (from 1), its heads in words, and whether it took effect."""
    for epoch in range(episodes.took_effect.shape[1]):
        indices = FactoredActions(*(int(head[host, epoch]) for head in episodes.actions))
        if indices.op != LifecycleOp.WAIT:
            action = FactoredAction.from_indices(indices, slot_config)
            yield {
                "epoch": epoch + 1,
                "text": action.describe(),
                "op": LifecycleOp(indices.op).name,
                "slot": slot_config.slot_ids[indices.slot],
                "took_effect": bool(episodes.took_effect[host, epoch]),
            }


def _stages(episodes: Episodes, host: int, slot: int) -> Iterator[dict[str, Any]]:
    """Runs of one stage: first epoch, stage, blueprint (None while empty) and alpha at its end."""
    stages, blueprints = episodes.stage[host, :, slot].tolist(), episodes.blueprint[host, :, slot].tolist()
    alphas = episodes.alpha[host, :, slot].tolist()
    started = 0
    for epoch, stage in enumerate(stages):
        last = epoch + 1 == len(stages) or (stages[epoch + 1], blueprints[epoch + 1]) != (
            stage,
            blueprints[epoch],
        )
        if last:
            empty = stage == SeedStage.DORMANT
            yield {
                "from": started,
                "to": epoch,
                "stage": SeedStage(stage).name,
                "blueprint": None if empty else BlueprintAction(blueprints[epoch]).blueprint_id,
                "alpha": round(alphas[epoch], 3),
            }
            started = epoch + 1
