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

from kasmina_hosts import Lack
from leyline_types import BlueprintAction
from simic_training.engines.unit import Engine
from simic_training.evaluation.comparisons import INTERVALS
from simic_training.evaluation.headroom_units import (
    BLIND,
    LEAP,
    PER_PRICE,
    PRICES,
    USUAL,
    HeadroomPlan,
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
from simic_training.evaluation.units import HEURISTIC, RANDOM, SINGLE, play_lots
from simic_training.growth.draws import lacks_of
from simic_training.runs.config import TrainConfig
from simic_training.runs.settings import config_to_mapping
from simic_training.statistics import Estimate

FORMAT: Final = 1
JUDGED: Final = LEAP
"""What the gate is about, named before anything is scored: the better of two rules would be the luckier."""
GROWERS: Final = (RANDOM, SINGLE, PER_PRICE, HEURISTIC)
"""With whom growing nothing is compared: none of them is told what a host lacks."""
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
        tables: the rivals; the same by kind; the choices; the choices by kind.
        gate: what is asked of a family, line by line.
        arms: what every arm brought on each training host, and what these and more show and lack, see
            `look_then_leap.table_to_bytes`.
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
            "first_hosts": first_hosts(plan),
        },
        tables=(
            rivals_table(rivals),
            kinds_table(rivals, measured.named),
            choices_table(measured.choices.overall, plan.training),
            best_table(measured.choices.by_lack),
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
            f"training hosts, and no rule is told the kind of the host that it plays on. {LEAP}: {LOOK_EPOCHS} epochs "
            "without growth, then the schedule that is best at this price, or none, by what training hosts gained that "
            f"lack what this host seems to lack. {BLIND}: at the same epoch, by what all training hosts gained. size: "
            "final parameters over the bare host's. "
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


def first_hosts(plan: HeadroomPlan) -> list[dict[str, object]]:
    """The first held-out member of each lack, as plain data: they tell whether figures are of today's family."""
    draw = plan.held_out.draw
    return [draw.group(member).describe() for member in range(len(lacks_of(draw.env)))]


def kinds_table(rivals: Mapping[str, Sequence[Outcomes]], named: Mapping[Lack, float]) -> Table:
    """A row for each kind of hosts: how often a look names it, and the mean return of every rival over all prices.

    Args:
        rivals: from `rivals_of`.
        named: see `Measured`.
    """
    rows: dict[str, tuple[Cell, ...]] = {}
    hosts = rivals[NONE][0].hosts
    for lack in dict.fromkeys(host.lack for host in hosts):
        means = [
            float(_returns([each.of_lack(lack) for each in priced]).mean()) for priced in rivals.values()
        ]
        name = f"{lack.value} ({sum(host.lack is lack for host in hosts)} hosts)"
        rows[name] = (100 * named[lack], *means)
    return Table(
        title="Return by what the bare hosts lack",
        note=(
            "Means over the hosts of each kind and over all prices. named: training hosts of which the classifier of "
            f"{LEAP!r} names what they lack, by cross-validation over members; chance is "
            f"{100 / len(named):.0f} %."
        ),
        columns=(
            Column(name="named, %", decimals=0),
            *(Column(name=name, decimals=2) for name in rivals),
        ),
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
        none_demand(bare_hosts(rivals)),
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


def best_table(by_lack: Mapping[Lack, ScheduleChoice]) -> Table:
    """A row for each kind of hosts: which schedule, or none, is best on the training hosts of it at each price.

    Args:
        by_lack: choices made on these hosts.
    """
    rows: dict[str, tuple[Cell, ...]] = {}
    for lack, choice in by_lack.items():
        best = [choice.ranked(price)[0] for price in PRICES]
        rows[lack.value] = tuple(cell for schedule, worth in best for cell in (_name(schedule), worth))
    return Table(
        title="Best schedule by what training hosts lack",
        note="return: beside growing nothing; that of the best of many on few hosts is partly luck.",
        columns=tuple(
            column
            for price in PRICES
            for column in (Column(name=f"at {price:g}"), Column(name=f"return at {price:g}", decimals=2))
        ),
        rows=rows,
    )


class Bare(NamedTuple):
    """Where the rule that is judged grows nothing.

    What is best on a host is not told by playing every schedule on it once: the best of many is the luckiest. So hosts
    are told apart by a rule that was fitted on others, and growing nothing is compared there with all that grow.

    Args:
        shares: of the hosts, 0 to 1, at each of `PRICES`.
        rival: who comes nearest to growing nothing there. lead: that of `NONE` over it. None where the hosts are of
            fewer than two members.
    """

    shares: tuple[float, ...]
    rival: str | None
    lead: Estimate | None


def bare_hosts(rivals: Mapping[str, Sequence[Outcomes]]) -> Bare:
    """Where the rule that is judged grows nothing, and what that saves."""
    places = [torch.nonzero(each.size == 1).flatten().tolist() for each in rivals[JUDGED]]
    shares = tuple(len(taken) / len(each.hosts) for taken, each in zip(places, rivals[JUDGED], strict=True))

    def there(name: str) -> Outcomes:
        return join_outcomes([each.take(taken) for each, taken in zip(rivals[name], places, strict=True)])

    none = there(NONE)
    if len({host.member for host in none.hosts}) < 2:
        return Bare(shares, None, None)
    leads = {}
    for name in GROWERS:
        grown = there(name)
        check_paired(name, grown, none)
        leads[name] = none.mean(none.episode_return - grown.episode_return)
    nearest = min(leads, key=lambda name: leads[name].mean)
    return Bare(shares, nearest, leads[nearest])


def none_demand(bare: Bare) -> Demand:
    """That a rule has to tell whether to grow at all."""
    shares = " %, ".join(f"{100 * share:.0f}" for share in bare.shares)
    there = "of too few members to compare it there with what grows"
    if bare.lead is not None:
        there = f"there none leads all that grow, the nearest ({bare.rival}) by {bare.lead.describe(2)}"
    share = fmean(bare.shares)
    return Demand(
        f"none is the best choice for at least {100 * NONE_SHARE:g} % of the hosts",
        f'"{JUDGED}" grows nothing on {100 * share:.1f} % ({shares} % by price); {there}',
        share >= NONE_SHARE and bare.lead is not None and bare.lead.low > 0,
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
