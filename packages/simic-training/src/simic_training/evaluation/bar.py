"""What was asked of a trained policy before any was trained, and whether it does it."""

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from simic_training.evaluation.comparisons import GREEDY, INTERVALS, POLICY, lead
from simic_training.evaluation.controllers import NONE, RANDOM
from simic_training.evaluation.outcomes import Outcomes
from simic_training.evaluation.schedule_tables import by_return
from simic_training.evaluation.tables import Cell, Column, Table
from simic_training.statistics import Estimate

OVER_RANDOM: Final = 4.0
OVER_NONE: Final = 5.0
"""Points of test accuracy: over random on the hard tasks, over none on those and on the whole family."""


class Claim(NamedTuple):
    """Something that was asked for: a lead over a controller, in points of test accuracy or in return."""

    text: str
    lead: Estimate
    least: float


def bar_table(controllers: Mapping[str, Outcomes], schedules: Mapping[str, Outcomes]) -> Table:
    """A row for each claim, of the policy sampled and greedy.

    Args:
        controllers: outcomes by name on the same hosts; policy, policy-greedy, none and random among them.
        schedules: of the sweep there; none where there was none.
    """
    rows: dict[str, tuple[Cell, ...]] = {}
    for name in (POLICY, GREEDY):
        for claim in _claims(name, controllers, schedules):
            rows[f"{name}: {claim.text}"] = (claim.lead, claim.least, _verdict(claim))
    return Table(
        title="What was asked for",
        note=(
            "Points of test accuracy on the hard tasks (those with the most classes) and on the whole family; return "
            "on the whole family. "
            '"yes": the mean reaches it; "surely": the whole interval does; "no": the mean does not. The best schedule '
            f"is the one with the best return on these very hosts, of those that were played. {INTERVALS}"
        ),
        columns=(
            Column(name="lead", decimals=2),
            Column(name="at least", decimals=1),
            Column(name="reached"),
        ),
        rows=rows,
    )


def _claims(
    name: str, controllers: Mapping[str, Outcomes], schedules: Mapping[str, Outcomes]
) -> Iterator[Claim]:
    policy = controllers[name]
    hard = policy.hard()
    for rival, least in ((RANDOM, OVER_RANDOM), (NONE, OVER_NONE)):
        points, _ = lead(hard, rival, controllers[rival].hard())
        yield Claim(f"points over {rival}, hard tasks", points, least)
    points, _ = lead(policy, NONE, controllers[NONE])
    yield Claim(f"points over {NONE}, the whole family", points, OVER_NONE)
    if schedules:
        best = by_return(schedules)[0]
        _, gained = lead(policy, best, schedules[best])
        yield Claim(f"return over {best}, the best of {len(schedules)} schedules", gained, 0.0)


def _verdict(claim: Claim) -> str:
    if claim.lead.mean < claim.least:
        return "no"
    return "surely" if claim.lead.low >= claim.least else "yes"
