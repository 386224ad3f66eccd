"""Tables of fixed schedules: how far one gets without looking."""

from collections.abc import Mapping, Sequence
from typing import Final

from simic_training.evaluation.comparisons import INTERVALS, lead
from simic_training.evaluation.outcomes import Outcomes, join_outcomes
from simic_training.evaluation.tables import Cell, Column, Table

NOTE: Final = (
    'By return, the best first. "conv_light x1 @5" puts one seed into the first slot before the sixth epoch, "xall" '
    "one into every slot, one epoch after the other. Hard: the tasks with the most classes. The best of many on "
    "these very hosts looks better than it is."
)


def schedules_table(outcomes: Mapping[str, Outcomes], policy: Outcomes | None = None) -> Table:
    """A row for each schedule, the best first.

    Args:
        outcomes: by schedule, on the same hosts.
        policy: what a policy reaches there; None leaves its lead out.
    """
    hosts = next(iter(outcomes.values())).hosts
    rows: dict[str, tuple[Cell, ...]] = {}
    for name in by_return(outcomes):
        each = outcomes[name]
        hard = each.hard()
        rows[name] = (
            each.mean(each.episode_return),
            each.mean(each.test_accuracy),
            float(each.size.mean()),
            float(hard.episode_return.mean()),
            float(hard.test_accuracy.mean()),
            *(() if policy is None else reversed(lead(policy, name, each))),
        )
    leads = (
        Column(name="policy leads by, return", decimals=2),
        Column(name="policy leads by, points"),
    )
    return Table(
        title=f"Fixed schedules ({len(hosts)} hosts)",
        note=f"{NOTE} {INTERVALS}",
        columns=(
            Column(name="return", decimals=2),
            Column(name="test accuracy %"),
            Column(name="size", decimals=2),
            Column(name="hard: return", decimals=2),
            Column(name="hard: test accuracy %"),
            *(() if policy is None else leads),
        ),
        rows=rows,
    )


def schedules_by_kind_table(outcomes: Mapping[str, Outcomes], policy: Outcomes) -> Table:
    """Whether one schedule is the best everywhere, or what telling kinds of task apart could be worth.

    Args:
        outcomes: by schedule, on the same hosts.
        policy: what a policy reaches there.

    Returns:
        A row for each kind of task with the schedule of the best return there, and one for all kinds together.
    """
    everywhere = by_return(outcomes)[0]
    usual, chosen = outcomes[everywhere], {}
    rows: dict[str, tuple[Cell, ...]] = {}
    for kind in dict.fromkeys(host.kind for host in usual.hosts):
        here = {name: each.of_kind(kind) for name, each in outcomes.items()}
        best = by_return(here)[0]
        chosen[kind] = here[best]
        ahead = None if best == everywhere else lead(here[best], everywhere, here[everywhere])[1]
        rows[kind] = (best, ahead, lead(policy.of_kind(kind), everywhere, here[everywhere])[1])
    alike = join_outcomes([usual.of_kind(kind) for kind in chosen])
    rows["all kinds"] = (
        "the best of each",
        lead(join_outcomes(list(chosen.values())), everywhere, alike)[1],
        lead(policy, everywhere, usual)[1],
    )
    return Table(
        title="Fixed schedules, by kind of task",
        note=(
            "The schedule of the best return on the hosts of each kind, and its lead in return over "
            f"{everywhere}, the best on all hosts: what fixed schedules could at most gain by telling kinds apart. "
            f"The best of many on few hosts looks better than it is. {INTERVALS}"
        ),
        columns=(
            Column(name="best schedule"),
            Column(name=f"leads {everywhere} by", decimals=2),
            Column(name=f"policy leads {everywhere} by", decimals=2),
        ),
        rows=rows,
    )


def by_return(outcomes: Mapping[str, Outcomes]) -> Sequence[str]:
    """The names by mean return, the best first."""
    means = {name: float(each.episode_return.mean()) for name, each in outcomes.items()}
    return sorted(means, key=means.__getitem__, reverse=True)
