"""Only regular files are read, and none above its limit."""

import doctest
import os
import socket
from pathlib import Path

import pytest

import leyline_types.files
from leyline_types import FileRefusedError, open_file, printable, read_file


def test_a_file_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(b"\0" * 10)
    assert read_file(path) == read_file(str(path), max_bytes=10) == b"\0" * 10
    link = tmp_path / "link"
    link.symlink_to(path)
    assert read_file(link) == b"\0" * 10


def test_a_file_above_its_limit_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(
        FileRefusedError, match=r"sparse has 1099511627776 bytes, more than the limit of 1000$"
    ):
        read_file(path, max_bytes=1000)


def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket must be short
    os.mkfifo("pipe")
    with socket.socket(socket.AF_UNIX) as there:
        there.bind("socket")
        for path, kind in (("pipe", "a named pipe"), (".", "a folder"), (os.devnull, "a character device")):
            with pytest.raises(FileRefusedError, match=f"{path} is {kind}, expected a regular file$"):
                read_file(path)
        with pytest.raises(OSError, match="socket"):
            read_file("socket")


@pytest.mark.parametrize("path", ["a\0b", "a\ud800b"])
def test_a_text_that_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(FileRefusedError, match=r"^a\\(x00|ud800)b is not a path: "):
        read_file(path)


def test_a_missing_file_and_a_name_too_long_are_errors_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_file(tmp_path / "missing")
    with pytest.raises(OSError, match="too long"), open_file(tmp_path / ("x" * 300)):
        pass


def test_a_file_that_grows_while_it_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "data"
    path.write_bytes(b"12345")
    found = os.stat_result((0o100644, 0, 0, 0, 0, 0, 3, 0, 0, 0))
    monkeypatch.setattr(os, "fstat", lambda descriptor: found)
    with pytest.raises(FileRefusedError, match="data changed while it was read"):
        read_file(path)


def test_paths_are_printed_on_one_line() -> None:
    assert printable("a\nb\x1b[2Jc") == r"a\nb\x1b[2Jc"
    assert printable(Path("ä b")) == "ä b"


def test_the_examples_run() -> None:
    assert doctest.testmod(leyline_types.files).failed == 0
