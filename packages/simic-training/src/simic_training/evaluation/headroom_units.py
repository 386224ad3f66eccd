"""What measuring the headroom plays, in units of work for any engine: arms where they are chosen, rivals elsewhere.

What an arm gains does not depend on the price, so that one episode of each arm on each training host tells its return
at all prices (`ScheduleChoice`).
"""

from collections.abc import Generator, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

from kasmina_hosts import Lack
from leyline_types import Controller
from simic_training.engines.unit import Unit
from simic_training.evaluation.look_then_leap import (
    LOOK_EPOCHS,
    ArmTable,
    LookThenLeapController,
    Predict,
    fit_arms,
    look,
    mean_arms,
    named_share,
    table_from_bytes,
    table_to_bytes,
)
from simic_training.evaluation.outcomes import (
    Found,
    Host,
    Outcomes,
    check_paired,
    found_to_bytes,
    hosts_in,
    join_found,
    join_outcomes,
    outcomes_of,
)
from simic_training.evaluation.parts import Part
from simic_training.evaluation.schedules import (
    NONE,
    Schedule,
    ScheduleChoice,
    arms,
    choose_schedules,
)
from simic_training.evaluation.stages import (
    EvaluationOptions,
    HostDraw,
    Stage,
    held_out_stage,
    training_stage,
)
from simic_training.evaluation.units import (
    HEURISTIC,
    RANDOM,
    SINGLE,
    Batch,
    Lot,
    Player,
    controller_of,
    found_in,
    lots_of,
    part_of,
    play_players,
)
from simic_training.growth.config import GrowthConfig
from simic_training.growth.draws import lacks_of, slots_of
from simic_training.runs.rollout import actions_seed

PRICES: Final = (0.1, 0.3, 1.0)
"""Levels at which everything is scored: cheap, moderate and dear parameters."""

PER_PRICE: Final = "best schedule per price"
PER_KIND: Final = "best schedule per price and kind"
LEAP: Final = "look, then leap"
BLIND: Final = "leap without a look"
"""What `LEAP` does at the same epoch if all that it knows is the price: what looking alone is worth."""
ADAPTIVE: Final = (HEURISTIC, BLIND, LEAP)
"""Rules that act by the price: each plays once at each of `PRICES`."""
USUAL: Final = EvaluationOptions(
    members_per_lack=24, hosts_per_member=2, training_members_per_lack=16, training_hosts_per_member=2
)
"""240 held-out hosts of the five kinds of convolutional hosts, 160 to choose on, 640 to look at."""
QUICK: Final = EvaluationOptions(
    members_per_lack=2, hosts_per_member=2, training_members_per_lack=2, training_hosts_per_member=1
)
LOOKS: Final = 4
"""Times as many training members are looked at as the arms are played on."""
_LACKS: Final = tuple(Lack)  # by the numbers that tables of arms hold


class HeadroomPlan(NamedTuple):
    """All that is played.

    Args:
        arms: the candidates.
        training, held_out: where they are chosen, and where all rivals are scored.
        training_lots: who plays on training hosts.
        looked_lots: hosts of training members that are looked at, those of `training` before others.
        held_out_lots: who plays. On held-out hosts the names of the players are those of `roles`, for
            what they stand for is known once the arms were played; schedules that stand for several play once.
    """

    arms: tuple[Schedule, ...]
    training: Stage
    held_out: Stage
    training_lots: tuple[Lot, ...]
    looked_lots: tuple[Lot, ...]
    held_out_lots: tuple[Lot, ...]

    @property
    def lots(self) -> tuple[Lot, ...]:
        """All of them, in order."""
        return self.training_lots + self.looked_lots + self.held_out_lots


class Choices(NamedTuple):
    """What the training hosts say of the arms: of all of them together, and of those that lack something each."""

    overall: ScheduleChoice
    by_lack: Mapping[Lack, ScheduleChoice]


class Measured(NamedTuple):
    """What was played came to.

    Args:
        choices: made on the training hosts.
        arms: what every arm brought on each of them, and what they and others show and lack, as `table_to_bytes`
            writes it.
        named: see `look_then_leap.named_share`, by what hosts lack.
        training, held_out: what came of it, by the key of the player.
    """

    choices: Choices
    arms: bytes
    named: Mapping[Lack, float]
    training: Found
    held_out: Found


