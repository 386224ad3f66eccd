"""Outcomes on their way between processes."""

from collections.abc import Mapping, Sequence
from typing import Any

from simic_training.evaluation.outcomes import Outcomes, hosts_in
from simic_training.growth.draws import HostGroup
from simic_training.runs.tensor_bytes import tensors_from_bytes, tensors_to_bytes

_FIELDS = Outcomes._fields[1:]


def outcomes_to_bytes(outcomes: Mapping[str, Outcomes], episodes: Sequence[Mapping[str, Any]]) -> bytes:
    """What controllers reached on one group of hosts.

    Args:
        outcomes: by controller.
        episodes: plain data that go with them.
    """
    tensors = {
        f"{place}.{field}": getattr(each, field)
        for place, each in enumerate(outcomes.values())
        for field in _FIELDS
    }
    return tensors_to_bytes(tensors, {"names": list(outcomes), "episodes": list(episodes)})


def outcomes_from_bytes(
    content: bytes, group: HostGroup, member: int = 0
) -> tuple[dict[str, Outcomes], list[Mapping[str, Any]]]:
    """What `outcomes_to_bytes` wrote.

    Args:
        content: the bytes.
        group: the hosts.
        member: number of the member of the family that they are.
    """
    tensors, note = tensors_from_bytes(content)
    hosts = tuple(hosts_in(group, member))
    outcomes = {
        name: Outcomes(hosts, *(tensors[f"{place}.{field}"] for field in _FIELDS))
        for place, name in enumerate(note["names"])
    }
    return outcomes, note["episodes"]
