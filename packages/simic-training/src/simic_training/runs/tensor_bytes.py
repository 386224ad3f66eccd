"""Tensors as bytes, for other processes and for files: safetensors with a JSON note, and a seal over all of it."""

import json
from collections.abc import Mapping
from hashlib import sha256
from io import BytesIO
from typing import Any, Final

from torch import Tensor

from tamiyo_policies import read_header, read_tensors
from tamiyo_policies.tensor_files import to_bytes

_NOTE: Final = "note"
_SEAL: Final = b"tamiyo sha256\n"
_DIGEST: Final = sha256().digest_size


class DamagedBytesError(ValueError):
    """Bytes that are not what was written."""


def tensors_to_bytes(tensors: Mapping[str, Tensor], note: Mapping[str, Any]) -> bytes:
    """Both, in the format of safetensors.

    Args:
        tensors: by name, on the CPU.
        note: what JSON can hold.
    """
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    return to_bytes(contiguous, {_NOTE: json.dumps(note)})


def tensors_from_bytes(content: bytes) -> tuple[dict[str, Tensor], Any]:
    """What `tensors_to_bytes` wrote: the tensors in no order, and the note.

    Raises:
        DamagedBytesError: it did not write that.
    """
    file = BytesIO(content)
    try:
        header = read_header(file, len(content))
        return read_tensors(file, header), json.loads(header.metadata[_NOTE])
    except (ValueError, KeyError, RecursionError) as error:
        raise DamagedBytesError(f"these are no tensors with a note: {error}") from None


def seal(content: bytes) -> bytes:
    r"""The content behind a line and its SHA-256, so that no bit of it can change unseen.

    >>> unseal(seal(b"abc"))
    b'abc'
    >>> unseal(seal(b"abc")[:-1] + b"d")
    Traceback (most recent call last):
    simic_training.runs.tensor_bytes.DamagedBytesError: its SHA-256 is a52d159f262b, ba7816bf8f01 was recorded
    """
    return _SEAL + sha256(content).digest() + content


def unseal(sealed: bytes) -> bytes:
    """The content that `seal` was given.

    Raises:
        DamagedBytesError: a bit of it, of its SHA-256 or of the line before them is another one.
    """
    if not sealed.startswith(_SEAL):
        raise DamagedBytesError(f"it starts with {sealed[: len(_SEAL)]!r}, expected {_SEAL!r}")
    recorded, content = sealed[len(_SEAL) :][:_DIGEST], sealed[len(_SEAL) + _DIGEST :]
    found = sha256(content).digest()
    if found != recorded:
        raise DamagedBytesError(f"its SHA-256 is {found.hex()[:12]}, {recorded.hex()[:12]} was recorded")
    return content