def headroom_plan(env: GrowthConfig, options: EvaluationOptions) -> HeadroomPlan:
    """What is played.

    Args:
        env: hosts as in training; prices are `PRICES`.
        options: see `measure_headroom`.

    Raises:
        ValueError: episodes too short to look; fewer than 16 held-out hosts, or other data, see `held_out_stage`.
        FileNotFoundError: the data are not there.
    """
    if env.family.max_epochs[0] <= LOOK_EPOCHS:
        raise ValueError(
            f"`env.family.max_epochs` must be above {LOOK_EPOCHS}, for {LEAP!r} looks for so many epochs, not "
            f"{env.family.max_epochs[0]}"
        )
    schedules = arms(env.host.topology, slots_of(env.host), env.rules)
    training, held_out = training_stage(env, options), held_out_stage(env, options)
    looked = training._replace(members=LOOKS * training.members)
    names = (NONE, *(schedule.name for schedule in schedules))
    return HeadroomPlan(
        schedules,
        training,
        held_out,
        tuple(lots_of(training, "arms", names)),
        tuple(Lot(looked, member, "look", (), LOOK_EPOCHS) for member in range(looked.members)),
        tuple(lots_of(held_out, "rivals", tuple(roles()))),
    )


def headroom_batches(env: GrowthConfig, plan: HeadroomPlan) -> Generator[Batch, list[bytes], Measured]:
    """Three batches: the arms on training hosts, looks at these and more, then all rivals on the held-out ones."""
    schedules = {schedule.name: schedule for schedule in plan.arms}
    parts = [part_of(lot, schedules) for lot in plan.training_lots]
    training = join_found(list(found_in(plan.training_lots, (yield Batch(play_arms_unit, b"", parts)))))
    choices = choose(plan.arms, lacks_of(env), training.outcomes)

    looks = [Part(Unit(lot.name, (lot.stage.draw, lot.member)), lot.cost) for lot in plan.looked_lots]
    looked = join_found(list(found_in(plan.looked_lots, (yield Batch(look_unit, b"", looks)))))
    hosts = [
        host for lot in plan.looked_lots for host in hosts_in(lot.stage.draw.group(lot.member), lot.member)
    ]
    table = arm_table(plan.arms, training, looked, hosts)
    named = named_share(table, [host.member for host in hosts])
    arms_and_looks = table_to_bytes(
        table, list(schedules), [(host.lack.value, host.member, host.epochs) for host in hosts]
    )

    parts = [rivals_part(lot, choices) for lot in plan.held_out_lots]
    contents = yield Batch(play_rivals_unit, arms_and_looks, parts)
    return Measured(
        choices,
        arms_and_looks,
        {_LACKS[kind]: share for kind, share in named.items()},
        training,
        join_found(list(found_in(plan.held_out_lots, contents))),
    )


def choose(schedules: Sequence[Schedule], lacks: Sequence[Lack], training: Mapping[str, Outcomes]) -> Choices:
    """What the training hosts say of the schedules.

    Args:
        schedules: the candidates.
        lacks: the kinds of hosts.
        training: by name, those of `NONE` among them.
    """
    of_kinds = {lack: {name: each.of_lack(lack) for name, each in training.items()} for lack in lacks}
    return Choices(
        choose_schedules(schedules, training),
        {lack: choose_schedules(schedules, outcomes) for lack, outcomes in of_kinds.items()},
    )


def arm_table(
    schedules: Sequence[Schedule],
    training: Found,
    looked: Found,
    hosts: Sequence[Host],
) -> ArmTable:
    """What each arm brought on each training host beside growing nothing there, and what these and more show and lack.

    Args:
        schedules: the arms. training: what came of them.
        looked: what came of looking.
        hosts: that were looked at, those on which the arms were played before others.
    """
    none, played = training.outcomes[NONE], [training.outcomes[schedule.name] for schedule in schedules]
    check_paired("look", none, none._replace(hosts=tuple(hosts[: len(none.hosts)])))
    assert looked.features is not None
    return ArmTable(
        looked.features,
        torch.tensor([_LACKS.index(host.lack) for host in hosts]),
        gain=torch.stack([each.val_accuracy - none.val_accuracy for each in played], 1).float(),
        added=torch.stack([each.size - none.size for each in played], 1).float(),
    )


def roles() -> Iterator[str]:
    """Who plays on held-out hosts: keys of players, and what schedules stand for."""
    yield from (NONE, RANDOM, SINGLE)
    for name in (PER_PRICE, PER_KIND, *ADAPTIVE):
        yield from (Player(name, price=price).key for price in PRICES)


