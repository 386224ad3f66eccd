"""Named tensors in the format of safetensors, read with nothing taken on trust.

A file is the length of its header (8 bytes), the header (JSON: name -> dtype, shape and place of each tensor, and
metadata as strings), then the bytes of the tensors. `read_header` looks at all that is declared before any tensor is
read, so that a caller can hold it against what is due: https://huggingface.co/docs/safetensors.
"""

import json
from collections.abc import Mapping
from io import BufferedIOBase
from math import prod
from typing import Any, Final, NamedTuple

import torch
from safetensors import TensorSpec, serialize
from torch import Tensor

from leyline_types import brief
from tamiyo_policies.errors import TensorFileError

MAX_HEADER_BYTES: Final = 16 * 2**20
"""The default limit on a header, bytes (16 MiB): some hundred thousand tensors."""

_METADATA: Final = "__metadata__"
_LENGTH: Final = 8
_MAX_AXES: Final = 64
_DTYPES: Final = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


class DeclaredTensor(NamedTuple):
    """What a header says of a tensor: its bytes lie from `begin` to `end`, counted from the header's end."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    begin: int
    end: int


class TensorHeader(NamedTuple):
    """A header that fits its file.

    Args:
        tensors: by name, in the order of their bytes.
        metadata: strings by name.
        start: where the bytes of the tensors begin, from the file's beginning.
    """

    tensors: dict[str, DeclaredTensor]
    metadata: dict[str, str]
    start: int


def read_header(file: BufferedIOBase, size: int, *, max_header_bytes: int = MAX_HEADER_BYTES) -> TensorHeader:
    """The header of a file, whose tensors are not read.

    >>> import io
    >>> content = to_bytes({"w": torch.zeros(2, 3)}, {"note": "hello"})
    >>> header = read_header(io.BytesIO(content), len(content))
    >>> header.tensors["w"].shape, header.metadata
    ((2, 3), {'note': 'hello'})

    Args:
        file: at its beginning; see `leyline_types.open_file`.
        size: of the whole file, bytes.
        max_header_bytes: the longest header that is read.

    Raises:
        TensorFileError: the header is too long, no JSON of the format, or does not describe all of the file, no more
            and no less.
    """
    length = int.from_bytes(file.read(_LENGTH), "little")
    if size < _LENGTH or length > size - _LENGTH:
        raise TensorFileError(
            f"it has {size} bytes, too few for the header that its first {_LENGTH} announce"
        )
    if length > max_header_bytes:
        raise TensorFileError(f"its header has {length} bytes, more than the limit of {max_header_bytes}")
    entries = parse_object(file.read(length), "its header")
    metadata = entries.pop(_METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise TensorFileError("the metadata of its header is no object of strings")
    declared = {name: _declared(name, entry) for name, entry in entries.items()}
    tensors = dict(sorted(declared.items(), key=lambda item: item[1].begin))
    end = 0
    for name, tensor in tensors.items():
        if tensor.begin != end:
            raise TensorFileError(
                f"its tensor {brief(repr(name))} begins at byte {tensor.begin}, expected {end}"
            )
        end = tensor.end
    if end != size - _LENGTH - length:
        raise TensorFileError(f"its header describes {end} bytes, it has {size - _LENGTH - length}")
    return TensorHeader(tensors, metadata, _LENGTH + length)


def read_tensors(file: BufferedIOBase, header: TensorHeader) -> dict[str, Tensor]:
    """All tensors of a file, on the CPU. Memory beyond theirs is not taken.

    Args:
        file: the one that `read_header` has just read the header of.
        header: of the file.

    Raises:
        TensorFileError: the file has become shorter since, or holds a bool that is neither 0 nor 1.
    """
    file.seek(header.start)
    return {name: _read(file, name, tensor) for name, tensor in header.tensors.items()}


def to_bytes(tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> bytes:
    """A safetensors file of these tensors (contiguous, on the CPU). `safetensors.torch.save` would need numpy."""
    specs = {
        name: TensorSpec(
            dtype=str(tensor.dtype).removeprefix("torch."),
            shape=tensor.shape,
            data_ptr=tensor.data_ptr(),
            data_len=tensor.nbytes,
        )
        for name, tensor in tensors.items()
    }
    return serialize(specs, metadata)


def parse_object(text: str | bytes, what: str) -> dict[str, Any]:
    """A JSON object from elsewhere, by the letter: each key once, no NaN, nothing that is no Unicode.

    >>> parse_object('{"a": 1, "a": 2}', "the note")
    Traceback (most recent call last):
    tamiyo_policies.errors.TensorFileError: the note is not JSON: key 'a' occurs twice

    Args:
        text: the JSON.
        what: what messages call it.

    Raises:
        TensorFileError: it is not JSON or no object, nested too deeply, or holds a number of too many digits.
    """
    try:
        text = text if isinstance(text, str) else text.decode()
        content = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_number)
        # "\ud800" is JSON, but no text that could be printed, hashed or saved.
        json.dumps(content, ensure_ascii=False).encode()
    except RecursionError:
        raise TensorFileError(f"{what} is nested too deeply") from None
    except ValueError as error:
        raise TensorFileError(f"{what} is not JSON: {brief(str(error))}") from None
    if not isinstance(content, dict):
        raise TensorFileError(f"{what} is a JSON {type(content).__name__}, not an object")
    return content


def _declared(name: str, entry: object) -> DeclaredTensor:
    what = f"its tensor {brief(repr(name))}"
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise TensorFileError(f"{what} is described by something else than dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        found = dtype if isinstance(dtype, str) else type(dtype).__name__
        raise TensorFileError(f"{what} has dtype {brief(found)}, expected one of {', '.join(_DTYPES)}")
    if not _are_numbers(shape) or not _are_numbers(offsets) or len(offsets) != 2:
        raise TensorFileError(f"{what} has a shape or data_offsets that are no whole numbers of at least 0")
    # An axis of length 0 leaves no bytes, but torch refuses the other lengths all the same.
    if len(shape) > _MAX_AXES or prod(max(length, 1) for length in shape) >= 2**56:
        raise TensorFileError(f"{what} claims the shape {brief(str(shape))}")
    begin, end = offsets
    if end - begin != prod(shape) * _DTYPES[dtype].itemsize:
        raise TensorFileError(
            f"{what} of {dtype} and shape {brief(str(shape))} has {brief(str(end - begin))} bytes"
        )
    return DeclaredTensor(_DTYPES[dtype], tuple(shape), begin, end)


def _are_numbers(value: object) -> bool:
    return isinstance(value, list) and all(type(each) is int and each >= 0 for each in value)


def _read(file: BufferedIOBase, name: str, declared: DeclaredTensor) -> Tensor:
    """Each from a buffer of its own: one for all would leave some unaligned in a file that is not as `serialize`'s."""
    size = declared.end - declared.begin
    if size == 0:  # of which torch makes no tensor
        return torch.empty(declared.shape, dtype=declared.dtype, device="cpu")
    buffer = bytearray(size)
    if file.readinto(buffer) != size:
        raise TensorFileError(f"its tensor {brief(repr(name))} is cut short")
    if declared.dtype is torch.bool and max(buffer) > 1:
        raise TensorFileError(f"its tensor {brief(repr(name))} of bools holds a byte {max(buffer)}")
    return torch.frombuffer(buffer, dtype=declared.dtype).reshape(declared.shape)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for key, value in pairs:
        if key in content:
            raise ValueError(f"key {brief(repr(key))} occurs twice")
        content[key] = value
    return content


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number of JSON")
