"""Every fixed schedule on the same hosts."""

from typing import Final

from simic_training.engines.here import HereEngine
from simic_training.engines.unit import Engine
from simic_training.evaluation.comparisons import schedules_table
from simic_training.evaluation.options import EvaluationOptions
from simic_training.evaluation.tables import Table
from simic_training.evaluation.units import OnProgress, play_stages, tell_nobody
from simic_training.growth.config import GrowthConfig

NO_POLICY: Final = b""


def sweep(
    config: GrowthConfig,
    *,
    members_per_lack: int = 4,
    hosts_per_member: int = 2,
    seed: int = 0,
    engine: Engine | None = None,
    on_progress: OnProgress = tell_nobody,
) -> Table:
    """Play the schedules, and the rivals that need no training, on paired hosts.

    Args:
        config: the family, the hosts and the prices.
        members_per_lack, hosts_per_member, seed: see `EvaluationOptions`.
        engine: who plays; it is left open. None for this process alone. What comes out is the same.
        on_progress: see `OnProgress`.

    Raises:
        ValueError: see `paired_hosts`.
        UnitFailedError: something could not be played.
    """
    options = sweep_options(members_per_lack, hosts_per_member, seed)
    ((_, found),) = play_stages(NO_POLICY, config, options, engine or HereEngine(), on_progress)
    return schedules_table(found.outcomes)


def sweep_options(members_per_lack: int, hosts_per_member: int, seed: int) -> EvaluationOptions:
    """What is played, as an evaluation without a policy."""
    return EvaluationOptions(
        members_per_lack=members_per_lack, hosts_per_member=hosts_per_member, schedules="all", seed=seed
    )
