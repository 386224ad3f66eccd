"""What .npz and IDX files declare is looked at before it is read, and what is not a regular file is not read at all."""

import gzip
import os
import re
import socket
import struct
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kasmina_hosts import ArrayTask
from kasmina_hosts.idx import read_idx
from kasmina_hosts.npz import read_npz

MIB = 2**20
X, Y = np.arange(40.0, dtype=np.float32).reshape(10, 2, 2), np.arange(10) % 2
PLAIN = "{'descr': '<f4', 'fortran_order': False, 'shape': (10, 2, 2), }"


def npy(header: str, data: bytes = b"", version: int = 1) -> bytes:
    """A .npy file with any text as its header."""
    text = header.encode("latin-1" if version < 3 else "utf-8")
    length = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + length + text + data


def archive(path: Path, x: bytes, *, method: int = zipfile.ZIP_DEFLATED, **others: bytes) -> Path:
    """An .npz file whose array x is in these bytes, beside a good y."""
    y = npy("{'descr': '<i8', 'fortran_order': False, 'shape': (10,), }", Y.astype("<i8").tobytes())
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in {"x": x, "y": y, **others}.items():
            file.writestr(f"{name}.npy", content)
    return path


def peak_of(read: Callable[[], Any], message: str) -> int:
    """Bytes that a read takes which is refused with this message."""
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=message) as caught:
            read()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000
    return peak


def test_a_file_by_hand(tmp_path: Path) -> None:
    source = read_npz(archive(tmp_path / "a.npz", npy(PLAIN, X.tobytes())))["train"]
    assert np.array_equal(np.asarray(source.x), X)
    turned = PLAIN.replace("False", "True")
    source = read_npz(archive(tmp_path / "b.npz", npy(turned, X.tobytes(order="F"), 2)))["train"]
    assert np.array_equal(np.asarray(source.x), X)


