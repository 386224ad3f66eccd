"""How much better than fixed schedules a rule that looks can be on a family of hosts, before any policy is trained.

Every choice is made on training hosts: which schedule is best, for all prices, for each, for each and each kind of
hosts; and the model of `look, then leap`. All are then scored on held-out hosts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean
from typing import Any, Final, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from leyline_types import BlueprintAction
from simic_training.engines.unit import Engine
from simic_training.evaluation.comparisons import INTERVALS
from simic_training.evaluation.headroom_units import (
    LEAP,
    PER_PRICE,
    PRICES,
    USUAL,
    headroom_batches,
    headroom_plan,
    rivals_of,
)
from simic_training.evaluation.look_then_leap import LOOK_EPOCHS
from simic_training.evaluation.outcomes import Outcomes, check_paired, join_outcomes
from simic_training.evaluation.parts import OnProgress, PartsFolder, tell_nobody
from simic_training.evaluation.schedules import NONE, Schedule, ScheduleChoice, choice_rows
from simic_training.evaluation.stages import EvaluationOptions, Stage
from simic_training.evaluation.tables import (
    Cell,
    Column,
    Table,
    table_from_json,
    table_to_json,
    table_to_markdown,
)
from simic_training.evaluation.units import SINGLE, play_lots
from simic_training.runs.config import TrainConfig
from simic_training.runs.settings import config_to_mapping
from simic_training.statistics import Estimate

FORMAT: Final = 1
JUDGED: Final = LEAP
"""What the gate is about, named before anything is scored: the better of two rules would be the luckier."""
LEAD_PER_PRICE: Final = 0.15
LEAD_SINGLE: Final = 0.3
NORM_SHARE: Final = 1 / 3
NONE_SHARE: Final = 0.1


class Demand(NamedTuple):
    """A line of the gate: what is asked of the family, what was found, and whether that is enough."""

    demand: str
    figure: str
    reached: bool

    def __str__(self) -> str:
        return f"{'reached' if self.reached else 'not reached'}: {self.demand}: {self.figure}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Headroom:
    """The result of `measure_headroom`.

    Args:
        settings: as plain data, and the mean effects of every arm on the training hosts.
        tables: the rivals; the same by kind; the choices.
        gate: what is asked of a family, line by line.
        arms: what every arm brought on each training host, see `look_then_leap.table_to_bytes`.
    """

    settings: Mapping[str, Any]
    tables: tuple[Table, ...]
    gate: tuple[Demand, ...]
    arms: bytes


def measure_headroom(
    config: TrainConfig,
    options: EvaluationOptions = USUAL,
    *,
    engine: Engine | None = None,
    folder: PartsFolder | None = None,
    on_progress: OnProgress = tell_nobody,
) -> Headroom:
    """Play all arms on training hosts, choose, and score the choices and the rules that look on held-out hosts.

    Args:
        config: settings; of them `env` counts.
        options: how many hosts, and their seed; `full` and `data` do not matter.
        engine, folder, on_progress: see `play_lots`. In the end the folder holds the parts of this work alone.

    Raises:
        ValueError, FileNotFoundError: see `headroom_plan`.
        RunFolderError, UnitFailedError, OSError: see `play_lots`.
    """
    plan = headroom_plan(config.env, options)
    config = replace(config, env=plan.held_out.draw.env)  # with the digest of the data
    measured = play_lots(
        headroom_batches(config.env, plan), plan.lots, engine=engine, folder=folder, on_progress=on_progress
    )
    chosen_on = {name: value for name, value in asdict(options).items() if name not in ("full", "data")}
    rivals = rivals_of(measured.choices, measured.held_out.outcomes)
    return Headroom(
        settings={
            "config": config_to_mapping(config),
            "options": chosen_on,
            "prices": list(PRICES),
            "schedules": list(choice_rows(measured.choices.overall)),
        },
        tables=(
            rivals_table(rivals),
            kinds_table(rivals),
            choices_table(measured.choices.overall, plan.training),
        ),
        gate=gate_of(rivals, measured.choices.overall),
        arms=measured.arms,
    )


def lead_over(name: str, other: str, rivals: Mapping[str, Sequence[Outcomes]]) -> Estimate:
    """How much more return one has than the other, mean over prices, host by host.

    Raises:
        ValueError: they were played on different hosts.
    """
    for mine, theirs in zip(rivals[name], rivals[other], strict=True):
        check_paired(other, theirs, mine)
    return rivals[name][0].mean(_returns(rivals[name]) - _returns(rivals[other]))


def rivals_table(rivals: Mapping[str, Sequence[Outcomes]]) -> Table:
    """A row for each rival: its return, its leads over schedules, its return at each price, its size."""
    rows: dict[str, tuple[Cell, ...]] = {}
    for name, priced in rivals.items():
        rows[name] = (
            priced[0].mean(_returns(priced)),
            *(None if name == other else lead_over(name, other, rivals) for other in (SINGLE, PER_PRICE)),
            *(float(each.episode_return.mean()) for each in priced),
            fmean(float(each.size.mean()) for each in priced),
        )
    hosts = rivals[NONE][0].hosts
    return Table(
        title=f"Headroom ({len(hosts)} held-out hosts)",
        note=(
            f"return: mean over the prices {', '.join(f'{price:g}' for price in PRICES)}. Schedules are chosen on "
            f"training hosts, and no rule is told the kind of a host. {LEAP}: {LOOK_EPOCHS} epochs without growth, "
            "then the schedule that is best at this price, or none, by what training hosts gained that lack what this "
            "host seems to lack. size: final parameters over the bare host's. "
            f"{len({host.member for host in hosts})} members of the family. {INTERVALS}"
        ),
        columns=(
            Column(name="return", decimals=2),
            Column(name=f"over {SINGLE}", decimals=2),
            Column(name="over best per price", decimals=2),
            *(Column(name=f"return at {price:g}", decimals=2) for price in PRICES),
            Column(name="size", decimals=2),
        ),
        rows=rows,
    )


def kinds_table(rivals: Mapping[str, Sequence[Outcomes]]) -> Table:
    """A row for each kind of hosts: the mean return of every rival over all prices."""
    rows: dict[str, tuple[Cell, ...]] = {}
    hosts = rivals[NONE][0].hosts
    for lack in dict.fromkeys(host.lack for host in hosts):
        means = [
            float(_returns([each.of_lack(lack) for each in priced]).mean()) for priced in rivals.values()
        ]
        rows[f"{lack.value} ({sum(host.lack is lack for host in hosts)} hosts)"] = tuple(means)
    return Table(
        title="Return by what the bare hosts lack",
        note="Means over the hosts of each kind and over all prices.",
        columns=tuple(Column(name=name, decimals=2) for name in rivals),
        rows=rows,
    )


def choices_table(choice: ScheduleChoice, stage: Stage) -> Table:
    """A row for each price and one for all: which schedules are best on the training hosts.

    Args:
        choice: made on these hosts.
        stage: the training hosts.
    """
    norm = _norm_everywhere(choice)
    levels = [(f"at {price:g}", price) for price in PRICES]
    rows: dict[str, tuple[Cell, ...]] = {}
    for level, price in (*levels, ("all prices", fmean(PRICES))):
        ranked = [(_name(each), worth) for each, worth in choice.ranked(price)]
        (best, most), (second, next_most) = ranked[:2]
        rows[level] = (best, most, second, next_most, dict(ranked).get(norm))
    return Table(
        title=f"Choices ({stage.members * stage.draw.per_member} training hosts)",
        note=(
            f"Of {len(choice.arms)} schedules and none, on {stage.members} members that are not held out. return: "
            "beside growing nothing."
        ),
        columns=(
            Column(name="best"),
            Column(name="its return", decimals=2),
            Column(name="second"),
            Column(name="return of second", decimals=2),
            Column(name="return of norm everywhere", decimals=2),
        ),
        rows=rows,
    )


def gate_of(rivals: Mapping[str, Sequence[Outcomes]], choice: ScheduleChoice) -> tuple[Demand, ...]:
    """What is asked of a family that shall teach a policy to look, line by line.

    Args:
        rivals: from `rivals_of`.
        choice: made on all training hosts.
    """
    best = {price: _name(choice.best_at(price)) for price in PRICES}
    return (
        lead_demand(PER_PRICE, lead_over(JUDGED, PER_PRICE, rivals), LEAD_PER_PRICE),
        lead_demand(SINGLE, lead_over(JUDGED, SINGLE, rivals), LEAD_SINGLE),
        norm_demand(best, _norm_everywhere(choice)),
        none_demand(*bare_hosts(rivals)),
    )


def lead_demand(other: str, lead: Estimate, least: float) -> Demand:
    """That the rule that is judged leads another by so much, surely by something."""
    return Demand(
        f'"{JUDGED}" leads the {other} by at least {least:g}, with an interval above 0',
        lead.describe(2),
        lead.mean >= least and lead.low > 0,
    )


def norm_demand(best: Mapping[float, str], norm: str) -> Demand:
    """That the seed that repairs a bad condition anywhere is not what to plant everywhere, whatever it costs.

    Args:
        best: at each price, the name of the schedule that is best on training hosts.
        norm: that of the schedule of norms in all slots.
    """
    prices = [price for price, name in best.items() if name == norm]
    where = f" ({', '.join(f'{price:g}' for price in prices)})" if prices else ""
    return Demand(
        "norm everywhere is the best schedule at no more than one price level in three",
        f"at {len(prices)} of {len(best)}{where}",
        len(prices) <= NORM_SHARE * len(best),
    )


def bare_hosts(rivals: Mapping[str, Sequence[Outcomes]]) -> tuple[float, Estimate | None]:
    """On what share of the hosts the rule that is judged grows nothing, and how much that saves there.

    What is best on a host is not told by playing every schedule on it once: the best of many is the luckiest. So hosts
    are told apart by a rule that was fitted on others, and growing nothing is compared with one rival.

    Returns:
        The share, mean over the prices, 0 to 1; and the lead of `NONE` over the best schedule per price on those hosts,
        None where there are none.
    """
    places = [torch.nonzero(each.size == 1).flatten().tolist() for each in rivals[JUDGED]]
    share = fmean(len(taken) / len(each.hosts) for taken, each in zip(places, rivals[JUDGED], strict=True))
    if not share:
        return 0.0, None
    none, grown = (
        join_outcomes([each.take(taken) for each, taken in zip(rivals[name], places, strict=True)])
        for name in (NONE, PER_PRICE)
    )
    check_paired(PER_PRICE, grown, none)
    return share, none.mean(none.episode_return - grown.episode_return)


def none_demand(share: float, lead: Estimate | None) -> Demand:
    """That a rule has to tell whether to grow at all.

    Args:
        share, lead: from `bare_hosts`.
    """
    there = "" if lead is None else f"; there none leads the {PER_PRICE} by {lead.describe(2)}"
    return Demand(
        f"none is the best choice for at least {100 * NONE_SHARE:g} % of the hosts",
        f'"{JUDGED}" grows nothing on {100 * share:.1f} %, mean over the prices{there}',
        share >= NONE_SHARE and lead is not None and lead.low > 0,
    )


def headroom_to_json(headroom: Headroom) -> dict[str, Any]:
    """Plain data: settings, tables and gate."""
    return {
        "format": FORMAT,
        "settings": dict(headroom.settings),
        "tables": [table_to_json(table) for table in headroom.tables],
        "gate": [demand._asdict() for demand in headroom.gate],
    }


def headroom_to_markdown(content: Mapping[str, Any]) -> str:
    """The tables and the gate as READMEs hold them.

    Args:
        content: from `headroom_to_json`.

    Raises:
        ValueError: it is none, or of another version.
    """
    if content.get("format") != FORMAT:
        raise ValueError(f"not a headroom of format {FORMAT}: its format is {content.get('format')!r}")
    tables = [table_to_markdown(table_from_json(table)) for table in content["tables"]]
    return "\n".join([*tables, *(f"- {Demand(**demand)}" for demand in content["gate"])])


def _returns(priced: Sequence[Outcomes]) -> Float[Tensor, " host"]:
    """The mean return of each host over all prices."""
    return torch.stack([each.episode_return for each in priced]).mean(0)


def _norm_everywhere(choice: ScheduleChoice) -> str:
    several = len({arm.slots for arm in choice.arms}) > 1
    slots = None if several else choice.arms[0].slots  # of a single slot "all" is no arm of its own
    return Schedule(blueprint=BlueprintAction.NORM, slots=slots).name


def _name(schedule: Schedule | None) -> str:
    return NONE if schedule is None else schedule.name
