"""The state of E hosts between two epochs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from kasmina_hosts.evaluation import Score
from kasmina_hosts.governor import LossWatch, Snapshot, first_watch, is_finite, take_snapshot
from kasmina_hosts.lifecycle import Lifecycle
from kasmina_hosts.measures import (
    HostMeasures,
    SeedMeasures,
    first_measures,
    no_seed_measures,
)
from kasmina_hosts.network import HostNetworks
from kasmina_hosts.observing import LastAction, no_action
from kasmina_hosts.saving import StateError, check_life, flatten, take, unflatten
from leyline_types import BlueprintAction


class DivergedHostError(ArithmeticError):
    """A host that is not finite before any training, or right after it was rolled back."""


@dataclass(slots=True)
class Episode:
    """The hosts, what was measured of them, and what their next epoch depends on.

    Args:
        host_seeds: what each host's first values and order of data come from.
        orders: one generator per host, for the order of its data.
        planted: seeds planted so far, by host and slot.
        epoch: epochs trained.
    """

    host_seeds: list[int]
    networks: HostNetworks
    orders: list[torch.Generator]
    life: Lifecycle
    hosts: HostMeasures
    seeds: SeedMeasures
    last: LastAction
    planted: Int[Tensor, "host slot"]
    watch: LossWatch
    snapshot: Snapshot
    epoch: int


def begin(
    host_seeds: Sequence[int], networks: HostNetworks, life: Lifecycle, train: Score, validation: Score
) -> Episode:
    """Before any training, with the seeds of `life` planted already.

    Raises:
        DivergedHostError: a loss is not finite.
    """
    if not is_finite(train, validation).all():
        raise DivergedHostError(
            "a fresh host has a loss that is not finite; its data or its width must be at fault"
        )
    num_hosts, num_slots = life.stage.shape
    return Episode(
        host_seeds=list(host_seeds),
        networks=networks,
        orders=[torch.Generator().manual_seed(seed) for seed in host_seeds],
        life=life,
        hosts=first_measures(train, validation),
        seeds=no_seed_measures(num_hosts, num_slots),
        last=no_action(num_hosts),
        planted=life.occupied.long(),
        watch=first_watch(validation),
        snapshot=take_snapshot(networks),
        epoch=0,
    )


def episode_state(episode: Episode) -> dict[str, Tensor]:
    """All of it as copied tensors."""
    tensors: dict[str, Tensor] = {
        "host_seeds": torch.tensor(episode.host_seeds),
        "orders": torch.stack([order.get_state() for order in episode.orders]),
        "planted": episode.planted,
        "epoch": torch.tensor(episode.epoch),
    }
    for name in _COLUMNS:
        tensors |= dict(flatten(name, getattr(episode, name)))
    tensors |= {f"networks.{name}": tensor for name, tensor in episode.networks.named_tensors()}
    tensors |= {f"snapshot.{name}": tensor for name, tensor in episode.snapshot.tensors.items()}
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


def restore(fresh: Episode, state: Mapping[str, Tensor]) -> Episode:
    """The episode that was saved.

    Args:
        fresh: one of the same hosts at its beginning. It is used up.

    Raises:
        StateError: something is missing, unknown, or of another shape or dtype.
    """
    networks = fresh.networks
    columns = {name: unflatten(name, getattr(fresh, name), state) for name in _COLUMNS}
    life: Lifecycle = columns["life"]
    check_life(life, networks.blueprints)
    for host, slot in life.live.nonzero().tolist():
        networks.make_room(slot, BlueprintAction(int(life.blueprint[host, slot])))
    for name in state:
        if name.startswith("networks.slots.") and ".gate." not in name:
            _make_room(networks, name)
    restored = Episode(
        host_seeds=fresh.host_seeds,
        networks=networks,
        orders=fresh.orders,
        planted=take(state, "planted", fresh.planted),
        snapshot=Snapshot(
            {name: take(state, f"snapshot.{name}", tensor) for name, tensor in networks.named_tensors()}
        ),
        epoch=int(take(state, "epoch", torch.tensor(0))),
        **columns,
    )
    with torch.no_grad():
        for name, tensor in networks.named_tensors():
            tensor.copy_(take(state, f"networks.{name}", tensor))
    states = torch.stack([order.get_state() for order in fresh.orders])
    for order, saved in zip(restored.orders, take(state, "orders", states), strict=True):
        try:
            # A copy, since of a view with an offset it reads past the memory and crashes.
            order.set_state(saved.clone())
        except RuntimeError as error:
            raise StateError(f"'orders' of the state cannot be read: {error}") from None
    unknown = state.keys() - episode_state(restored).keys() - {"settings"}
    if unknown:
        raise StateError(f"the state holds what this population does not: {', '.join(sorted(unknown))}")
    return restored


def _make_room(networks: HostNetworks, name: str) -> None:
    """For the seeds that a saved tensor is of: networks.slots.0.norm.gain."""
    try:
        slot, blueprint = name.split(".")[2:4]
        networks.make_room(int(slot), BlueprintAction.from_blueprint_id(blueprint))
    except (ValueError, IndexError):
        raise StateError(f"{name!r} of the state is no seed's that this population could hold") from None


_COLUMNS = ("life", "hosts", "seeds", "last", "watch")