@pytest.mark.parametrize(
    "read", [read_npz, read_idx, ArrayTask.from_npz, lambda path: ArrayTask.from_idx(path, path)]
)
def test_only_regular_files_are_read(
    read: Callable[[Any], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket must be short
    os.mkfifo("pipe")
    with socket.socket(socket.AF_UNIX) as there:
        there.bind("socket")
        with pytest.raises(OSError, match="socket"):
            read("socket")
    for path, message in (
        ("pipe", "pipe is a named pipe, expected a regular file"),
        (".", r"\. is a folder, expected a regular file"),
        ("/dev/zero", "/dev/zero is a character device, expected a regular file"),
        ("a\0b", r"a\\x00b is not a path: "),
        ("a\ud800b", r"a\\ud800b is not a path: "),
    ):
        with pytest.raises(ValueError, match=f"^{message}"):
            read(path)
    with pytest.raises(OSError, match="too long"):
        read("x" * 300)
    with pytest.raises(FileNotFoundError):
        read("missing")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (
            "{'descr': '<f4', 'fortran_order': False, 'shape': ((1, }",
            "its header cannot be parsed: TokenError: ",
        ),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (10, 2", "its header cannot be parsed: "),
        ("(" * 5000, "its header cannot be parsed: "),
        ("-" * 9000 + "1", "its header cannot be parsed: "),
        ("9" * 5000, "its header cannot be parsed: "),
        ("'''", "its header cannot be parsed: "),
        ("\n  {\n 1", "its header cannot be parsed: "),
        ("\0", "its header cannot be parsed: "),
        ("", "its header cannot be parsed: "),
        ("[]", "its header cannot be parsed: ValueError: Header is not a dictionary"),
        ("{}", "its header cannot be parsed: "),
        ("{1: 2, 'a': 3}", "its header cannot be parsed: "),
        (PLAIN.replace("'<f4'", "'<f3'"), "its header cannot be parsed: "),
        (PLAIN.replace("'<f4'", "[('a',)]"), "its header cannot be parsed: "),
        (PLAIN.replace("'<f4'", "[[]]"), "its header cannot be parsed: "),
        (PLAIN.replace("'<f4'", "None"), "its header cannot be parsed: "),
        (PLAIN.replace("'<f4'", "('<f4', (2147483647, 2147483647))"), "its header cannot be parsed: "),
        (PLAIN.replace("'<f4'", r"'\d'"), "its header cannot be parsed: "),
        (PLAIN.replace("'<f4'", "'|O'"), "Object arrays are pickles, which are never loaded"),
        (PLAIN.replace("'<f4'", "[('a', '|O')]"), "Object arrays are pickles, which are never loaded"),
        (PLAIN.replace("(10, 2, 2)", "(-10, -2, 2)"), r"its header claims the shape \(-10, -2, 2\)"),
        (
            PLAIN.replace("(10, 2, 2)", "(10, 2, 3)"),
            "its shape .* of float32 needs 240 bytes, the archive holds 160",
        ),
        (
            PLAIN.replace("(10, 2, 2)", "(10, 2)"),
            "its shape .* of float32 needs 80 bytes, the archive holds 160",
        ),
        (PLAIN.replace("(10, 2, 2)", "(1000000000000,)"), "needs 4000000000000 bytes, the archive holds 160"),
        (PLAIN.replace("(10, 2, 2)", f"({'9' * 4000}, {'9' * 4000})"), "Exceeds the limit"),
        (PLAIN.replace("(10, 2, 2)", f"(40, {'1, ' * 70})"), "maximum supported dimension"),
        (PLAIN + " " * 20_000, "its header cannot be parsed: "),
    ],
)
def test_headers_that_are_none(tmp_path: Path, header: str, message: str) -> None:
    path = archive(tmp_path / "a.npz", npy(header, X.tobytes()))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of which none may pass
        peak = peak_of(
            lambda: read_npz(path), f"^array x of {re.escape(str(path))} cannot be read: .*{message}"
        )
    assert peak < 4 * MIB


def test_shapes_without_elements(tmp_path: Path) -> None:
    for shape in ("(0, 4611686018427387904, 4)", "(0, 99999999999999999999)"):
        path = archive(tmp_path / "a.npz", npy(PLAIN.replace("(10, 2, 2)", shape)))
        with pytest.raises(ValueError, match=r"array x of .* cannot be read: "):
            read_npz(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read: EOF: reading magic string"),
        (b"no array", "cannot be read: the magic string is not correct"),
        (npy(PLAIN, X.tobytes(), 3), r"it has version \(3, 0\) of the .npy format"),
        (
            b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + PLAIN.encode() + bytes(40_000),
            "its header cannot be parsed",
        ),
        (b"\x93NUMPY\x01\x00\xff\xff" + PLAIN.encode(), "its header cannot be parsed: ValueError: EOF"),
    ],
)
def test_contents_that_are_no_array(tmp_path: Path, content: bytes, message: str) -> None:
    path = archive(tmp_path / "a.npz", content)
    assert peak_of(lambda: read_npz(path), message) < MIB


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_that_numpy_does_not_write(tmp_path: Path, method: int) -> None:
    path = archive(tmp_path / "a.npz", npy(PLAIN, X.tobytes()), method=method)
    with pytest.raises(ValueError, match=f"it is compressed by method {method}, expected none or deflate"):
        read_npz(path)


def test_what_inflates_beyond_the_limit_is_refused_unread(tmp_path: Path) -> None:
    bomb = npy(PLAIN.replace("(10, 2, 2)", "(16777216, 2, 2)"), bytes(2**28))
    path = archive(tmp_path / "a.npz", bomb)
    assert path.stat().st_size < MIB
    message = r"a.npz holds 2684\d{5} bytes in x, y, more than the limit of 1000000$"
    assert peak_of(lambda: ArrayTask.from_npz(path, max_bytes=1_000_000), message) < MIB
    message = r"a.npz has \d+ bytes, more than the limit of 1000$"
    assert peak_of(lambda: ArrayTask.from_npz(path, max_bytes=1_000), message) < MIB


def test_what_takes_more_than_the_limit_once_it_is_converted_is_refused_unread(tmp_path: Path) -> None:
    """A byte of an image becomes four, a byte of a label eight."""
    path = tmp_path / "a.npz"
    np.savez_compressed(path, x=np.zeros((2**16, 16, 16), np.uint8), y=np.zeros(2**16, np.uint8))
    needed = 2**16 * (16 * 16 * 4 + 8)
    message = (
        rf"a.npz holds arrays that take {needed} bytes as float32 and int64 \(x, y\), more than the limit of"
    )
    assert peak_of(lambda: ArrayTask.from_npz(path, max_bytes=needed - 1), message) < MIB
    assert len(np.asarray(read_npz(path, max_bytes=needed)["train"].x)) == 2**16
    images = tmp_path / "images"
    images.write_bytes(bytes([0, 0, 8, 3]) + struct.pack(">3I", 100, 10, 10) + bytes(10_000))
    refused = "needs 40000 bytes in memory, more than the limit of 39999$"
    assert peak_of(lambda: read_idx(images, max_bytes=39_999), refused) < MIB
    assert read_idx(images, max_bytes=40_000).shape == (100, 10, 10)


