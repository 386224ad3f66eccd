"""E hosts with their seeds as one computation."""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from kasmina_hosts.blending import Gate
from kasmina_hosts.blueprints import blueprint_size, build_blueprint, built_blueprints
from kasmina_hosts.config import HostConfig
from kasmina_hosts.host import build_host
from kasmina_hosts.lifecycle import ALTERS_HOST, Lifecycle, in_stages
from kasmina_hosts.slot_groups import SlotGroups, SlotModules, apply_groups, find_groups
from kasmina_hosts.stacked import MAX_SEEDS, StackedModule, seed_of, seeded_initialisation
from kasmina_hosts.stacked_optimizer import Learning, StackedOptimizer
from leyline_types import AlphaAlgorithm, BlueprintAction


class HostNetworks:
    """The networks of E hosts: a chain of parts, with a slot after each but the last.

    Args:
        host_seeds: one per host; each host's initial values depend on its own seed alone.
        config: topology and width.
        image_shape: (C, H, W) of the data.
        num_classes: of the logits.
        dtype: of parameters and activations.

    Raises:
        ValueError: a host cannot be built for such images.
    """

    def __init__(
        self,
        host_seeds: Sequence[int],
        config: HostConfig,
        image_shape: tuple[int, int, int],
        num_classes: int,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.dtype = dtype
        self._host_seeds = list(host_seeds)
        self.topology, self._width, self._co_adapt = config.topology, config.width, config.co_adapt
        hosts = [_build_seeded(seed, config, image_shape, num_classes) for seed in host_seeds]
        self.parts = [StackedModule(parts, dtype) for parts in zip(*hosts, strict=True)]
        self.blueprints = built_blueprints(self.topology)
        self._plain_sizes = [
            blueprint_size(blueprint, self.topology, self._width) if blueprint in self.blueprints else 0
            for blueprint in BlueprintAction
        ]
        self.slots = [
            SlotModules({}, StackedModule([self._fresh_gate(0)] * len(host_seeds), dtype))
            for _ in self.parts[:-1]
        ]
        self.optimizer = StackedOptimizer(
            config.optimizer, learning_rate=config.learning_rate, momentum=config.momentum
        )
        for name, tensor in self.named_parameters():
            self.optimizer.join(name, tensor)

    def seed_sizes(self, life: Lifecycle) -> Int[Tensor, "host slot"]:
        """Parameters of each live seed, its gate included where it has one; 0 where there is none."""
        plain = torch.tensor(self._plain_sizes)[life.blueprint]
        gate = torch.where(life.algorithm == AlphaAlgorithm.GATE, self.slots[0].gate.size, 0)
        return torch.where(life.live, plain + gate, 0)

    def named_tensors(self) -> Iterator[tuple[str, Tensor]]:
        """All that training changes: parameters by name, and optimizer.NAME.steps, ... of what is kept of each."""
        yield from self.named_parameters()
        yield from ((f"optimizer.{name}", tensor) for name, tensor in self.optimizer.named_tensors())

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """Every stacked parameter, by name: parts.0.conv.weight, slots.0.norm.gain, slots.0.gate.linear.bias."""
        for index, part in enumerate(self.parts):
            yield from ((f"parts.{index}.{name}", tensor) for name, tensor in part.parameters.items())
        for index, slot in enumerate(self.slots):
            stacks = {blueprint.blueprint_id: stack for blueprint, stack in slot.seeds.items()}
            for kind, stack in (*stacks.items(), ("gate", slot.gate)):
                yield from (
                    (f"slots.{index}.{kind}.{name}", tensor) for name, tensor in stack.parameters.items()
                )

    def learning_hosts(self) -> list[Learning]:
        """The hosts' own parameters, all of which always learn."""
        return [
            Learning(f"parts.{index}.{name}", tensor, None)
            for index, part in enumerate(self.parts)
            for name, tensor in part.parameters.items()
        ]

    def learning_seeds(self, life: Lifecycle, slot: int) -> list[Learning]:
        """The parameters of the seeds and gates of a slot, where some host's learn. Seeds whose alpha falls do not."""
        learns, stage = life.learns[:, slot], life.stage[:, slot]
        gated = in_stages(stage, ALTERS_HOST) & (life.algorithm[:, slot] == AlphaAlgorithm.GATE)
        stacks = [("gate", self.slots[slot].gate, learns & gated)]
        for blueprint, stack in self.slots[slot].seeds.items():
            stacks.append((blueprint.blueprint_id, stack, learns & (life.blueprint[:, slot] == blueprint)))
        return [
            Learning(f"slots.{slot}.{kind}.{name}", tensor, None if bool(rows.all()) else rows)
            for kind, stack, rows in stacks
            if bool(rows.any())
            for name, tensor in stack.parameters.items()
        ]

    def plant(self, host: int, slot: int, blueprint: BlueprintAction, count: int) -> None:
        """Put a fresh seed into a slot.

        Args:
            count: seeds planted in this host before; with the host's seed and slot it sets the initial values.
        """
        seed = seed_of(self._host_seeds[host], slot, len(self.slots), count)
        self.make_room(slot, blueprint)
        self.slots[slot].seeds[blueprint].put(host, self._fresh(blueprint, seed))
        self.slots[slot].gate.put(host, self._fresh_gate(seed + MAX_SEEDS // 2))
        self.forget(host, slot)

    def forget(self, host: int, slot: int) -> None:
        """Drop what the optimiser remembers of a slot's seeds: one has been pruned, or is new."""
        self.optimizer.forget(host, f"slots.{slot}.")

    def make_room(self, slot: int, blueprint: BlueprintAction) -> None:
        """Have a stack for a blueprint's seeds in a slot."""
        if blueprint not in self.slots[slot].seeds:
            modules = [self._fresh(blueprint, 0)] * len(self._host_seeds)
            stack = self.slots[slot].seeds[blueprint] = StackedModule(modules, self.dtype)
            for name, tensor in stack.parameters.items():
                self.optimizer.join(f"slots.{slot}.{blueprint.blueprint_id}.{name}", tensor)

    def groups(self, life: Lifecycle, *, training: bool) -> list[SlotGroups]:
        """Which seeds compute in each slot: what `forward` needs to know of the lifecycle."""
        return [
            find_groups(modules, life, slot, training=training, co_adapt=self._co_adapt, dtype=self.dtype)
            for slot, modules in enumerate(self.slots)
        ]

    def forward(
        self,
        x: Float[Tensor, "host batch *shape"],
        groups: Sequence[SlotGroups],
        *,
        start: int = 0,
        taps: list[Tensor] | None = None,
    ) -> Float[Tensor, "host batch num_classes"]:
        """Class logits of every host on its own batch.

        Args:
            x: the input of part `start`.
            groups: the seeds of each slot, the first slot's first.
            start: the first part to run.
            taps: the activation after each part that a slot follows is appended, before its seeds are applied.
        """
        for index, part in enumerate(self.parts[start:], start):
            x = part(x)
            if index < len(self.slots):
                if taps is not None:
                    taps.append(x)
                x = apply_groups(x, groups[index])
        return x

    def _fresh(self, blueprint: BlueprintAction, seed: int) -> nn.Module:
        with seeded_initialisation(seed):
            return build_blueprint(blueprint, self.topology, self._width)

    def _fresh_gate(self, seed: int) -> nn.Module:
        with seeded_initialisation(seed):
            return Gate(self._width, self.topology)


def _build_seeded(
    seed: int, config: HostConfig, image_shape: tuple[int, int, int], num_classes: int
) -> list[nn.Module]:
    with seeded_initialisation(seed):
        return build_host(config, image_shape, num_classes)
