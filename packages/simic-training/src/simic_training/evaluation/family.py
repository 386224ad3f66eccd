"""The tables over hosts as in training: equal training epochs, equal final parameters."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from simic_training.evaluation.bar import bar_table
from simic_training.evaluation.comparisons import (
    GREEDY,
    POLICY,
    controllers_table,
    kinds_table,
    static_table,
)
from simic_training.evaluation.controllers import HEURISTIC, NONE, RANDOM, RIVALS
from simic_training.evaluation.outcomes import Outcomes
from simic_training.evaluation.results import HostRow, host_rows
from simic_training.evaluation.schedule_tables import by_return, schedules_by_kind_table, schedules_table
from simic_training.evaluation.stages import FAMILY
from simic_training.evaluation.static import STATIC
from simic_training.evaluation.tables import Table


class FamilyOutcomes(NamedTuple):
    """Outcomes by name, all on the same hosts.

    Args:
        controllers: the policy, sampled and greedy, and rivals. schedules: of the sweep.
        static: networks of the policy's final size that do not grow.
    """

    controllers: Mapping[str, Outcomes]
    schedules: Mapping[str, Outcomes]
    static: Mapping[str, Outcomes]

    @classmethod
    def among(cls, outcomes: Mapping[str, Outcomes]) -> "FamilyOutcomes":
        """All outcomes of `Entrants.EVERYBODY`, put where they belong."""
        usual = (POLICY, GREEDY, *RIVALS)
        return cls(
            {name: outcomes[name] for name in usual},
            {name: each for name, each in outcomes.items() if name not in (*usual, *STATIC)},
            {name: outcomes[name] for name in STATIC},
        )

    def rows(self) -> Iterator[HostRow]:
        """Every host."""
        for part in self:
            for name, outcomes in part.items():
                yield from host_rows(FAMILY, name, outcomes)


def family_tables(family: FamilyOutcomes) -> Iterator[Table]:
    """The tables in the order in which they are to be read."""
    controllers, schedules, static = family
    policy = controllers[POLICY]
    hard_ones = f"hard tasks: {policy.most_classes} classes"
    all_hard = len(policy.hard().hosts) == len(policy.hosts)
    yield bar_table(controllers, schedules)
    yield controllers_table(
        "Equal training epochs, the whole family",
        "Every combination of what the family may draw is there equally often.",
        with_best(controllers, schedules),
    )
    if not all_hard:
        yield controllers_table(
            f"Equal training epochs, {hard_ones}",
            "Hard are the tasks with the most classes, with clean training labels and noisy ones.",
            with_best(_hard(controllers), _hard(schedules)),
        )
    many_kinds = len({host.kind for host in policy.hosts}) > 1
    if many_kinds:
        yield kinds_table(
            "Equal training epochs, by kind of task", controllers, against=(NONE, RANDOM, HEURISTIC)
        )
    yield static_table("Equal final parameters", {POLICY: policy, **static})
    if not all_hard:
        yield static_table(f"Equal final parameters, {hard_ones}", _hard({POLICY: policy, **static}))
    if schedules:
        yield schedules_table(schedules, policy)
        if many_kinds:
            yield schedules_by_kind_table(schedules, policy)


def with_best(controllers: Mapping[str, Outcomes], schedules: Mapping[str, Outcomes]) -> dict[str, Outcomes]:
    """The controllers, and the schedules with the best return and the best test accuracy on these very hosts."""
    if not schedules:
        return dict(controllers)
    by_accuracy = max(schedules, key=lambda name: float(schedules[name].test_accuracy.mean()))
    by_reward = by_return(schedules)[0]
    return {
        **controllers,
        f"schedule of best return, {by_reward}": schedules[by_reward],
        f"schedule of best accuracy, {by_accuracy}": schedules[by_accuracy],
    }


def _hard(outcomes: Mapping[str, Outcomes]) -> dict[str, Outcomes]:
    return {name: each.hard() for name, each in outcomes.items()}
