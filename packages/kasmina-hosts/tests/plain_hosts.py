"""The reference for stacked hosts: one host as ordinary modules, its seeds joined by formulas written out again."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from kasmina_hosts import Gate, HostConfig, Lifecycle, build_blueprint, build_host
from kasmina_hosts.network import HostNetworks
from leyline_types import AlphaAlgorithm, BlueprintAction, SeedStage

SILENT = (
    SeedStage.DORMANT,
    SeedStage.GERMINATED,
    SeedStage.PRUNED,
    SeedStage.EMBARGOED,
    SeedStage.RESETTING,
)


@dataclass
class PlainSeed:
    """A seed's own module and gate, and how they join the host."""

    module: nn.Module
    gate: nn.Module
    stage: SeedStage
    alpha: float
    algorithm: AlphaAlgorithm

    def __call__(self, h: Tensor) -> Tensor:
        training = self.stage == SeedStage.TRAINING
        s: Tensor = self.module(h.detach() if training else h)
        if training:
            return h + (s - s.detach())
        if self.algorithm == AlphaAlgorithm.MULTIPLY:
            return h * (1 + self.alpha * torch.tanh(s - h))
        share: Tensor | float = self.gate(h) if self.algorithm == AlphaAlgorithm.GATE else 1.0
        return h + self.alpha * share * (s - h)


@dataclass
class PlainHost:
    """A host: its parts in order, and what is in the slot after each but the last."""

    parts: list[nn.Module]
    seeds: dict[int, PlainSeed] = field(default_factory=dict)

    def __call__(self, x: Tensor) -> Tensor:
        for index, part in enumerate(self.parts):
            x = part(x)
            if index in self.seeds:
                x = self.seeds[index](x)
        return x

    def without(self, *slots: int) -> "PlainHost":
        """The same modules but for these seeds."""
        kept = {index: seed for index, seed in self.seeds.items() if index not in slots}
        return PlainHost(self.parts, kept)

    def named_parameters(self) -> dict[str, nn.Parameter]:
        """By the names of `HostNetworks.named_tensors`."""
        modules: dict[str, nn.Module] = {f"parts.{index}": part for index, part in enumerate(self.parts)}
        for index, seed in self.seeds.items():
            modules[f"slots.{index}.seed"] = seed.module
            modules[f"slots.{index}.gate"] = seed.gate
        return {
            f"{prefix}.{name}": value
            for prefix, module in modules.items()
            for name, value in module.named_parameters()
        }


def plain_host(
    networks: HostNetworks,
    life: Lifecycle,
    host: int,
    config: HostConfig,
    image_shape: tuple[int, int, int],
    num_classes: int,
) -> PlainHost:
    """One host of the networks, with copies of its parameters."""
    parts = build_host(config, image_shape, num_classes)
    for part, stack in zip(parts, networks.parts, strict=True):
        fill(part, stack.parameters, host, networks.dtype)
    plain = PlainHost(parts)
    for slot, modules in enumerate(networks.slots):
        stage = SeedStage(int(life.stage[host, slot]))
        if stage in SILENT:
            continue
        blueprint = BlueprintAction(int(life.blueprint[host, slot]))
        seed = build_blueprint(blueprint, config.topology, config.width)
        gate = Gate(config.width, config.topology)
        fill(seed, modules.seeds[blueprint].parameters, host, networks.dtype)
        fill(gate, modules.gate.parameters, host, networks.dtype)
        algorithm = AlphaAlgorithm(int(life.algorithm[host, slot]))
        plain.seeds[slot] = PlainSeed(seed, gate, stage, float(life.alpha[host, slot]), algorithm)
    return plain


def fill(module: nn.Module, stacked: dict[str, Tensor], host: int, dtype: torch.dtype) -> None:
    """Give a module one host's values of stacked parameters."""
    module.to(dtype).load_state_dict({name: value[host].detach() for name, value in stacked.items()})


def accuracy(host: PlainHost, images: Tensor, labels: Tensor) -> float:
    """Percent."""
    with torch.no_grad():
        return 100 * float((host(images).argmax(-1) == labels).float().mean())