@pytest.mark.parametrize("claimed", [100, 1000, 2**27])
def test_an_archive_that_lies_of_its_sizes(tmp_path: Path, claimed: int) -> None:
    """The shape and the directory agree; what really comes does not."""
    header = PLAIN.replace("(10, 2, 2)", f"({claimed},)")
    path = archive(tmp_path / "a.npz", npy(header, bytes(2**26)))
    content = bytearray(path.read_bytes())
    true = struct.pack("<I", len(npy(header)) + 2**26)
    assert content.count(true) == 2  # in front of the member and in the directory
    path.write_bytes(content.replace(true, struct.pack("<I", len(npy(header)) + 4 * claimed)))
    peak = peak_of(lambda: read_npz(path), "array x of .*a.npz cannot be read: ")
    assert peak < (2 * MIB if claimed < 2**20 else 80 * MIB)  # no more than what came


def test_a_table_of_contents_without_end(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as file:
        for index in range(20_000):
            file.writestr(f"array {index}", b"")
    message = "is not an .npz file, which is a zip archive of arrays: its table of contents has "
    assert peak_of(lambda: read_npz(path), message) < 4 * MIB
    with path.open("wb") as sparse:  # a directory of 2 GiB of zeros, as it says itself
        sparse.truncate(2**31 - 4096)
        sparse.seek(2**31 - 4096)
        sparse.write(struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, 2**31 - 4096, 0, 0))
    assert (
        peak_of(
            lambda: read_npz(path),
            "its table of contents has 2147479552 bytes, more than the limit of 1048576",
        )
        < 4 * MIB
    )


def test_other_arrays_are_not_looked_at(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.npz", npy(PLAIN, X.tobytes()), pickled=b"anything", more=bytes(2**20))
    assert np.array_equal(np.asarray(read_npz(path, max_bytes=2000)["train"].x), X)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_an_idx_file_above_the_limit_is_refused_unread(
    tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "images"
    path.write_bytes(pack(bytes([0, 0, 8, 1]) + struct.pack(">I", 2**24) + bytes(2**24)))
    limit = (
        "limit of 10000000$"
        if pack is bytes
        else r"\(16777216,\), which needs 134217728 bytes in memory, more than"
    )
    assert peak_of(lambda: read_idx(path, max_bytes=10_000_000), limit) < MIB
    assert len(read_idx(path)) == 2**24


def test_a_gzip_file_inflates_no_further_than_its_header_says(tmp_path: Path) -> None:
    path = tmp_path / "images"
    path.write_bytes(gzip.compress(bytes([0, 0, 8, 1]) + struct.pack(">I", 10) + bytes(2**28)))
    assert peak_of(lambda: read_idx(path), "must hold 10 bytes of data, found more$") < MIB


def test_a_valid_file_takes_little_more_than_its_arrays(tmp_path: Path) -> None:
    """Of numpy's memory, which is what is read; torch's copy in another order is not counted."""
    samples = 2**16
    np.savez_compressed(
        tmp_path / "a.npz", x=np.zeros((samples, 16, 16), np.float32), y=np.arange(samples) % 2
    )
    tracemalloc.start()
    task = ArrayTask.from_npz(tmp_path / "a.npz")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sum(len(part.labels) for part in (task.train, task.validation, task.test)) == samples
    assert peak < 1.3 * samples * (16 * 16 * 4 + 3 * 8)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=300)
@given(st.data())
def test_a_damaged_npz_is_refused_or_harmless(tmp_path: Path, data: st.DataObject) -> None:
    path = archive(tmp_path / "a.npz", npy(PLAIN, X.tobytes()), method=data.draw(st.sampled_from([0, 8])))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(content) - 1))
        if data.draw(st.booleans()):
            content[place] ^= 1 << data.draw(st.integers(0, 7))
        else:
            content[place : place + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    path.write_bytes(content)
    try:
        source = read_npz(path)["train"]
    except ValueError as error:
        assert str(path) in str(error)  # noqa: PT017  (arrays are as good)
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert np.array_equal(np.asarray(source.x), X)
        assert np.array_equal(np.asarray(source.y), Y)
