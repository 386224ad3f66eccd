"""The IDX file format, which MNIST and the data sets made in its likeness come in."""

import gzip
import zlib
from io import BufferedReader
from math import prod
from pathlib import Path
from struct import unpack

import numpy as np
import numpy.typing as npt

_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_GZIP_MAGIC = b"\x1f\x8b"
_MAX_AXES = 64  # of numpy
_CHUNK = 2**18


def read_idx(path: str | Path) -> npt.NDArray[np.generic]:
    """The array of an IDX file, plain or in gzip (told by its content), in the machine's own byte order.

    Y. LeCun, C. Cortes and C. J. C. Burges, The MNIST database, http://yann.lecun.com/exdb/mnist/: two zero bytes, a
    byte for the type, one for the number of axes, the length of each axis (4 bytes, big endian), then the elements.

    Memory follows what the file really holds, whatever its header claims.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not an IDX file, an unknown type, or another amount of data than its header says.
    """
    with Path(path).open("rb") as raw:
        packed = raw.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
        raw.seek(0)
        if not packed:
            return _read(raw, path)
        try:
            with gzip.open(raw) as unpacked:
                return _read(unpacked, path)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise ValueError(f"{path} is a damaged gzip file: {error}") from error


def _read(stream: BufferedReader | gzip.GzipFile, path: str | Path) -> npt.NDArray[np.generic]:
    magic = stream.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0":
        raise ValueError(
            f"{path} is not an IDX file: it starts with {magic!r}, expected two zero bytes, a type and a "
            "number of axes"
        )
    code, axes = magic[2:]
    if code not in _DTYPES:
        known = ", ".join(f"0x{known:02X}" for known in _DTYPES)
        raise ValueError(f"{path} has elements of unknown type 0x{code:02X}, expected one of {known}")
    if not 1 <= axes <= _MAX_AXES:
        raise ValueError(f"{path} claims {axes} axes, expected 1 to {_MAX_AXES}")
    lengths = stream.read(4 * axes)
    if len(lengths) < 4 * axes:
        raise ValueError(
            f"{path} ends in its header: expected {4 * axes} bytes of lengths, found {len(lengths)}"
        )
    shape = unpack(f">{axes}I", lengths)
    dtype = np.dtype(_DTYPES[code])
    # An axis of length 0 leaves nothing to read, but numpy refuses the other lengths all the same.
    if prod(max(length, 1) for length in shape) * dtype.itemsize > np.iinfo(np.intp).max:
        raise ValueError(f"{path} claims the shape {shape}, which is more than can be addressed")
    expected = prod(shape) * dtype.itemsize
    data = bytearray()
    while len(data) < expected and (chunk := stream.read(min(_CHUNK, expected - len(data)))):
        data += chunk
    found = len(data)
    while chunk := stream.read(_CHUNK):
        found += len(chunk)
    if found != expected:
        raise ValueError(f"{path} of shape {shape} must hold {expected} bytes of data, found {found}")
    return np.ndarray(shape, dtype, buffer=data).astype(dtype.newbyteorder("="), copy=False)