def players_of(choices: Choices, lack: Lack, hosts: int) -> dict[str, Player]:
    """Who stands for each of `roles` on so many hosts that lack this."""

    def follower(schedule: Schedule | None) -> Player:
        return Player(NONE) if schedule is None else Player(schedule.name, (schedule,) * hosts)

    fixed = {
        NONE: Player(NONE),
        RANDOM: Player(RANDOM),
        SINGLE: follower(choices.overall.best_single(PRICES)),
    }
    per_price = {
        Player(name, price=price).key: follower(choice.best_at(price))
        for name, choice in ((PER_PRICE, choices.overall), (PER_KIND, choices.by_lack[lack]))
        for price in PRICES
    }
    adaptive = [Player(name, price=price) for name in ADAPTIVE for price in PRICES]
    return {**fixed, **per_price, **{player.key: player for player in adaptive}}


def rivals_part(lot: Lot, choices: Choices) -> Part:
    """The unit that plays a lot on held-out hosts (`play_rivals_unit`): every player in the lot of its first role."""
    group = lot.stage.draw.group(lot.member)
    first: dict[Player, str] = {}
    for role, player in players_of(choices, group.lack, len(group.host_seeds)).items():
        first.setdefault(player, role)
    players = tuple(player for player, role in first.items() if role in lot.names)
    return Part(Unit(lot.name, (lot.stage.draw, lot.member, players)), lot.cost)


def look_unit(nothing: bytes, draw: HostDraw, member: int) -> bytes:
    """Look at training hosts.

    Args:
        nothing: no bytes.
        draw, member: the hosts.

    Returns:
        What they show, see `found_from_bytes`.
    """
    return found_to_bytes(Found({}, features=look(draw.group(member), rules=draw.env.rules)))


def play_arms_unit(nothing: bytes, draw: HostDraw, member: int, players: tuple[Player, ...]) -> bytes:
    """Play one lot of arms on training hosts.

    Args:
        nothing: no bytes.
        draw, member: the hosts.
        players: who plays on them, side by side.

    Returns:
        What came of it, see `found_from_bytes`.
    """
    seed = actions_seed(draw.seed, member)
    played = play_players(players, draw, member, partial(controller_of, env=draw.env, seed=seed))
    return found_to_bytes(Found({name: outcomes_of(each) for name, each in played.items()}))


def play_rivals_unit(table: bytes, draw: HostDraw, member: int, players: tuple[Player, ...]) -> bytes:
    """Play one lot on held-out hosts.

    Args:
        table: what the rules that leap learn from, see `table_to_bytes`.
        draw, member, players: see `play_arms_unit`.

    Returns:
        What came of it, see `found_from_bytes`.
    """
    seed = actions_seed(draw.seed, member)
    if not players:  # all of them play in other lots
        return found_to_bytes(Found({}))

    def controller(player: Player) -> Controller[Tensor, Any]:
        if player.name not in (LEAP, BLIND):
            return controller_of(player, draw.env, seed=seed)
        slots, rules = slots_of(draw.env.host), draw.env.rules
        predict = _models(table)[player.name]
        return LookThenLeapController(arms(draw.env.host.topology, slots, rules), predict, slots, rules=rules)

    played = play_players(players, draw, member, controller)
    return found_to_bytes(Found({name: outcomes_of(each) for name, each in played.items()}))


@lru_cache(maxsize=1)
def _models(table: bytes) -> dict[str, Predict]:
    """What those who leap go by."""
    read = table_from_bytes(table)
    return {BLIND: mean_arms(read), LEAP: fit_arms(read)}


def rivals_of(choices: Choices, played: Mapping[str, Outcomes]) -> dict[str, tuple[Outcomes, ...]]:
    """What each rival came to at each of `PRICES`, all on the same hosts in the same order.

    Args:
        choices: what schedules stand for.
        played: by the key of the player. A schedule that is best for some kinds alone was played on those alone.
    """
    lacks = dict.fromkeys(host.lack for host in played[NONE].hosts)
    players = {lack: players_of(choices, lack, hosts=0) for lack in lacks}

    def at(name: str, price: float) -> Outcomes:
        role = name if name in (NONE, RANDOM, SINGLE) else Player(name, price=price).key
        parts = [played[players[lack][role].key].of_lack(lack).at_price(price) for lack in lacks]
        joined = join_outcomes(parts)
        places = {(host.member, host.host_seed): place for place, host in enumerate(joined.hosts)}
        return joined.take([places[host.member, host.host_seed] for host in played[NONE].hosts])

    names = (NONE, RANDOM, SINGLE, PER_PRICE, PER_KIND, *ADAPTIVE)
    return {name: tuple(at(name, price) for price in PRICES) for name in names}
