"""Equal total budget: the policy's training is charged to the policy, every attempt to a search."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import attrgetter
from types import MappingProxyType
from typing import Final, NamedTuple

from torch import Tensor

from simic_training.evaluation.comparisons import GREEDY, INTERVALS, POLICY, lead
from simic_training.evaluation.controllers import NONE, RANDOM
from simic_training.evaluation.family import FamilyOutcomes
from simic_training.evaluation.outcomes import Outcomes
from simic_training.evaluation.search import Cost, chosen_elsewhere, pays_from, search
from simic_training.evaluation.tables import Cell, Column, Table

MEASURES: Final = MappingProxyType[str, Callable[[Outcomes], Tensor]](
    {"return": attrgetter("episode_return"), "test accuracy": attrgetter("test_accuracy")}
)
"""What a policy and a search may be equal in."""

SWEPT: Final = "schedule of a sweep"
NEVER: Final = "never"


class Budget(NamedTuple):
    """What the parts of a comparison at equal cost are made of.

    Args:
        policy, greedy, none: outcomes on the same hosts.
        pools: by name, attempts on those hosts to choose from; those of one pool cost one episode each.
        schedules: outcomes of every schedule of a sweep; none where there was none.
        trained_episodes: networks grown to train the policy. epochs: of an episode.
    """

    policy: Outcomes
    greedy: Outcomes
    none: Outcomes
    pools: Mapping[str, Sequence[Outcomes]]
    schedules: Sequence[Outcomes]
    trained_episodes: int
    epochs: int

    @property
    def policy_cost(self) -> Cost:
        """Its training once, an episode for each network."""
        return Cost(self.trained_episodes * self.epochs, self.epochs)

    @property
    def equal_attempts(self) -> int:
        """Attempts on each of these hosts that cost together what the policy costs with its training."""
        return self.policy_cost.of(len(self.policy.hosts)) // (len(self.policy.hosts) * self.epochs)


def budget_of(
    family: FamilyOutcomes, attempts: Sequence[Outcomes], *, trained_episodes: int, epochs: int
) -> Budget:
    """The parts, from what was played on hosts as in training.

    Args:
        family: all controllers.
        attempts: random ones besides the rival of that name, which is the first.
        trained_episodes, epochs: see `Budget`.
    """
    schedules = list(family.schedules.values())
    pools = {RANDOM: [family.controllers[RANDOM], *attempts]}
    return Budget(
        policy=family.controllers[POLICY],
        greedy=family.controllers[GREEDY],
        none=family.controllers[NONE],
        pools={**pools, "schedules": schedules} if schedules else pools,
        schedules=schedules,
        trained_episodes=trained_episodes,
        epochs=epochs,
    )


def budget_table(budget: Budget) -> Table:
    """What growing networks costs by policy, not at all, by a schedule found once and by the best of k attempts."""
    rows: dict[str, tuple[Cell, ...]] = {}
    for name, cost, each in _ways(budget):
        mine = name in (POLICY, GREEDY)
        rows[name] = (
            cost.once,
            cost.per_network,
            each.mean(each.test_accuracy),
            each.mean(each.episode_return),
            *((None, None) if name == POLICY else lead(budget.policy, name, each)),
            None if mine else _from(pays_from(budget.policy_cost, cost)),
        )
    hosts, equal = len(budget.policy.hosts), budget.equal_attempts
    longest = {name: len(attempts) for name, attempts in budget.pools.items()}
    cut = [f"{name} at {length}" for name, length in longest.items() if length < equal]
    return Table(
        title=f"Equal total budget ({hosts} hosts)",
        note=(
            f"All in host epochs: one network trained for one epoch. The policy's {budget.trained_episodes} training "
            f"episodes are charged to it once. Best of k: k attempts on each host, kept is the one with the best "
            f"return (expected over all choices of k attempts). For {hosts} networks the policy's whole budget buys "
            f"k = {equal}"
            + (f"; the curve was cut off before that ({', '.join(cut)}). " if cut else ". ")
            + f'"{SWEPT}": every schedule is played on all {hosts} hosts once, and the one with the best return on the '
            f"other members of the family is used. The last column: networks after which the policy has cost no more. "
            f"{INTERVALS}"
        ),
        columns=(
            Column(name="host epochs, once", decimals=0),
            Column(name="per network", decimals=0),
            Column(name="test accuracy %"),
            Column(name="return", decimals=2),
            Column(name="policy leads by, points"),
            Column(name="policy leads by, return", decimals=2),
            Column(name="policy is cheaper from"),
        ),
        rows=rows,
    )


def payback_table(budget: Budget) -> Table:
    """How many attempts the policy is worth, and after how many networks its training is paid back by saving them."""
    rows: dict[str, tuple[Cell, ...]] = {}
    for pool, attempts in budget.pools.items():
        for name, measure in MEASURES.items():
            goal = float(measure(budget.policy).mean())
            k = worth(attempts, measure, goal)
            best = float(measure(search(attempts, k or len(attempts))).mean())
            rows[f"{pool}, by {name}"] = (goal, best, *_paid_back(budget, k, len(attempts)))
    return Table(
        title="When the policy's training is paid back",
        note=(
            "k: the fewest attempts on each host, the best by return kept, that do no worse in the mean than the "
            f"policy does with one episode. From so many networks on, the policy's {budget.trained_episodes} training "
            "episodes and one "
            f'episode each cost no more than k episodes each. "{NEVER}": a single attempt does as well.'
        ),
        columns=(
            Column(name="policy", decimals=2),
            Column(name="best of k", decimals=2),
            Column(name="k"),
            Column(name="paid back from"),
        ),
        rows=rows,
    )


def worth(attempts: Sequence[Outcomes], measure: Callable[[Outcomes], Tensor], goal: float) -> int | None:
    """The smallest k for which the best of k is on average at least as good as `goal`; None if no k is."""
    for k in range(1, len(attempts) + 1):
        if float(measure(search(attempts, k)).mean()) >= goal:
            return k
    return None


def doublings(most: int) -> list[int]:
    """1, 2, 4, ... and `most` itself."""
    powers = [2**power for power in range(most.bit_length())]
    return sorted({*powers, most})


def _ways(budget: Budget) -> Iterator[tuple[str, Cost, Outcomes]]:
    epochs, hosts = budget.epochs, len(budget.policy.hosts)
    yield POLICY, budget.policy_cost, budget.policy
    yield GREEDY, budget.policy_cost, budget.greedy
    yield "none", Cost(0, epochs), budget.none
    if budget.schedules:
        yield SWEPT, Cost(len(budget.schedules) * hosts * epochs, epochs), chosen_elsewhere(budget.schedules)
    for pool, attempts in budget.pools.items():
        counts = doublings(len(attempts))
        if budget.equal_attempts <= len(attempts):
            counts = sorted({*counts, budget.equal_attempts})
        for k in counts:
            yield f"{pool}, best of {k}", Cost(0, k * epochs), search(attempts, k)


def _paid_back(budget: Budget, k: int | None, most: int) -> tuple[str, str]:
    if k is None:
        bound = pays_from(budget.policy_cost, Cost(0, (most + 1) * budget.epochs))
        return f"more than {most}", f"at most {bound} networks"
    return str(k), _from(pays_from(budget.policy_cost, Cost(0, k * budget.epochs)))


def _from(networks: int | None) -> str:
    return NEVER if networks is None else f"{networks} networks"
