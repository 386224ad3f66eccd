"""Tables that put controllers beside each other on the same hosts."""

from collections.abc import Mapping, Sequence
from statistics import fmean, median
from typing import Final

from simic_training.evaluation.outcomes import Host, Outcomes, check_paired
from simic_training.evaluation.static import STATIC_LONG, STATIC_SEEDS, STATIC_WIDE
from simic_training.evaluation.tables import Cell, Column, Table
from simic_training.evaluation.units import GREEDY, POLICY
from simic_training.statistics import Estimate

BETTER: Final = "better"
WORSE: Final = "worse"
NEITHER: Final = "no difference shown"

INTERVALS: Final = (
    "In brackets: 95 % bootstrap intervals, paired host by host; hosts of one member of the family share a task and "
    "are resampled together."
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


def verdict(lead: Estimate) -> str:
    """What an interval of a lead says, in words."""
    if lead.low > 0:
        return BETTER
    return WORSE if lead.high < 0 else NEITHER


def verdict_table(title: str, note: str, outcomes: Mapping[str, Outcomes]) -> Table:
    """A row for each controller: its return, and what the policy's lead over it says.

    Args:
        title, note: of the table; which hosts these are and how intervals are made is added.
        outcomes: by controller, on the same hosts; `POLICY` and `GREEDY` are among them.

    Raises:
        ValueError: a controller was played on other hosts.
    """
    policy, greedy = outcomes[POLICY], outcomes[GREEDY]
    rows: dict[str, tuple[Cell, ...]] = {}
    for name, each in outcomes.items():
        told: tuple[Cell, ...] = (None,) * 4
        if name not in (POLICY, GREEDY):
            leads = [lead(own, name, each)[1] for own in (policy, greedy)]
            told = (leads[0], verdict(leads[0]), leads[1], verdict(leads[1]))
        means = (float(each.episode_return.mean()), float(each.size.mean()))
        rows[name] = (*means, *told, float(each.test_accuracy.mean()))
    words = (
        f'{note} {about(policy.hosts)} "{BETTER}" and "{WORSE}": the interval of the lead in return is above or below '
        f"0. greedy: the likeliest action each time, rather than sampled ones. size: final parameters over the bare "
        f"host's. {INTERVALS}"
    )
    return Table(
        title=_titled(title, policy.hosts),
        note=words.lstrip(),
        columns=(  # in an order in which 80 columns hold them in two parts
            Column(name="return", decimals=2),
            Column(name="size", decimals=2),
            Column(name="policy leads by, return", decimals=2),
            Column(name="verdict"),
            Column(name="greedy leads by, return", decimals=2),
            Column(name="verdict, greedy"),
            Column(name="test accuracy %"),
        ),
        rows=rows,
    )


def lacks_table(title: str, outcomes: Mapping[str, Outcomes]) -> Table:
    """A row for each lack: what the policy reaches there, how large it grows, and whom it leads in return.

    Args:
        title: of the table.
        outcomes: by controller, on the same hosts; the policy is among them.
    """
    others = [name for name in outcomes if name != POLICY]
    rows: dict[str, tuple[Cell, ...]] = {}
    for lack in dict.fromkeys(host.lack for host in outcomes[POLICY].hosts):
        chosen = {name: each.of_lack(lack) for name, each in outcomes.items()}
        policy = chosen[POLICY]
        rows[lack.value] = (
            policy.mean(policy.test_accuracy),
            float(policy.size.mean()),
            policy.mean(policy.episode_return),
            *(lead(policy, name, chosen[name])[1] for name in others),
            len(policy.hosts),
            _range([host.price for host in policy.hosts]),
        )
    return Table(
        title=title,
        note=(
            "What the bare hosts lack, which no policy is told. over: the policy's lead in return. "
            f"{about(outcomes[POLICY].hosts)} {INTERVALS}"
        ),
        columns=(
            Column(name="policy, test accuracy %"),
            Column(name="policy, size", decimals=2),
            Column(name="policy, return", decimals=2),
            *(Column(name=f"over {name}", decimals=2) for name in others),
            Column(name="hosts", decimals=0),
            Column(name="prices"),
        ),
        rows=rows,
    )


def static_table(title: str, outcomes: Mapping[str, Outcomes]) -> Table:
    """The grown network beside networks that had its size from the start, or trained for as long as it took.

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
            fmean(host.epochs for host in each.hosts),
            None if name == POLICY else lead(policy, name, each)[0],
        )
    return Table(
        title=_titled(title, policy.hosts),
        note=(
            f"{STATIC_SEEDS}: the seeds that alter the output of each host when the policy is done, in place from the "
            "first epoch on; others, still in training then, count in the policy's size alone. "
            f"{STATIC_WIDE}: no seeds, but each host so wide that it has as many parameters, as near as widths come. "
            f"{STATIC_LONG}: the bare host, for so many epochs that epochs times parameters are as many as the "
            f"policy's. {about(policy.hosts)} {INTERVALS}"
        ),
        columns=(
            Column(name="test accuracy %"),
            Column(name="parameters", decimals=0),
            Column(name="over the policy's", decimals=2),
            Column(name="epochs"),
            Column(name="policy leads by, points"),
        ),
        rows=rows,
    )


def schedules_table(outcomes: Mapping[str, Outcomes], policy: Outcomes) -> Table:
    """A row for each schedule, the best first, and the policy's lead over it.

    Args:
        outcomes: by schedule, on the same hosts.
        policy: what a policy reaches there.
    """
    rows: dict[str, tuple[Cell, ...]] = {}
    for name in by_return(outcomes):
        each = outcomes[name]
        rows[name] = (
            each.mean(each.episode_return),
            each.mean(each.test_accuracy),
            float(each.size.mean()),
            *reversed(lead(policy, name, each)),
        )
    return Table(
        title=_titled("Fixed schedules", policy.hosts),
        note=(
            'By return, the best first. "conv_light r0c1 @5" puts one seed into slot r0c1 before the sixth epoch, '
            '"all" one into every slot, one epoch after the other. The best of many on these very hosts looks better '
            f"than it is. {about(policy.hosts)} {INTERVALS}"
        ),
        columns=(
            Column(name="return", decimals=2),
            Column(name="test accuracy %"),
            Column(name="size", decimals=2),
            Column(name="policy leads by, return", decimals=2),
            Column(name="policy leads by, points"),
        ),
        rows=rows,
    )


def by_return(outcomes: Mapping[str, Outcomes]) -> Sequence[str]:
    """The names by mean return, the best first."""
    means = {name: float(each.episode_return.mean()) for name, each in outcomes.items()}
    return sorted(means, key=means.__getitem__, reverse=True)


def about(hosts: Sequence[Host]) -> str:
    """What the returns of these hosts were paid at, and how long their episodes were."""
    prices = [host.price for host in hosts]
    lengths = sorted({host.epochs for host in hosts})
    epochs = f"{lengths[0]} to {lengths[-1]}" if len(lengths) > 1 else f"{lengths[0]}"
    members = len({host.member for host in hosts})
    return (
        f"{len(hosts)} hosts of {members} members of the family; prices {_range(prices)}, median {median(prices):.2g}; "
        f"episodes of {epochs} epochs."
    )


def _range(prices: Sequence[float]) -> str:
    return f"{min(prices):.2g} to {max(prices):.2g}"


def _titled(title: str, hosts: Sequence[Host]) -> str:
    return f"{title} ({len(hosts)} hosts)"
