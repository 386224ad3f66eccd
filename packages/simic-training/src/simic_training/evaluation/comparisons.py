"""Tables that put controllers beside each other on the same hosts."""

from collections.abc import Mapping
from typing import Final

from simic_training.evaluation.outcomes import Outcomes, check_paired
from simic_training.evaluation.tables import Cell, Column, Table
from simic_training.statistics import Estimate

POLICY: Final = "policy"
GREEDY: Final = "policy-greedy"

INTERVALS: Final = (
    "Means [95 % bootstrap intervals], paired host by host; hosts of one member of the family share a task and are "
    "resampled together."
)


def lead(policy: Outcomes, name: str, other: Outcomes) -> tuple[Estimate, Estimate]:
    """The policy's lead in test accuracy (points) and in return, host by host.

    Raises:
        ValueError: the two were played on different hosts.
    """
    check_paired(name, other, policy)
    return (
        policy.mean(policy.test_accuracy - other.test_accuracy),
        policy.mean(policy.episode_return - other.episode_return),
    )


def controllers_table(title: str, note: str, outcomes: Mapping[str, Outcomes]) -> Table:
    """A row for each controller, and how far the (sampled) policy leads it.

    Args:
        title, note: of the table; how intervals are made is added.
        outcomes: by controller, on the same hosts; the policy is among them.

    Raises:
        ValueError: a controller was played on other hosts.
    """
    policy = outcomes[POLICY]
    rows: dict[str, tuple[Cell, ...]] = {}
    for name, each in outcomes.items():
        leads = (None, None) if name == POLICY else lead(policy, name, each)
        rows[name] = (
            each.mean(each.test_accuracy),
            float(each.size.mean()),
            each.mean(each.episode_return),
            *leads,
        )
    return Table(
        title=f"{title} ({len(policy.hosts)} hosts)",
        note=f"{note} size: final parameters over the bare host's. {INTERVALS}",
        columns=(
            Column(name="test accuracy %"),
            Column(name="size", decimals=2),
            Column(name="return", decimals=2),
            Column(name="policy leads by, points"),
            Column(name="policy leads by, return", decimals=2),
        ),
        rows=rows,
    )


def kinds_table(title: str, outcomes: Mapping[str, Outcomes], *, against: tuple[str, ...]) -> Table:
    """A row for each kind of task: what the policy reaches there, how large it grows, and whom it leads.

    Args:
        title: of the table.
        outcomes: by controller, on the same hosts.
        against: whom the policy is compared with.
    """
    rows: dict[str, tuple[Cell, ...]] = {}
    for kind in dict.fromkeys(host.kind for host in outcomes[POLICY].hosts):
        chosen = {name: outcomes[name].of_kind(kind) for name in (POLICY, *against)}
        policy = chosen[POLICY]
        leads = (lead(policy, name, chosen[name])[0] for name in against)
        rows[kind] = (float(policy.test_accuracy.mean()), float(policy.size.mean()), *leads)
    return Table(
        title=title,
        note=f"The last columns: the policy's lead in points of test accuracy. {INTERVALS}",
        columns=(
            Column(name="policy, test accuracy %"),
            Column(name="policy, size", decimals=2),
            *(Column(name=f"over {name}") for name in against),
        ),
        rows=rows,
    )


def static_table(title: str, outcomes: Mapping[str, Outcomes]) -> Table:
    """The grown network beside networks that had its size from the start.

    Args:
        title: of the table.
        outcomes: of the policy, and of static networks on the same hosts.
    """
    policy = outcomes[POLICY]
    rows: dict[str, tuple[Cell, ...]] = {}
    for name, each in outcomes.items():
        rows[name] = (
            each.mean(each.test_accuracy),
            float(each.params.float().mean()),
            float((each.params / policy.params).mean()),
            None if name == POLICY else lead(policy, name, each)[0],
        )
    return Table(
        title=f"{title} ({len(policy.hosts)} hosts)",
        note=(
            "static-seeds: the seeds that alter the output of each host when the policy is done, in place from the "
            "first epoch on; others, still in training then, count in the policy's size alone. "
            "static-wide: no seeds, but each host so wide that it has as many parameters, as near as widths come. "
            f"All train for as many epochs. {INTERVALS}"
        ),
        columns=(
            Column(name="test accuracy %"),
            Column(name="parameters", decimals=0),
            Column(name="over the policy's", decimals=2),
            Column(name="policy leads by, points"),
        ),
        rows=rows,
    )
