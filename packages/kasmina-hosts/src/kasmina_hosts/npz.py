"""The parts of a data set from an .npz file, by the names of its arrays.

What a file says of its sizes is looked at before anything is read or allocated: those that the zip archive declares,
then those in the header of each array, which numpy's own reader parses. Only the arrays that are needed are read.
"""

import io
import struct
import warnings
import zipfile
import zlib
from math import prod
from pathlib import Path
from typing import Any, Final, NamedTuple, final

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

from kasmina_hosts.array_checks import Source, bytes_once_checked
from leyline_types import MAX_FILE_BYTES, brief, open_file, printable

_PARTS: Final = {"validation": ("x_val", "y_val"), "test": ("x_test", "y_test")}
_HEADER_BYTES: Final = 2**14
"""More than the magic string and the 10,000 characters of header that numpy reads."""
_CHUNK: Final = 2**18
_CONTENTS_BYTES: Final = 2**20
"""Of a zip archive's table of contents: some ten thousand arrays, which take 20 times as much as objects."""
_ENDING_BYTES: Final = 2**17
"""More than the end of an archive can have, with a comment of 64 KiB."""
_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Those that numpy writes. LZMA may ask for 4 GiB to work in."""

# What zipfile raises, found by altering every byte of a file and forging headers.
_DAMAGE: Final = (
    ValueError,
    EOFError,
    OSError,
    NotImplementedError,
    RuntimeError,
    MemoryError,
    OverflowError,
    TypeError,
    IndexError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


def read_npz(path: str | Path, *, max_bytes: int = MAX_FILE_BYTES) -> dict[str, Source]:
    """The parts that a file has; always "train", perhaps "validation" and "test".

    Memory follows what the file really holds, whatever it claims.

    Args:
        path: the file; arrays of other names in it are not looked at.
        max_bytes: the largest file, and the most bytes that the arrays of all parts may have together, as they are and
            as float32 and int64.

    Raises:
        OSError: the file is missing or cannot be read.
        ValueError: no regular file, another kind of file, a damaged one, one above `max_bytes`, or arrays that are
            missing or pickled.
    """
    where = printable(path)
    with open_file(path, max_bytes=max_bytes) as raw:
        try:
            archive = zipfile.ZipFile(_Sipped(raw))
        except _DAMAGE as error:
            reason = f": {brief(str(error))}" if _is_zip(raw) else ""
            raise ValueError(
                f"{where} is not an .npz file, which is a zip archive of arrays{reason}"
            ) from error
        with archive:
            members = {name.removesuffix(".npy"): name for name in archive.namelist()}
            names = _array_names([*members], where)
            wanted = [name for pair in names.values() for name in pair]
            infos = {name: archive.getinfo(members[name]) for name in wanted}
            declared = sum(info.file_size for info in infos.values())
            if declared > max_bytes:
                listed = ", ".join(wanted)
                raise ValueError(
                    f"{where} holds {declared} bytes in {listed}, more than the limit of {max_bytes}"
                )
            headers = {name: _header_of(archive, infos[name], name, where) for name in wanted}
            needed = sum(bytes_once_checked(header.shape, header.dtype) for header, _ in headers.values())
            if needed > max_bytes:
                raise ValueError(
                    f"{where} holds arrays that take {needed} bytes as float32 and int64 ({', '.join(wanted)}), more "
                    f"than the limit of {max_bytes}"
                )
            arrays = {
                name: _read_member(archive, infos[name], *headers[name], name, where) for name in wanted
            }
    return {
        part: Source(arrays[x], arrays[y], f"{x} of {where}", f"{y} of {where}")
        for part, (x, y) in names.items()
    }


class _Header(NamedTuple):
    """What the header of a .npy file says of the array behind it."""

    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype[Any]

    @property
    def size(self) -> int:
        """Bytes of the elements."""
        return prod(self.shape) * self.dtype.itemsize


def _header_of(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str, where: str) -> tuple[_Header, int]:
    """The header of an array and where its elements begin."""
    try:
        if info.compress_type not in _METHODS:
            raise ValueError(f"it is compressed by method {info.compress_type}, expected none or deflate")
        with archive.open(info) as stream:
            # So much of it alone goes to numpy's reader, which reads headers as long as they claim to be.
            header, start = _parse_header(stream.read(_HEADER_BYTES))
            if info.file_size != start + header.size:
                raise ValueError(
                    f"its shape {header.shape} of {header.dtype} needs {header.size} bytes, the archive holds "
                    f"{info.file_size - start}"
                )
            return header, start
    except _DAMAGE as error:
        raise ValueError(f"array {name} of {where} cannot be read: {brief(str(error))}") from error


def _read_member(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, header: _Header, start: int, name: str, where: str
) -> npt.NDArray[np.generic]:
    try:
        with archive.open(info) as stream:
            stream.read(start)
            data = bytearray()
            # zipfile gives no more than the declared size, and then compares the checksum.
            while chunk := stream.read(_CHUNK):
                data += chunk
        if len(data) != header.size:
            raise ValueError(f"its data ends after {len(data)} of {header.size} bytes")
        return np.ndarray(header.shape, header.dtype, data, order="F" if header.fortran_order else "C")
    except _DAMAGE as error:
        raise ValueError(f"array {name} of {where} cannot be read: {brief(str(error))}") from error


def _parse_header(beginning: bytes) -> tuple[_Header, int]:
    """The header and where the elements begin.

    Raises:
        ValueError: it is none, or of an array that is not made of numbers.
    """
    stream = io.BytesIO(beginning)
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    version = npy.read_magic(stream)
    if version not in readers:  # 3.0 is for names of fields
        raise ValueError(f"it has version {version} of the .npy format, expected (1, 0) or (2, 0)")
    try:
        with warnings.catch_warnings():  # of headers that Python 2 wrote, and of odd escapes in strings
            warnings.simplefilter("ignore")
            header = _Header(*readers[version](stream))
    # The reader evaluates the text with ast and tokenize and makes a dtype of it; each has errors of its own, such as
    # SyntaxError, TokenError, RecursionError and KeyError, and none of them promises which.
    except Exception as error:
        raise ValueError(
            f"its header cannot be parsed: {type(error).__name__}: {brief(str(error))}"
        ) from error
    if header.dtype.hasobject:
        raise ValueError("Object arrays are pickles, which are never loaded")
    if any(length < 0 for length in header.shape):
        raise ValueError(f"its header claims the shape {brief(str(header.shape))}")
    return header, stream.tell()


def _array_names(found: list[str], where: str) -> dict[str, tuple[str, str]]:
    """Which arrays make which part."""
    train = [pair for pair in (("x", "y"), ("x_train", "y_train")) if {*pair} & {*found}]
    has = brief(", ".join(found)) or "none"
    if len(train) != 1:
        raise ValueError(f"{where} has the arrays {has}; expected either x and y or x_train and y_train")
    names = {"train": train[0]} | {part: pair for part, pair in _PARTS.items() if {*pair} & {*found}}
    for x, y in names.values():
        if not {x, y} <= {*found}:
            raise ValueError(f"{where} has the arrays {has}; expected {x} and {y} together")
    return names


@final
class _Sipped:
    """A file for zipfile, which reads a table of contents whole, as long as the file claims it to be."""

    def __init__(self, file: io.BufferedReader) -> None:
        self._file = file
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        """As of a file, but no more than what an archive needs."""
        limit = _ENDING_BYTES if size < 0 else _CONTENTS_BYTES
        if size > limit:
            raise ValueError(f"its table of contents has {size} bytes, more than the limit of {limit}")
        return self._file.read(limit if size < 0 else size)


def _is_zip(file: io.BufferedReader) -> bool:
    try:
        return zipfile.is_zipfile(file)
    except _DAMAGE:
        return False
