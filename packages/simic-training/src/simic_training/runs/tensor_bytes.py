"""Tensors on their way between processes: safetensors, with what is no tensor as JSON beside them."""

import json
from collections.abc import Mapping
from typing import Any, Final

from safetensors.torch import load, save
from torch import Tensor

_NOTE: Final = "note"
_LENGTH: Final = 8  # bytes of the header's length, which the format begins with


def tensors_to_bytes(tensors: Mapping[str, Tensor], note: Mapping[str, Any]) -> bytes:
    """Both, in the format of safetensors.

    Args:
        tensors: by name. note: what JSON can hold.
    """
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    return save(contiguous, metadata={_NOTE: json.dumps(note)})


def tensors_from_bytes(content: bytes) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `tensors_to_bytes` wrote: the tensors in no order, and the note."""
    end = _LENGTH + int.from_bytes(content[:_LENGTH], "little")
    note: dict[str, Any] = json.loads(json.loads(content[_LENGTH:end])["__metadata__"][_NOTE])
    return load(content), note
