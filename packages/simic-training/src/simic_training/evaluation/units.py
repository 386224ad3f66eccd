"""What an evaluation plays, in units of work for any engine: who grows which hosts, and in which order."""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar

from torch import Tensor

from leyline_types import Controller
from simic_training.engines.here import HereEngine
from simic_training.engines.unit import Engine, Unit, Work
from simic_training.evaluation.outcomes import (
    Found,
    Grown,
    found_from_bytes,
    found_to_bytes,
    grown_of,
    join_found,
    outcomes_of,
)
from simic_training.evaluation.parts import OnProgress, Part, PartsFolder, PartsRunner, tell_nobody
from simic_training.evaluation.play import Played, play_all
from simic_training.evaluation.schedules import (
    NONE,
    Schedule,
    ScheduleChoice,
    ScheduleController,
    arms,
    choose_schedules,
)
from simic_training.evaluation.stages import (
    EvaluationOptions,
    HostDraw,
    Stage,
    held_out_stage,
    training_stage,
    unseen_stages,
)
from simic_training.evaluation.static import STATIC, static_outcomes
from simic_training.growth.config import GrowthConfig
from simic_training.growth.draws import slots_of
from simic_training.runs.records import episode_records
from simic_training.runs.rollout import actions_seed
from simic_training.runs.units import policy_of
from tamiyo_policies import HeuristicController, PolicyController, RandomController, WaitController

T = TypeVar("T")

POLICY: Final = "policy"
GREEDY: Final = "policy-greedy"
RANDOM: Final = "random"
HEURISTIC: Final = "heuristic"
BEST: Final = "best schedule"
SINGLE: Final = "best single schedule"
RIVALS: Final = (NONE, RANDOM, HEURISTIC, BEST)
CONTROLLERS: Final = (POLICY, GREEDY, *RIVALS)

POPULATION: Final = 64
"""Hosts in a population from which on more of them are no faster (README of kasmina-hosts, Speed)."""

OVERHEAD: Final = 4000
"""An epoch of a population costs as much as this many samples besides its own: few hosts cost almost as much as 16."""


class Player(NamedTuple):
    """Who plays.

    Args:
        name: for tables.
        schedules: followed on each of the hosts, None where nothing is grown; None as a whole for the controller that
            has this name.
        price: that all its hosts pay; None for each its own.
    """

    name: str
    schedules: tuple[Schedule | None, ...] | None = None
    price: float | None = None

    @property
    def key(self) -> str:
        """What tells it from others that play on the same hosts: "heuristic", or "heuristic at 0.3"."""
        return self.name if self.price is None else f"{self.name} at {self.price:g}"


class Lot(NamedTuple):
    """Who plays on the hosts of one member at once.

    Args:
        stage: which hosts. member: number of the member of the family.
        what: for people. names: of the players; none where hosts are only looked at.
        epochs: that are trained; None for whole episodes.
    """

    stage: Stage
    member: int
    what: str
    names: tuple[str, ...]
    epochs: int | None = None

    @property
    def name(self) -> str:
        """Of its unit."""
        return f"{self.stage.title}, member {self.member + 1}, {self.what}"

    @property
    def cost(self) -> float:
        """Of playing it, in samples."""
        group = self.stage.draw.group(self.member)
        hosts = len(group.host_seeds) * max(1, len(self.names))
        populations = len(STATIC) if self.names == STATIC else 1
        epochs = self.epochs or group.config.max_epochs
        return epochs * (OVERHEAD * populations + hosts * len(group.task.train.labels))


class Batch(NamedTuple):
    """Units that do not wait for each other; see `PartsRunner.do_units`."""

    work: Work
    shared: bytes
    parts: list[Part]


class Plan(NamedTuple):
    """All that is played.

    Args:
        schedules: the candidates.
        training: where one of them is chosen. held_out: where it is judged. unseen: where it is judged besides.
        schedule_lots: that need no policy; controller_lots: that need one, and the choice; static_lots: that need what
            the policy made of each host.
    """

    schedules: tuple[Schedule, ...]
    training: Stage
    held_out: Stage
    unseen: tuple[Stage, ...]
    schedule_lots: tuple[Lot, ...]
    controller_lots: tuple[Lot, ...]
    static_lots: tuple[Lot, ...]

    @property
    def lots(self) -> tuple[Lot, ...]:
        """All of them, in order."""
        return self.schedule_lots + self.controller_lots + self.static_lots


class Evaluated(NamedTuple):
    """What was played came to: the choice of schedules, and what was found, by the title of the stage."""

    choice: ScheduleChoice
    found: Mapping[str, Found]


