"""Many networks of one shape as one: every parameter carries the host axis in front."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import stack_module_state

from kasmina_hosts.stacked_layers import STACKED_LAYERS, with_stacked_layers

MAX_SEEDS = 1_000
"""Far more seeds than one slot of one network sees in an episode: how far apart their random seeds lie."""

Parameters = dict[str, Tensor]
"""Named parameters, each [host, ...]."""


class StackedModule:
    """One module for each of E hosts: called on [host, batch, ...], each with its own parameters.

    The forward pass is the module's own, over activations and layers with the host axis in front. A parameter that the
    module holds itself, beside its layers, is [host, 1, ...] there, the second axis being that of the samples.

    Args:
        modules: one per host, of equal architecture; their parameters are copied.
        dtype: of the stacked parameters.

    Raises:
        ValueError: a module with buffers, or a layer that cannot be stacked.
    """

    def __init__(self, modules: Sequence[nn.Module], dtype: torch.dtype) -> None:
        state, buffers = stack_module_state(list(modules))
        if buffers:
            raise ValueError(f"a module of a host cannot have buffers: {', '.join(buffers)}")
        self.parameters: Parameters = {
            name: value.detach().to(dtype).requires_grad_() for name, value in state.items()
        }
        self._template, holders = with_stacked_layers(modules[0])
        places = [(holders[name.rpartition(".")[0]], name.rpartition(".")[2], name) for name in state]
        self._layers = [place for place in places if isinstance(place[0], STACKED_LAYERS)]
        self._own = [place for place in places if not isinstance(place[0], STACKED_LAYERS)]
        self._bind(self.parameters)

    def __call__(
        self, x: Float[Tensor, "host batch *shape"], hosts: Int[Tensor, " chosen"] | None = None
    ) -> Float[Tensor, "host batch *result"]:
        """Apply the modules of all hosts, or of those with these indices, each to its own batch."""
        if hosts is None:
            return self._run(x)
        self._bind({name: value.index_select(0, hosts) for name, value in self.parameters.items()})
        try:
            return self._run(x)
        finally:
            self._bind(self.parameters)

    def _run(self, x: Tensor) -> Tensor:
        for owner, attribute, name in self._own:
            setattr(owner, attribute, self._bound[name][:, None])
        try:
            result: Tensor = self._template(x)
        finally:
            for owner, attribute, _ in self._own:
                setattr(owner, attribute, None)  # a view that stayed could not be copied
        return result

    def _bind(self, parameters: Parameters) -> None:
        """Have the layers compute with these."""
        self._bound = parameters
        for layer, attribute, name in self._layers:
            setattr(layer, attribute, parameters[name])

    def put(self, host: int, module: nn.Module) -> None:
        """Give one host the parameters of a fresh module."""
        with torch.no_grad():
            for name, value in module.named_parameters():
                self.parameters[name][host] = value

    def tensors(self) -> Iterator[Tensor]:
        """The stacked parameters."""
        return iter(self.parameters.values())

    @property
    def size(self) -> int:
        """Parameters of one host's module."""
        return sum(value[0].numel() for value in self.parameters.values())


def seed_of(network: int, slot: int, num_slots: int, count: int) -> int:
    """The random seed of what is planted in a slot: of the network's own, and of what the slot held before.

    Args:
        network: the random seed of the network.
        count: seeds planted in the slot before.
    """
    return ((network * num_slots + slot) * MAX_SEEDS + count) % 2**63


@contextmanager
def seeded_initialisation(seed: int) -> Iterator[None]:
    """Modules built inside are ordinary ones on the CPU that depend on `seed` alone; no random state is changed."""
    with torch.device("cpu"), torch.inference_mode(False), torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would reseed every accelerator too
        yield
