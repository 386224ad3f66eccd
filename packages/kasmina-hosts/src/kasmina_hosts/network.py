"""E hosts with their seeds as one computation."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from kasmina_hosts.blending import Gate, joined
from kasmina_hosts.blueprints import build_blueprint, built_blueprints
from kasmina_hosts.host import build_host
from kasmina_hosts.lifecycle import Lifecycle, in_stages
from kasmina_hosts.stacked import StackedModule, seeded, seeded_initialisation
from leyline_types import AlphaAlgorithm, BlueprintAction, SeedStage, Topology

SEES_SLOT = (SeedStage.TRAINING, SeedStage.BLENDING, SeedStage.HOLDING, SeedStage.FOSSILIZED)
"""Stages in which a seed computes: in TRAINING beside the host, later as part of it."""
ALTERS_HOST = SEES_SLOT[1:]


_MAX_SEEDS = 1_000
"""Far more seeds than one slot of one host sees in an episode."""


class SlotModules(NamedTuple):
    """What can grow in one slot: a stack of seeds per blueprint (made when first needed), and the gates."""

    seeds: dict[BlueprintAction, StackedModule]
    gate: StackedModule


class HostNetworks:
    """The networks of E hosts: a chain of parts, with a slot after each but the last.

    Args:
        host_seeds: one per host; each host's initial values depend on its own seed alone.
        width: channels. num_classes: of the logits.
    """

    topology = Topology.CNN

    def __init__(self, host_seeds: list[int], width: int, num_classes: int) -> None:
        self._host_seeds = host_seeds
        self._width = width
        hosts = [_build_seeded(seed, width, num_classes) for seed in host_seeds]
        self.parts = [StackedModule(parts) for parts in zip(*hosts, strict=True)]
        self._plain_sizes = [
            _module_size(self._fresh(blueprint, 0)) if blueprint in built_blueprints(self.topology) else 0
            for blueprint in BlueprintAction
        ]
        self.slots = [
            SlotModules({}, StackedModule([seeded(lambda: Gate(width), 0)] * len(host_seeds)))
            for _ in self.parts[:-1]
        ]

    @property
    def host_size(self) -> int:
        """Parameters of one host without seeds."""
        return sum(part.size for part in self.parts)

    def seed_sizes(self, life: Lifecycle) -> Int[Tensor, "host slot"]:
        """Parameters of each live seed, its gate included where it has one; 0 where there is none."""
        plain = torch.tensor(self._plain_sizes)[life.blueprint]
        gate = torch.where(life.algorithm == AlphaAlgorithm.GATE, self.slots[0].gate.size, 0)
        return torch.where(life.live, plain + gate, 0)

    def tensors(self) -> Iterator[Tensor]:
        """Every stacked parameter of hosts, seeds and gates."""
        for part in self.parts:
            yield from part.tensors()
        for slot in self.slots:
            for module in (*slot.seeds.values(), slot.gate):
                yield from module.tensors()

    def plant(self, host: int, slot: int, blueprint: BlueprintAction, count: int) -> None:
        """Put a fresh seed into a slot.

        Args:
            count: seeds planted in this host before; with the host's seed and slot it sets the initial values.
        """
        seed = ((self._host_seeds[host] * len(self.slots) + slot) * _MAX_SEEDS + count) % 2**63
        fresh = self._fresh(blueprint, seed)
        stacks = self.slots[slot].seeds
        if blueprint not in stacks:
            stacks[blueprint] = StackedModule([fresh] * len(self._host_seeds))
        stacks[blueprint].put(host, fresh)
        self.slots[slot].gate.put(host, seeded(lambda: Gate(self._width), seed))

    def _fresh(self, blueprint: BlueprintAction, seed: int) -> torch.nn.Module:
        return seeded(lambda: build_blueprint(blueprint, self.topology, self._width), seed)

    def forward(
        self,
        x: Float[Tensor, "host batch *shape"],
        life: Lifecycle,
        *,
        training: bool,
        start: int = 0,
        taps: list[Tensor] | None = None,
    ) -> Float[Tensor, "host batch num_classes"]:
        """Class logits of every host on its own batch.

        Args:
            x: the input of part `start`.
            life: which seeds there are, and how far each is blended in.
            training: whether seeds in TRAINING compute (to learn); their host's output is the same either way.
            start: the first part to run.
            taps: the activation after each part that a slot follows is appended, before its seeds are applied.
        """
        for index, part in enumerate(self.parts[start:], start):
            x = part(x)
            if index < len(self.slots):
                if taps is not None:
                    taps.append(x)
                x = self.apply_slot(index, x, life, training=training)
        return x

    def apply_slot(
        self, slot: int, h: Float[Tensor, "host batch *shape"], life: Lifecycle, *, training: bool
    ) -> Float[Tensor, "host batch *shape"]:
        """The activation after a slot: hosts with the same blueprint are gathered, run together and put back."""
        stage = life.stage[:, slot]
        computes = in_stages(stage, SEES_SLOT if training else ALTERS_HOST)
        for blueprint, stack in self.slots[slot].seeds.items():
            hosts = (computes & (life.blueprint[:, slot] == blueprint)).nonzero()[:, 0]
            if len(hosts) == 0:
                continue
            own = h[hosts]
            incubating = stage[hosts] == SeedStage.TRAINING
            seen = torch.where(incubating.reshape(-1, *[1] * (h.dim() - 1)), own.detach(), own)
            algorithm = life.algorithm[hosts, slot]
            gated = bool((algorithm == AlphaAlgorithm.GATE).any())
            gate = self.slots[slot].gate(seen, hosts) if gated else torch.ones(())
            after = joined(own, stack(seen, hosts), gate, life.alpha[hosts, slot], algorithm, incubating)
            h = h.index_copy(0, hosts, after)
        return h


def _module_size(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _build_seeded(seed: int, width: int, num_classes: int) -> list[torch.nn.Module]:
    with seeded_initialisation(seed):
        return build_host(width, num_classes)
