"""Which hosts compute which seeds at a slot, found once per epoch, and the activation after them."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from kasmina_hosts.blending import blend_each, each, incubate
from kasmina_hosts.lifecycle import ALTERS_HOST, SEES_SLOT, Lifecycle, in_stages
from kasmina_hosts.stacked import StackedModule
from kasmina_hosts.stacked_layers import as_in_memory, as_seen
from leyline_types import AlphaAlgorithm, BlueprintAction, SeedStage


class SlotModules(NamedTuple):
    """What can grow in one slot: a stack of seeds per blueprint (made when first needed), and the gates."""

    seeds: dict[BlueprintAction, StackedModule]
    gate: StackedModule


class SeedGroup(NamedTuple):
    """Hosts whose slot holds a seed of one blueprint.

    Args:
        seeds, gate: the slot's modules.
        hosts: their indices, [chosen]; None: all hosts.
        incubating: which of them only learn beside their host.
        alpha, algorithm: of the others.
        kinds: the algorithms that occur among the others.
        co_adapt: whether these hosts learn through their seeds.
    """

    seeds: StackedModule
    gate: StackedModule
    hosts: Int[Tensor, " chosen"] | None
    incubating: Bool[Tensor, " chosen"]
    alpha: Float[Tensor, " chosen"]
    algorithm: Int[Tensor, " chosen"]
    kinds: tuple[AlphaAlgorithm, ...]
    co_adapt: bool

    @property
    def mixed(self) -> bool:
        """Whether some of the hosts incubate their seed and others blend it in."""
        return bool(self.kinds) and bool(self.incubating.any())

    @property
    def gated(self) -> bool:
        """Whether the gates compute."""
        return AlphaAlgorithm.GATE in self.kinds


class SlotGroups(NamedTuple):
    """All groups of a slot; `rest` are the hosts without a seed, `places` puts groups and rest back in order."""

    groups: tuple[SeedGroup, ...]
    rest: Int[Tensor, " other"]
    places: Int[Tensor, " host"]


NO_SEEDS = SlotGroups((), torch.zeros(0, dtype=torch.long), torch.zeros(0, dtype=torch.long))
"""A slot that leaves every host's activation as it is."""


def find_groups(
    modules: SlotModules, life: Lifecycle, slot: int, *, training: bool, co_adapt: bool, dtype: torch.dtype
) -> SlotGroups:
    """The groups of a slot.

    Args:
        training: whether seeds in TRAINING compute (to learn); their host's output is the same either way.
        co_adapt: whether hosts learn through the seeds that they blend in.
        dtype: of the networks.
    """
    stage = life.stage[:, slot]
    computes = in_stages(stage, SEES_SLOT if training else ALTERS_HOST)
    chosen = {
        blueprint: (computes & (life.blueprint[:, slot] == blueprint)).nonzero()[:, 0]
        for blueprint in modules.seeds
    }
    groups = tuple(
        _group(modules, life, slot, blueprint, hosts, co_adapt, dtype)
        for blueprint, hosts in chosen.items()
        if len(hosts)
    )
    rest = (~computes).nonzero()[:, 0]
    order = torch.cat([*(hosts for hosts in chosen.values() if len(hosts)), rest])
    return SlotGroups(groups, rest, order.argsort()) if groups else NO_SEEDS


def apply_groups(
    h: Float[Tensor, "host batch *shape"], slot: SlotGroups
) -> Float[Tensor, "host batch *shape"]:
    """The activation after a slot: hosts with the same blueprint are gathered, run together and put back."""
    if not slot.groups:
        return h
    if slot.groups[0].hosts is None:
        return _after(slot.groups[0], h)
    before = as_in_memory(h)  # so that gathered rows of hosts lie as they did
    pieces = [
        as_in_memory(_after(group, as_seen(before.index_select(0, group.hosts))))
        for group in slot.groups
        if group.hosts is not None
    ]
    return as_seen(torch.cat([*pieces, before.index_select(0, slot.rest)]).index_select(0, slot.places))


def _group(
    modules: SlotModules,
    life: Lifecycle,
    slot: int,
    blueprint: BlueprintAction,
    hosts: Int[Tensor, " chosen"],
    co_adapt: bool,
    dtype: torch.dtype,
) -> SeedGroup:
    incubating = life.stage[hosts, slot] == SeedStage.TRAINING
    algorithm = life.algorithm[hosts, slot]
    return SeedGroup(
        seeds=modules.seeds[blueprint],
        gate=modules.gate,
        hosts=hosts if len(hosts) < len(life.stage) else None,
        incubating=incubating,
        alpha=life.alpha[hosts, slot].to(dtype),
        algorithm=algorithm,
        kinds=tuple(AlphaAlgorithm(kind) for kind in algorithm[~incubating].unique().tolist()),
        co_adapt=co_adapt,
    )


def _after(group: SeedGroup, h: Float[Tensor, "chosen batch *shape"]) -> Float[Tensor, "chosen batch *shape"]:
    if not group.kinds:
        return incubate(h, group.seeds(h.detach(), group.hosts))
    mixed = group.mixed
    seen = h if group.co_adapt else h.detach()
    if mixed:
        seen = torch.where(each(group.incubating, h), h.detach(), seen)
    s = group.seeds(seen, group.hosts)
    gate = group.gate(seen, group.hosts) if group.gated else h.new_ones(())
    blended = blend_each(h, s, gate, group.alpha, group.algorithm, group.kinds)
    return torch.where(each(group.incubating, h), incubate(h, s), blended) if mixed else blended
