"""The interface between whatever decides and whatever grows."""

from typing import Protocol, TypeVar, runtime_checkable

from leyline_types.columns import Observation
from leyline_types.heads import FactoredActions

ArrayT = TypeVar("ArrayT")
MemoryT = TypeVar("MemoryT")


@runtime_checkable
class Controller(Protocol[ArrayT, MemoryT]):
    """Chooses one action per environment. Batched and pure: all that it remembers is in the memory it returns."""

    def initial_memory(self, num_envs: int) -> MemoryT:
        """The memory before the first step of `num_envs` fresh episodes."""
        ...

    def act(
        self, observation: Observation[ArrayT], memory: MemoryT
    ) -> tuple[FactoredActions[ArrayT], MemoryT]:
        """One action per environment ([env] in every head) and the memory for the next step."""
        ...
