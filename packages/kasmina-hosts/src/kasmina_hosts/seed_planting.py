"""The modules in a user's network, kept in step with the lifecycle of its slots."""

from collections.abc import Mapping
from typing import Any, final

import torch
from jaxtyping import Int
from torch import Tensor, nn

from kasmina_hosts.blending import Gate
from kasmina_hosts.blueprints import build_blueprint
from kasmina_hosts.lifecycle import SEES_SLOT, Lifecycle
from kasmina_hosts.saving import StateError, take
from kasmina_hosts.seed_optimizer import find_group, join_group, leave
from kasmina_hosts.seed_slot import SeedSlot
from kasmina_hosts.slotted_model import CONTAINER
from kasmina_hosts.stacked import seed_of, seeded_initialisation
from kasmina_hosts.state_checks import check_planted
from leyline_types import AlphaAlgorithm, AlphaMode, BlueprintAction, SeedStage, brief

SEED, GATE = "seed", "gate"


@final
class SeedPlanting:
    """Puts seeds and gates into slots and takes them out, in the optimiser too.

    Args:
        model: the network.
        slots: its slots, in the order of the lifecycle's.
        layers: the name of each slot's layer.
        optimizer: what trains the network.
        seed: first values depend on it, the slot and how many seeds the slot held before.
    """

    def __init__(
        self,
        model: nn.Module,
        slots: Mapping[str, SeedSlot],
        layers: Mapping[str, str],
        optimizer: torch.optim.Optimizer,
        seed: int,
    ) -> None:
        self._slots, self._optimizer, self._seed = slots, optimizer, seed
        self._layers = {slot_id: model.get_submodule(name) for slot_id, name in layers.items()}
        self._groups = {
            slot_id: find_group(optimizer, layer, model) for slot_id, layer in self._layers.items()
        }
        self._model = model
        self.joined: list[tuple[str, str]] = []
        """(slot id, "seed" or "gate") in the order in which they joined the optimiser, of those still in it."""
        self.planted = torch.zeros(len(slots), dtype=torch.long)
        """Seeds that each slot has held so far."""

    def follow(self, life: Lifecycle) -> None:
        """Make the modules those of the lifecycle: plant, remove, freeze, set alpha."""
        for index, (slot_id, slot) in enumerate(self._slots.items()):
            live = bool(life.live[0, index])
            slot.stage = SeedStage(int(life.stage[0, index]))
            slot.idle = slot.stage not in SEES_SLOT
            slot.alpha.fill_(life.alpha[0, index])
            if live:
                slot.algorithm = AlphaAlgorithm(int(life.algorithm[0, index]))
            if live and slot.seed is None:
                self.planted[index] += 1
                self._plant(slot_id, SEED, BlueprintAction(int(life.blueprint[0, index])))
            if not live:
                self._remove(slot_id, SEED)
            if live and slot.algorithm is AlphaAlgorithm.GATE:
                self._plant(slot_id, GATE, BlueprintAction(int(life.blueprint[0, index])))
            else:
                self._remove(slot_id, GATE)
            self._freeze(slot, int(life.alpha_mode[0, index]) == AlphaMode.DOWN)

    def state(self) -> dict[str, Any]:
        """What a network must be given again beside the lifecycle: plain values."""
        return {"planted": self.planted.clone(), "joined": [list(each) for each in self.joined]}

    def restore(self, state: Mapping[str, Any], life: Lifecycle, epoch: int) -> None:
        """Plant what a saved network held, in the order of its optimiser's parameters; then `follow` its lifecycle.

        Args:
            state: what `state` gave, perhaps with more.
            life: the saved lifecycle.
            epoch: epochs that have passed.

        Raises:
            StateError: the state is damaged; nothing has changed then.
        """
        if "planted" not in state or "joined" not in state:
            raise StateError("the state has no 'planted' or no 'joined'")
        found = state["joined"]
        if not isinstance(found, list) or not all(_is_pair(each) for each in found):
            raise StateError(f"'joined' of the state is no list of pairs but {brief(repr(found))}")
        joined = [(slot_id, kind) for slot_id, kind in found]
        slot_ids = list(self._slots)
        expected = [(slot_ids[index], SEED) for index in life.live[0].nonzero()[:, 0].tolist()]
        gated = life.live & (life.algorithm == AlphaAlgorithm.GATE)
        expected += [(slot_ids[index], GATE) for index in gated[0].nonzero()[:, 0].tolist()]
        if sorted(joined) != sorted(expected):
            raise StateError(f"'joined' of the state is {brief(str(joined))}, its lifecycle holds {expected}")
        planted = take(state, "planted", self.planted)
        check_planted(planted, life.occupied[0], epoch)
        for slot_id, kind in list(self.joined):
            self._remove(slot_id, kind)
        for slot in self._slots.values():
            slot.frozen = False  # as what is planted next
        self.planted = planted
        for slot_id, kind in joined:
            self._plant(slot_id, kind, BlueprintAction(int(life.blueprint[0, slot_ids.index(slot_id)])))
        self.follow(life)

    def sizes(self) -> Int[Tensor, "1 slot"]:
        """Parameters of each slot's seed and gate."""
        counts = [sum(each.numel() for each in slot.parameters()) for slot in self._slots.values()]
        return torch.tensor([counts])

    def _plant(self, slot_id: str, kind: str, blueprint: BlueprintAction) -> None:
        slot = self._slots[slot_id]
        if getattr(slot, kind) is not None:
            return
        index = list(self._slots).index(slot_id)
        topology, channels = slot.activation
        with seeded_initialisation(seed_of(self._seed, index, len(self._slots), int(self.planted[index]))):
            module = (
                build_blueprint(blueprint, topology, channels) if kind == SEED else Gate(channels, topology)
            )
            like = self._nearest_parameter(slot_id)
            setattr(slot, kind, module.to(like.device, like.dtype).train(slot.training))
        names = ((f"{CONTAINER}.{slot_id}.{kind}.{name}", each) for name, each in module.named_parameters())
        join_group(self._optimizer, self._groups[slot_id], names)
        self.joined.append((slot_id, kind))

    def _nearest_parameter(self, slot_id: str) -> nn.Parameter:
        """Where and in which precision a slot's seed belongs: as its layer's parameters are, or else the model's."""
        candidates = (*self._layers[slot_id].parameters(), *self._model.parameters())
        return next(each for each in candidates if each.is_floating_point())

    def _freeze(self, slot: SeedSlot, falls: bool) -> None:
        if falls != slot.frozen:  # else what the user has frozen stays as it is
            slot.requires_grad_(not falls)
            slot.zero_grad()
            slot.frozen = falls

    def _remove(self, slot_id: str, kind: str) -> None:
        module = getattr(self._slots[slot_id], kind)
        if module is not None:
            leave(self._optimizer, list(module.parameters()))
            setattr(self._slots[slot_id], kind, None)
            self.joined.remove((slot_id, kind))


def _is_pair(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(each, str) for each in value)