def plan_of(env: GrowthConfig, options: EvaluationOptions) -> Plan:
    """What an evaluation plays.

    Args:
        env: hosts and prices as in training.
        options: how much.

    Raises:
        ValueError, FileNotFoundError: see `training_stage`, `held_out_stage` and `unseen_stages`.
    """
    schedules = arms(env.host.topology, slots_of(env.host), env.rules)
    names = tuple(schedule.name for schedule in schedules)
    training, held_out = training_stage(env, options), held_out_stage(env, options)
    unseen = tuple(unseen_stages(env, options))
    return Plan(
        schedules,
        training,
        held_out,
        unseen,
        (
            *lots_of(training, "schedules", (NONE, *names)),
            *(lots_of(held_out, "schedules", names) if options.full else ()),
        ),
        tuple(lot for stage in (held_out, *unseen) for lot in lots_of(stage, "controllers", CONTROLLERS)),
        tuple(Lot(held_out, member, "static networks", STATIC) for member in range(held_out.members))
        if options.full
        else (),
    )


def lots_of(stage: Stage, what: str, names: Sequence[str]) -> Iterator[Lot]:
    """The players in equal lots whose copies of a member's hosts make about one `POPULATION` each."""
    lots = max(1, round(len(names) * stage.draw.per_member / POPULATION))
    at_once = max(1, -(-len(names) // lots))
    firsts = range(0, len(names), at_once)
    for member in range(stage.members):
        for number, first in enumerate(firsts, start=1):
            part = f" {number}" if len(firsts) > 1 else ""
            yield Lot(stage, member, what + part, tuple(names[first : first + at_once]))


def part_of(lot: Lot, schedules: Mapping[str, Schedule], choice: ScheduleChoice | None = None) -> Part:
    """The unit that plays a lot (`play_unit`).

    Args:
        lot: which.
        schedules: by the names that stand in it.
        choice: what `BEST` follows; None where nobody of that name plays.
    """
    group = lot.stage.draw.group(lot.member)
    players = []
    for name in lot.names:
        if name == BEST and choice is not None:
            players.append(Player(name, tuple(choice.best_at(price) for price in group.prices)))
        elif name in schedules:
            players.append(Player(name, (schedules[name],) * len(group.host_seeds)))
        else:
            players.append(Player(name))
    return Part(Unit(lot.name, (lot.stage.draw, lot.member, tuple(players))), lot.cost)


def play_unit(weights: bytes, draw: HostDraw, member: int, players: tuple[Player, ...]) -> bytes:
    """Play one lot.

    Args:
        weights: of the policy, as its checkpoint holds them; none where no policy plays.
        draw, member: the hosts.
        players: who plays on them, side by side.

    Returns:
        What came of it, see `found_from_bytes`.
    """
    seed = actions_seed(draw.seed, member)
    played = play_players(
        players, draw, member, partial(controller_of, env=draw.env, weights=weights, seed=seed)
    )
    outcomes = {name: outcomes_of(each) for name, each in played.items()}
    if POLICY not in played:
        return found_to_bytes(Found(outcomes))
    grown = played[POLICY]
    return found_to_bytes(Found(outcomes, list(_records(grown, draw.env)), grown_of(grown)))


def play_players(
    players: Sequence[Player],
    draw: HostDraw,
    member: int,
    controller_of: Callable[[Player], Controller[Tensor, Any]],
) -> dict[str, Played]:
    """What each of the players, by its key, made of its own copies of the hosts of a member."""
    return play_all(
        {player.key: controller_of(player) for player in players},
        [draw.group(member)],
        rules=draw.env.rules,
        prices={player.key: player.price for player in players if player.price is not None},
    )


def play_static_unit(nothing: bytes, draw: HostDraw, member: int, grown: tuple[Grown, ...]) -> bytes:
    """Play the static networks of one lot.

    Args:
        nothing: no bytes.
        draw, member: the hosts.
        grown: what the policy had made of each.

    Returns:
        What came of it, see `found_from_bytes`.
    """
    return found_to_bytes(Found(static_outcomes(draw.group(member), grown, rules=draw.env.rules)))


def controller_of(
    player: Player, env: GrowthConfig, weights: bytes = b"", *, seed: int
) -> Controller[Tensor, Any]:
    """Who plays under a name.

    Args:
        player: who.
        env: any of the hosts that they shall grow, and what is legal.
        weights: see `play_unit`.
        seed: of what is sampled: it differs from member to member.

    Raises:
        CheckpointError: the weights cannot be used.
        ValueError: nobody has this name.
    """
    slots, rules = slots_of(env.host), env.rules
    if player.schedules is not None:
        return ScheduleController(player.schedules, slots, rules=rules)
    if player.name in (POLICY, GREEDY):
        policy, normalizer = policy_of(weights)
        greedy = player.name == GREEDY
        return PolicyController(policy, deterministic=greedy, seed=seed, rules=rules, normalizer=normalizer)
    usual: dict[str, Controller[Tensor, Any]] = {
        NONE: WaitController(),
        RANDOM: RandomController(slots, seed=seed, rules=rules),
        HEURISTIC: HeuristicController(slots, rules=rules),
    }
    if player.name not in usual:
        raise ValueError(f"no controller is called {player.name!r}; there are {', '.join(usual)}")
    return usual[player.name]


def evaluation_batches(weights: bytes, plan: Plan) -> Generator[Batch, list[bytes], Evaluated]:
    """The batches of an evaluation, each of which is made from what the ones before gave.

    Args:
        weights: see `play_unit`.
        plan: from `plan_of`.
    """
    schedules = {schedule.name: schedule for schedule in plan.schedules}
    found: dict[str, list[Found]] = {
        stage.title: [] for stage in (plan.training, plan.held_out, *plan.unseen)
    }

    batch = Batch(play_unit, b"", [part_of(lot, schedules) for lot in plan.schedule_lots])
    _gather(found, plan.schedule_lots, (yield batch))
    choice = choose_schedules(plan.schedules, join_found(found[plan.training.title]).outcomes)

    batch = Batch(play_unit, weights, [part_of(lot, schedules, choice) for lot in plan.controller_lots])
    _gather(found, plan.controller_lots, (yield batch))

    if plan.static_lots:
        grown = [tuple(each.grown) for each in found[plan.held_out.title] if each.grown]
        parts = [
            Part(Unit(lot.name, (lot.stage.draw, lot.member, grown[lot.member])), lot.cost)
            for lot in plan.static_lots
        ]
        _gather(found, plan.static_lots, (yield Batch(play_static_unit, b"", parts)))
    return Evaluated(choice, {title: join_found(several) for title, several in found.items()})


def run_batches(batches: Generator[Batch, list[bytes], T], runner: PartsRunner) -> T:
    """Do one batch after the other; gives what they come to.

    Raises:
        UnitFailedError, OSError: see `PartsRunner.do_units`.
    """
    try:
        batch = next(batches)
        while True:
            batch = batches.send(runner.do_units(*batch))
    except StopIteration as stop:
        result: T = stop.value
        return result


def play_lots(
    batches: Generator[Batch, list[bytes], T],
    lots: Sequence[Lot],
    *,
    engine: Engine | None = None,
    folder: PartsFolder | None = None,
    on_progress: OnProgress = tell_nobody,
) -> T:
    """Do all batches, and then take away the parts of other work; gives what the batches come to.

    Args:
        batches: what is to be done. lots: all that they consist of.
        engine: who plays; it is left open. None for this process alone. What comes out is the same.
        folder: where parts are kept as they are done, and read from; None keeps none.
        on_progress: see `OnProgress`.

    Raises:
        RunFolderError: another process is at work in the folder.
        UnitFailedError: something could not be played; what was played before is kept.
        OSError: a part cannot be written.
    """
    runner = PartsRunner(
        engine or HereEngine(),
        folder,
        total=len(lots),
        total_cost=sum(lot.cost for lot in lots),
        on_progress=on_progress,
    )
    with nullcontext() if folder is None else folder.locked():
        result = run_batches(batches, runner)
        runner.tidy()
    return result


def found_of(lot: Lot, content: bytes) -> Found:
    """What the unit of a lot gave."""
    return found_from_bytes(content, lot.stage.draw.group(lot.member), lot.member)


def found_in(lots: Iterable[Lot], contents: Sequence[bytes]) -> Iterator[Found]:
    """What the units of some lots gave, in order."""
    return (found_of(lot, content) for lot, content in zip(lots, contents, strict=True))


def _gather(found: dict[str, list[Found]], lots: Sequence[Lot], contents: Sequence[bytes]) -> None:
    for lot, each in zip(lots, found_in(lots, contents), strict=True):
        found[lot.stage.title].append(each)


def _records(played: Played, env: GrowthConfig) -> Iterator[dict[str, Any]]:
    records = episode_records(played.episodes, slots_of(env.host), first=0, update=0)
    for record, accuracy in zip(records, played.test_accuracy.tolist(), strict=True):
        yield {**record, "test_accuracy": round(accuracy, 4)}
