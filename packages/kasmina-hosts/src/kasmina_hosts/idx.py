"""The IDX file format, which MNIST and the data sets made in its likeness come in."""

import gzip
import os
import zlib
from io import BufferedIOBase
from math import prod
from pathlib import Path
from struct import unpack

import numpy as np
import numpy.typing as npt

from kasmina_hosts.array_checks import bytes_once_checked
from leyline_types import MAX_FILE_BYTES, open_file, printable

_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_GZIP_MAGIC = b"\x1f\x8b"
_MAX_AXES = 64  # of numpy
_CHUNK = 2**18


def read_idx(path: str | Path, *, max_bytes: int = MAX_FILE_BYTES) -> npt.NDArray[np.generic]:
    """The array of an IDX file, plain or in gzip (told by its content), in the machine's own byte order.

    Y. LeCun, C. Cortes and C. J. C. Burges, The MNIST database, http://yann.lecun.com/exdb/mnist/: two zero bytes, a
    byte for the type, one for the number of axes, the length of each axis (4 bytes, big endian), then the elements.

    The shape that the header claims is looked at first; what is read and inflated then is never more than it needs.

    Args:
        path: the file.
        max_bytes: the largest file, and the largest array as float32 (of one axis: as int64).

    Raises:
        OSError: the file is missing or cannot be read.
        ValueError: no regular file, not an IDX file, an unknown type, another amount of data than its header says, or
            more of it than `max_bytes`.
    """
    where = printable(path)
    with open_file(path, max_bytes=max_bytes) as raw:
        packed = raw.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
        raw.seek(0)
        if not packed:
            return _read(raw, where, max_bytes, os.fstat(raw.fileno()).st_size)
        try:
            with gzip.open(raw) as unpacked:
                return _read(unpacked, where, max_bytes, None)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise ValueError(f"{where} is a damaged gzip file: {error}") from error


def _read(stream: BufferedIOBase, where: str, max_bytes: int, size: int | None) -> npt.NDArray[np.generic]:
    """The array of a stream of `size` bytes; None where that is not known before all of it is inflated."""
    magic = stream.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0":
        raise ValueError(
            f"{where} is not an IDX file: it starts with {magic!r}, expected two zero bytes, a type and a "
            "number of axes"
        )
    code, axes = magic[2:]
    if code not in _DTYPES:
        known = ", ".join(f"0x{known:02X}" for known in _DTYPES)
        raise ValueError(f"{where} has elements of unknown type 0x{code:02X}, expected one of {known}")
    if not 1 <= axes <= _MAX_AXES:
        raise ValueError(f"{where} claims {axes} axes, expected 1 to {_MAX_AXES}")
    lengths = stream.read(4 * axes)
    if len(lengths) < 4 * axes:
        raise ValueError(
            f"{where} ends in its header: expected {4 * axes} bytes of lengths, found {len(lengths)}"
        )
    shape = unpack(f">{axes}I", lengths)
    dtype = np.dtype(_DTYPES[code])
    # An axis of length 0 leaves nothing to read, but numpy refuses the other lengths all the same.
    if prod(max(length, 1) for length in shape) * dtype.itemsize > np.iinfo(np.intp).max:
        raise ValueError(f"{where} claims the shape {shape}, which is more than can be addressed")
    expected = prod(shape) * dtype.itemsize
    needed = bytes_once_checked(shape, dtype)
    if needed > max_bytes:
        raise ValueError(
            f"{where} claims the shape {shape}, which needs {needed} bytes in memory, more than the limit of "
            f"{max_bytes}"
        )
    due = f"{where} of shape {shape} must hold {expected} bytes of data"
    if size is not None and size != 4 + 4 * axes + expected:
        raise ValueError(f"{due}, found {size - 4 - 4 * axes}")
    # Not allocated at once: what is packed may hold far less than its header claims.
    data = bytearray()
    while len(data) < expected and (chunk := stream.read(min(_CHUNK, expected - len(data)))):
        data += chunk
    if len(data) < expected:
        raise ValueError(f"{due}, found {len(data)}")
    if stream.read(1):  # at whose end gzip compares its checksum
        raise ValueError(f"{due}, found more")
    array = np.ndarray(shape, dtype, buffer=data)
    return array if dtype.isnative else array.byteswap(inplace=True).view(dtype.newbyteorder("="))
