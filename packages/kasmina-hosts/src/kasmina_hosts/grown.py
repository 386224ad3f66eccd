"""The seeds that a host holds, to be put into another host from the start."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from kasmina_hosts.lifecycle import Lifecycle, empty_lifecycle
from leyline_types import AlphaAlgorithm, BlueprintAction, SeedStage, SlotConfig


@dataclass(frozen=True, slots=True)
class GrownSeed:
    """A seed that is part of a host: what it is built from, how it joins the host and how far (alpha, above 0 to 1).

    Raises:
        ValueError: an alpha outside that range.
    """

    blueprint: BlueprintAction
    algorithm: AlphaAlgorithm
    alpha: float

    def __post_init__(self) -> None:
        if not 0 < self.alpha <= 1:
            raise ValueError(f"`alpha` must lie in (0, 1], not {self.alpha}")


def grown_seeds(life: Lifecycle, slot_config: SlotConfig) -> list[dict[str, GrownSeed]]:
    """Of each host, the seeds that alter its output, by slot id."""
    alters = life.alters_output
    return [
        {
            slot_id: GrownSeed(
                BlueprintAction(int(life.blueprint[host, slot])),
                AlphaAlgorithm(int(life.algorithm[host, slot])),
                float(life.alpha[host, slot]),
            )
            for slot, slot_id in enumerate(slot_config)
            if alters[host, slot]
        }
        for host in range(len(alters))
    ]


def fossilized(hosts: Sequence[Mapping[str, GrownSeed]], slot_config: SlotConfig) -> Lifecycle:
    """The lifecycle of hosts that hold these seeds, fossilized, and have not trained yet.

    Raises:
        ValueError: a slot that the hosts do not have.
    """
    life = empty_lifecycle(len(hosts), len(slot_config))
    for host, seeds in enumerate(hosts):
        for slot_id, seed in seeds.items():
            here = torch.zeros_like(life.occupied)
            here[host, slot_config.index(slot_id)] = True
            life = life.where(
                here,
                stage=float(SeedStage.FOSSILIZED),
                previous_stage=float(SeedStage.HOLDING),
                blueprint=float(seed.blueprint),
                algorithm=float(seed.algorithm),
                alpha=seed.alpha,
                alpha_target=seed.alpha,
            )
    return life
