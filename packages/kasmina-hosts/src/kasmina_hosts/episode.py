"""The state of E hosts between two epochs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from kasmina_hosts.diagnostics import Diagnostics
from kasmina_hosts.evaluation import Score
from kasmina_hosts.governor import LossWatch, Snapshot, first_watch, is_finite, take_snapshot
from kasmina_hosts.lifecycle import ALTERS_HOST, Lifecycle, in_stages
from kasmina_hosts.measures import (
    HostMeasures,
    SeedMeasures,
    first_measures,
    no_seed_measures,
)
from kasmina_hosts.network import HostNetworks
from kasmina_hosts.observing import LastAction, no_action
from kasmina_hosts.saving import StateError, check_names, flatten, take, unflatten
from kasmina_hosts.state_checks import (
    check_diagnostics,
    check_hosts,
    check_last,
    check_life,
    check_moments,
    check_planted,
    check_prices,
    check_rows,
    check_seeds,
    check_watch,
)
from leyline_types import AlphaAlgorithm, BlueprintAction


class DivergedHostError(ArithmeticError):
    """A host that is not finite before any training, or right after it was rolled back."""


@dataclass(slots=True)
class Episode:
    """The hosts, what was measured of them, and what their next epoch depends on.

    Args:
        host_seeds: what each host's first values and order of data come from.
        prices: what a parameter costs each host, see `HostConfig.parameter_price`.
        orders: one generator per host, for the order of its data.
        planted: seeds planted so far, by host and slot.
        epoch: epochs trained.
    """

    host_seeds: list[int]
    prices: Float[Tensor, " host"]
    networks: HostNetworks
    orders: list[torch.Generator]
    life: Lifecycle
    hosts: HostMeasures
    seeds: SeedMeasures
    diagnostics: Diagnostics
    last: LastAction
    planted: Int[Tensor, "host slot"]
    watch: LossWatch
    snapshot: Snapshot
    epoch: int


def begin(
    host_seeds: Sequence[int],
    prices: Float[Tensor, " host"],
    networks: HostNetworks,
    life: Lifecycle,
    train: Score,
    validation: Score,
    diagnostics: Diagnostics,
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
        prices=prices,
        networks=networks,
        orders=[torch.Generator().manual_seed(seed) for seed in host_seeds],
        life=life,
        hosts=first_measures(train, validation),
        seeds=no_seed_measures(num_hosts, num_slots),
        diagnostics=diagnostics,
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
        "prices": episode.prices,
        "planted": episode.planted,
        "epoch": torch.tensor(episode.epoch),
    }
    for name in _COLUMNS:
        tensors |= dict(flatten(name, getattr(episode, name)))
    tensors |= {f"networks.{name}": tensor for name, tensor in episode.networks.named_tensors()}
    tensors |= {f"snapshot.{name}": tensor for name, tensor in episode.snapshot.tensors.items()}
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


def restore(fresh: Episode, state: Mapping[str, Tensor], *, max_epochs: int, steps_per_epoch: int) -> Episode:
    """The episode that was saved.

    Args:
        fresh: one of the same hosts at its beginning. It is used up.
        state: what `episode_state` gave.
        max_epochs: of an episode.
        steps_per_epoch: of the optimiser.

    Raises:
        StateError: something is missing, unknown, of another shape or dtype, or cannot be.
    """
    networks = fresh.networks
    epoch = int(take(state, "epoch", torch.tensor(0)))
    if not 0 <= epoch <= max_epochs:
        raise StateError(f"'epoch' of the state is {epoch}, expected 0 to {max_epochs}")
    columns = {name: unflatten(name, getattr(fresh, name), state) for name in _COLUMNS}
    life: Lifecycle = columns["life"]
    planted = take(state, "planted", fresh.planted)
    prices = take(state, "prices", fresh.prices)
    check_prices(prices)
    check_life(life, networks.blueprints, epoch)
    check_hosts(columns["hosts"], epoch)
    check_seeds(columns["seeds"], life, measured_from=1)
    check_diagnostics(columns["diagnostics"])
    check_last(columns["last"])
    check_watch(columns["watch"], epoch)
    check_planted(planted, life.occupied, epoch)
    for host, slot in life.live.nonzero().tolist():
        networks.make_room(slot, BlueprintAction(int(life.blueprint[host, slot])))
    for name in state:
        if name.startswith("networks.slots.") and ".gate." not in name:
            _make_room(networks, name)
    restored = Episode(
        host_seeds=fresh.host_seeds,
        prices=prices,
        networks=networks,
        orders=fresh.orders,
        planted=planted,
        snapshot=Snapshot(
            {name: take(state, f"snapshot.{name}", tensor) for name, tensor in networks.named_tensors()}
        ),
        epoch=epoch,
        **columns,
    )
    with torch.no_grad():
        for name, tensor in networks.named_tensors():
            tensor.copy_(take(state, f"networks.{name}", tensor))
    _check_parameters(restored)
    for part, tensors in (
        ("networks", dict(networks.named_tensors())),
        ("snapshot", restored.snapshot.tensors),
    ):
        check_moments(part, tensors, epoch * steps_per_epoch)
    states = torch.stack([order.get_state() for order in fresh.orders])
    for order, saved in zip(restored.orders, take(state, "orders", states), strict=True):
        try:
            # A copy, since of a view with an offset it reads past the memory and crashes.
            order.set_state(saved.clone())
        except RuntimeError as error:
            raise StateError(f"'orders' of the state cannot be read: {error}") from None
    check_names(state, episode_state(restored).keys() | {"settings"}, "population")
    return restored


def _check_parameters(episode: Episode) -> None:
    """That what computes in a host is finite, now and in what it would be rolled back to.

    A seed that only learns beside its host may have diverged; it is pruned when that shows.

    Raises:
        StateError: it is not.
    """
    life = episode.life
    every = torch.ones(len(life.stage), dtype=torch.bool)
    alters = in_stages(life.stage, ALTERS_HOST)
    for name, tensor in episode.networks.named_tensors():
        rows = every
        if name.removeprefix("optimizer.").startswith("slots."):
            _, index, kind, *_ = name.removeprefix("optimizer.").split(".")
            slot = int(index)
            if kind == "gate":
                rows = alters[:, slot] & (life.algorithm[:, slot] == AlphaAlgorithm.GATE)
            else:
                blueprint = BlueprintAction.from_blueprint_id(kind)
                rows = alters[:, slot] & (life.blueprint[:, slot] == blueprint)
        # A mean of squares may be infinite where what it is of is finite: such a parameter stands still from then on.
        may_overflow = name.startswith("optimizer.") and name.endswith(".second")
        for part, found in (("networks", tensor.detach()), ("snapshot", episode.snapshot.tensors[name])):
            check_rows(f"{part}.{name}", found.clamp(max=1) if may_overflow else found, rows)


def _make_room(networks: HostNetworks, name: str) -> None:
    """For the seeds that a saved tensor is of: networks.slots.0.norm.gain."""
    try:
        slot, blueprint = name.split(".")[2:4]
        networks.make_room(int(slot), BlueprintAction.from_blueprint_id(blueprint))
    except (ValueError, IndexError):
        raise StateError(f"{name!r} of the state is no seed's that this population could hold") from None


_COLUMNS = ("life", "hosts", "seeds", "diagnostics", "last", "watch")
