"""Run folders that look like real ones, made of random numbers through the real `RunFolder`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import exp
from pathlib import Path
from typing import Any

import numpy as np

from kasmina_hosts import Lack
from leyline_types import (
    HEAD_NAMES,
    BlueprintAction,
    FactoredAction,
    GerminationStyle,
    LifecycleOp,
    SeedStage,
    SlotConfig,
    TempoAction,
    germinable_blueprints,
    head_sizes,
)
from simic_training.evaluation.tables import Column, Table, table_to_json
from simic_training.runs.config import TrainConfig
from simic_training.runs.folder import EPISODES, EVALUATION, METRICS, RunFolder
from simic_training.statistics import Estimate

Stages = list[tuple[SeedStage, BlueprintAction | None]]
PARTS = {"host": 0.62, "features": 0.05, "masks": 0.04, "policy": 0.11, "update": 0.18}


@dataclass(frozen=True)
class Acted:
    epoch: int
    action: FactoredAction
    took_effect: bool


def make_run(
    path: Path,
    config: TrainConfig,
    *,
    updates: int | None = None,
    evaluated: bool = False,
    task: str | None = None,
) -> RunFolder:
    """A run of which so many updates were done; all of them without `updates`."""
    run = RunFolder.create(path, config)
    add_updates(run, config, range(config.updates if updates is None else updates), task=task)
    if evaluated:
        write_evaluation(run, made_up_tables())
    return run


def write_evaluation(run: RunFolder, tables: list[Table]) -> None:
    """As `tamiyo evaluate` leaves it, with what the page looks at."""
    judged = len(run.read_lines(EPISODES))
    content = {
        "settings": {"trained_episodes": judged},
        "tables": [table_to_json(table) for table in tables],
    }
    run.write_json(EVALUATION, content)


def add_updates(run: RunFolder, config: TrainConfig, which: range, *, task: str | None = None) -> None:
    played, metrics = [], []
    for update in which:
        rng = np.random.default_rng((config.seed, update))
        episodes = list(_episodes(config, update, rng, task))
        played += episodes
        metrics.append(metrics_line(config, update, episodes, rng))
    run.append_lines(EPISODES, played)
    run.append_lines(METRICS, metrics)


def metrics_line(
    config: TrainConfig, update: int, episodes: Sequence[dict[str, Any]], rng: np.random.Generator
) -> dict[str, Any]:
    learnt = 1 - exp(-3 * (update + 1) / config.updates)
    returns = np.array([episode["return"] for episode in episodes])
    margin = 1.96 * returns.std() / len(returns) ** 0.5
    took = 3.1 + 0.5 * learnt + abs(rng.normal(0, 0.2))
    steps = config.batch * config.epochs_of(update)
    return {
        "update": update + 1,
        "episodes": (update + 1) * config.batch,
        "env_steps": config.steps_until(update + 1),
        "max_epochs": config.epochs_of(update),
        "price": float(np.mean([episode["price"] for episode in episodes])),
        "return": {
            "mean": float(returns.mean()),
            "low": float(returns.mean() - margin),
            "high": float(returns.mean() + margin),
        },
        "return_accuracy": float(np.mean([episode["return_accuracy"] for episode in episodes])),
        "return_rent": float(np.mean([episode["return_rent"] for episode in episodes])),
        "val_accuracy": float(np.mean([episode["val_accuracy"][-1] for episode in episodes])),
        "size": float(np.mean([episode["size"] for episode in episodes])),
        "took_effect": float(min(1.0, 0.7 + 0.25 * learnt + rng.normal(0, 0.01))),
        "rollbacks": {"hosts": 0, "of": config.batch, "times": 0},
        "staleness": 0,
        "actions": _counts(episodes, config.epochs_of(update)),
        "head_entropy": {
            head: None
            if head == "alpha_curve" and update < config.updates / 2
            else float(np.clip(1 - 0.6 * learnt * (0.5 + index / 10) + rng.normal(0, 0.01), 0, 1))
            for index, head in enumerate(HEAD_NAMES)
        },
        "actor_loss": float(rng.normal(-0.01, 0.003)),
        "critic_loss": float(0.4 - 0.3 * learnt),
        "entropy": float(3 - 2 * learnt),
        "approx_kl": float(abs(rng.normal(0.009, 0.003))),
        "clip_fraction": float(abs(rng.normal(0.08, 0.02))),
        "gradient_norm": float(abs(rng.normal(0.9, 0.3))),
        "explained_variance": None if update == 0 else float(-1.4 + 2.2 * learnt + rng.normal(0, 0.05)),
        "gradient_steps": 32,
        "entropy_weight": config.ppo.entropy_weight(config.progress(update)),
        "learning_rate": config.ppo.learning_rate_at(config.progress(update)),
        "held_back": [op.name for op in config.held_back(update)],
        "seconds": {part: 2 * share * took for part, share in PARTS.items()},  # of two workers
        "rollout": {
            "seconds": took,
            "workers": {f"worker_{number}": {"units": 1, "seconds": took} for number in range(2)},
            "slowest_over_median": 1.5,
            "faults": 0,
        },
        "steps_per_second": steps / took,
    }


def _counts(episodes: Sequence[dict[str, Any]], epochs: int) -> dict[str, list[int]]:
    slots = SlotConfig.default()
    counts = {head: [0] * size for head, size in zip(HEAD_NAMES, head_sizes(slots), strict=True)}
    for episode in episodes:
        for action in episode["actions"]:
            counts["op"][LifecycleOp[action["op"]]] += 1
            counts["slot"][slots.index(action["slot"])] += 1
            if action["op"] == "GERMINATE":
                name = action["text"].split("blueprint=")[1].split()[0]
                counts["blueprint"][BlueprintAction[name]] += 1
    acted = sum(counts["op"])
    counts["op"][LifecycleOp.WAIT] = len(episodes) * epochs - acted
    return counts


def _episodes(
    config: TrainConfig, update: int, rng: np.random.Generator, task: str | None
) -> Iterator[dict[str, Any]]:
    slots = SlotConfig.default()
    epochs = config.epochs_of(update)
    least, greatest = config.env.prices
    progress = config.progress(update)
    for group in range(config.groups):
        classes = (2, 5, 10, 5)[(update + group) % 4]
        noise = float(rng.choice([0.0, 0.4]))
        digits = ",".join(map(str, sorted(rng.permutation(10)[:classes].tolist())))
        name = f"digits classes {digits}" + (f" noise {noise}" if noise else "")
        width, lack = int(rng.integers(4, 9)), str(rng.choice(["nothing", "squeeze", "width"]))
        for host in range(config.env.group_size):
            acted: list[Acted] = []
            held: dict[str, Stages] = {}
            for slot in slots:
                actions, held[slot] = _grow(rng, slot, epochs, progress, config.held_back(update) == ())
                acted.extend(actions)
            kept = sum(stages[-1][0] in (SeedStage.HOLDING, SeedStage.FOSSILIZED) for stages in held.values())
            top = {2: 98, 5: 88, 10: 72}[classes] - 12 * noise + 2 * kept + 6 * progress + rng.normal(0, 2.5)
            start = 100 / classes
            curve = [
                float(
                    np.clip(top - (top - start) * exp(-epoch / 5) + rng.normal(0, 1.2) * (epoch > 0), 0, 100)
                )
                for epoch in range(epochs + 1)
            ]
            size = 1 + kept * (1.1 - 0.5 * progress)
            price = float(least * (greatest / least) ** rng.random())
            gained, rent = (curve[-1] - curve[0]) / 10, -price * (size - 1)
            yield {
                "episode": update * config.batch + group * config.env.group_size + host,
                "update": update + 1,
                "task": task or name,
                "lack": Lack(lack).value,
                "width": width,
                "max_epochs": epochs,
                "price": price,
                "host_seed": 2 * int(rng.integers(2**40)),
                "return": gained + rent,
                "return_accuracy": gained,
                "return_rent": rent,
                "size": size,
                "rolled_back": [],
                "val_accuracy": [round(value, 2) for value in curve],
                "actions": [
                    {
                        "epoch": each.epoch,
                        "text": each.action.describe(),
                        "op": each.action.op.name,
                        "slot": each.action.slot_id,
                        "took_effect": each.took_effect,
                    }
                    for each in sorted(acted, key=lambda each: each.epoch)
                ],
                "slots": {slot: list(_stays(stages)) for slot, stages in held.items()},
            }


def _grow(
    rng: np.random.Generator, slot: str, epochs: int, progress: float, may_prune: bool
) -> tuple[list[Acted], Stages]:
    """What is done to a slot, and its stage at the end of every epoch, the untrained host first."""
    acted: list[Acted] = []
    stages: Stages = [(SeedStage.DORMANT, None)]
    liked = germinable_blueprints(TrainConfig().env.host.topology)
    while len(stages) <= epochs:
        waited = int(rng.integers(0, 1 + max(2, round(12 * (1 - progress)))))
        stages += [(SeedStage.DORMANT, None)] * waited
        weights = np.array([1 + 6 * progress * (each.name in ("CONV_SMALL", "NORM")) for each in liked])
        blueprint = liked[int(rng.choice(len(liked), p=weights / weights.sum()))]
        tempo = TempoAction(int(rng.integers(3)))
        style = GerminationStyle(int(rng.integers(4)))
        acted.append(
            Acted(
                len(stages),
                FactoredAction(LifecycleOp.GERMINATE, slot, blueprint=blueprint, tempo=tempo, style=style),
                took_effect=True,
            )
        )
        for stage, stays in (
            (SeedStage.GERMINATED, 1),
            (SeedStage.TRAINING, 2 + int(rng.integers(4))),
            (SeedStage.BLENDING, tempo.epochs),
            (SeedStage.HOLDING, 1 + int(rng.integers(3))),
        ):
            stages += [(stage, blueprint)] * stays
            if rng.random() < 0.3:
                early = Acted(len(stages) - 1, FactoredAction(LifecycleOp.ADVANCE, slot), took_effect=False)
                acted.append(early)
            acted.append(Acted(len(stages), FactoredAction(LifecycleOp.ADVANCE, slot), took_effect=True))
        if may_prune and rng.random() < 0.3:
            acted[-1] = Acted(len(stages), FactoredAction(LifecycleOp.PRUNE, slot), took_effect=True)
            for stage, stays in ((SeedStage.PRUNED, 1), (SeedStage.EMBARGOED, 5), (SeedStage.RESETTING, 1)):
                stages += [(stage, blueprint)] * stays
        elif rng.random() < 0.7:
            acted[-1] = Acted(len(stages), FactoredAction(LifecycleOp.FOSSILIZE, slot), took_effect=True)
            stages += [(SeedStage.FOSSILIZED, blueprint)] * epochs
        else:
            acted.pop()
            stages += [(SeedStage.HOLDING, blueprint)] * epochs
    return [each for each in acted if each.epoch <= epochs], stages[: epochs + 1]


def _stays(stages: Stages) -> Iterator[dict[str, Any]]:
    started = 0
    for epoch, (stage, blueprint) in enumerate(stages):
        if epoch + 1 == len(stages) or stages[epoch + 1] != (stage, blueprint):
            yield {
                "from": started,
                "to": epoch,
                "stage": stage.name,
                "blueprint": None if blueprint is None else blueprint.blueprint_id,
                "alpha": 1.0 if stage in (SeedStage.HOLDING, SeedStage.FOSSILIZED) else 0.0,
            }
            started = epoch + 1


def made_up_tables() -> list[Table]:
    """An evaluation of more controllers than a drawing shows, and one without a score."""
    rng = np.random.default_rng(5)
    names = [
        "policy",
        "policy-greedy",
        "none",
        "random",
        "heuristic",
        "best schedule",
        "static-seeds",
        "static-wide",
    ]
    names += [
        f"{blueprint.blueprint_id} {slots} @{start}"
        for blueprint in germinable_blueprints(TrainConfig().env.host.topology)
        for slots in ("r0c1", "all")
        for start in (0, 5)
    ]
    rows = {}
    for index, name in enumerate(names):
        middle = 81.5 - 0.35 * index + rng.normal(0, 0.4)
        rows[name] = (
            Estimate(middle, middle - 2.1, middle + 2.2),
            Estimate(1 + 0.1 * index, 0.9 + 0.1 * index, 1.1 + 0.1 * index),
            None if name == "policy" else Estimate(81.5 - middle, 80.1 - middle, 82.9 - middle),
            7.2 - 0.02 * index,
        )
    return [
        Table(
            title="Held-out hosts (40 hosts)",
            note="All grow the same 40 hosts, prices 0.08 to 1.2; test split, 95 % intervals over members.",
            columns=(
                Column(name="test accuracy %"),
                Column(name="size", decimals=2),
                Column(name="policy leads by, points"),
                Column(name="return", decimals=2),
            ),
            rows=rows,
        ),
        Table(
            title="What it cost",
            note="Seconds on this machine; the policy's training counts once.",
            columns=(Column(name="seconds", decimals=0), Column(name="where")),
            rows={"policy": (412.0, "training and use"), "heuristic": (0.4, "use")},
        ),
    ]
