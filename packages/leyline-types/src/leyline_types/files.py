"""Files that came from somewhere else: only regular ones are read, and never more of them than a limit allows."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from typing import Final

MAX_FILE_BYTES: Final = 2 * 2**30
"""The default limit on a file and on what it inflates to, bytes (2 GiB)."""

_KINDS: Final = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISCHR, "a character device"),
    (stat.S_ISBLK, "a block device"),
    (stat.S_ISSOCK, "a socket"),
)


class FileRefusedError(ValueError):
    """A path that no file can have, something that is not a regular file, or a file above its limit."""


@contextmanager
def open_file(path: str | os.PathLike[str], *, max_bytes: int = MAX_FILE_BYTES) -> Iterator[BufferedReader]:
    """Open a regular file for reading; its kind and its size are looked at before a byte is read.

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "data"
    >>> _ = path.write_bytes(b"12345")
    >>> with open_file(path) as file:
    ...     file.read()
    b'12345'
    >>> with open_file(path, max_bytes=4) as file:
    ...     pass  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    leyline_types.files.FileRefusedError: ...data has 5 bytes, more than the limit of 4

    Args:
        path: the file; links are followed.
        max_bytes: the largest size that is accepted, bytes.

    Raises:
        OSError: the file is missing or cannot be read.
        FileRefusedError: `path` is no regular file, is larger than `max_bytes`, or holds a character that no path can.
    """
    try:
        # Without O_NONBLOCK, opening a named pipe would wait for somebody who writes into it.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except ValueError as error:  # a NUL; a lone surrogate is a UnicodeEncodeError, which is a ValueError
        raise FileRefusedError(f"{printable(path)} is not a path: {error}") from None
    try:
        _check(os.fstat(descriptor), printable(path), max_bytes)
    except FileRefusedError:
        os.close(descriptor)
        raise
    with os.fdopen(descriptor, "rb") as file:
        yield file


def read_file(path: str | os.PathLike[str], *, max_bytes: int = MAX_FILE_BYTES) -> bytes:
    """The content of a regular file.

    Args:
        path, max_bytes: see `open_file`.

    Raises:
        OSError, FileRefusedError: see `open_file`; also where the file grows beyond the limit while it is read.
    """
    with open_file(path, max_bytes=max_bytes) as file:
        size = os.fstat(file.fileno()).st_size
        content = file.read(size)
        if len(content) < size or file.read(1):
            raise FileRefusedError(f"{printable(path)} changed while it was read")
        return content


def printable(path: str | os.PathLike[str]) -> str:
    r"""A path as one line that every terminal can print: control characters and lone surrogates are escaped.

    >>> printable("a\0b")
    'a\\x00b'
    """
    text = os.fspath(path)
    return "".join(letter if letter.isprintable() else _escaped(letter) for letter in text)


def brief(text: str, *, letters: int = 200) -> str:
    r"""What a message can quote of a text from elsewhere: one printable line, cut where it is endless.

    >>> brief("a\n b\0")
    'a b\\x00'
    >>> brief("abcdef", letters=3)
    'abc ... (6 characters)'

    Args:
        text: anything.
        letters: so many of it are quoted.
    """
    line = " ".join(text.split())
    return printable(line if len(line) <= letters else f"{line[:letters]} ... ({len(line)} characters)")


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape", "surrogatepass").decode("ascii")


def _check(found: os.stat_result, path: str, max_bytes: int) -> None:
    if not stat.S_ISREG(found.st_mode):
        kind = next((word for is_kind, word in _KINDS if is_kind(found.st_mode)), "something else")
        raise FileRefusedError(f"{path} is {kind}, expected a regular file")
    if found.st_size > max_bytes:
        raise FileRefusedError(f"{path} has {found.st_size} bytes, more than the limit of {max_bytes}")
