"""IDX files: by hand, round trips, and whatever else may lie in a file."""

import gzip
import re
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kasmina_hosts.idx import read_idx

CODES = {"uint8": 8, "int8": 9, "int16": 11, "int32": 12, "float32": 13, "float64": 14}
ARRAYS = st.sampled_from(list(CODES)).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=4))
)


def idx_bytes(array: npt.NDArray[Any]) -> bytes:
    """An IDX file of the array."""
    header = bytes([0, 0, CODES[array.dtype.name], array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("idx") / "file"


@pytest.mark.parametrize(
    ("data", "dtype", "values"),
    [
        ("00000802 00000002 00000003 00 01 02 03 04 ff", "uint8", [[0, 1, 2], [3, 4, 255]]),
        ("00000901 00000002 7f ff", "int8", [127, -1]),
        ("00000b01 00000002 0102 fffe", "int16", [258, -2]),
        ("00000c01 00000001 00010000", "int32", [65536]),
        ("00000d01 00000002 3f800000 c0200000", "float32", [1.0, -2.5]),
        ("00000e01 00000001 3ff8000000000000", "float64", [1.5]),
        ("00000803 00000000 00000002 00000001", "uint8", np.zeros((0, 2, 1)).tolist()),
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_by_hand(path: Path, data: str, dtype: str, values: list[Any], pack: Any) -> None:
    path.write_bytes(pack(bytes.fromhex(data)))
    array = read_idx(path)
    assert array.dtype == np.dtype(dtype)
    assert array.dtype.isnative
    assert array.tolist() == values


@given(ARRAYS, st.booleans())
def test_round_trip(path: Path, array: npt.NDArray[Any], packed: bool) -> None:
    data = idx_bytes(array)
    path.write_bytes(gzip.compress(data) if packed else data)
    found = read_idx(str(path))
    assert (found.shape, found.dtype, found.tobytes()) == (array.shape, array.dtype, array.tobytes())


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("", "is not an IDX file: it starts with b''"),
        ("000008", r"is not an IDX file: it starts with b'\\x00\\x00\\x08'"),
        ("504b0304 00", r"is not an IDX file: it starts with b'PK\\x03\\x04', expected two zero bytes"),
        ("00010801 00000001 00", "is not an IDX file"),
        ("00000a01 00000001 00", "has elements of unknown type 0x0A, expected one of 0x08, 0x09, 0x0B"),
        ("00000800", "claims 0 axes, expected 1 to 64"),
        ("00000841" + 65 * "00000001" + "00", "claims 65 axes, expected 1 to 64"),
        ("00000803 00000001 0000", "ends in its header: expected 12 bytes of lengths, found 6"),
        ("00000802 00000002 00000003 00 01", r"of shape \(2, 3\) must hold 6 bytes of data, found 2"),
        ("00000b01 00000002 0001 0002 03", r"of shape \(2,\) must hold 4 bytes of data, found (5|more)$"),
        ("00000802 00000000 00000003 00", r"of shape \(0, 3\) must hold 0 bytes of data, found (1|more)$"),
        ("00000802 ffffffff ffffffff 00", r"claims the shape \(4294967295, 4294967295\), which is more than"),
        ("00000803 00000000 ffffffff ffffffff", r"claims the shape \(0, 4294967295, 4294967295\), which is"),
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_refused(path: Path, data: str, message: str, pack: Any) -> None:
    path.write_bytes(pack(bytes.fromhex(data)))
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))} {message}"):
        read_idx(path)


def test_the_most_axes_there_may_be(path: Path) -> None:
    path.write_bytes(bytes.fromhex("00000840" + 64 * "00000001" + "07"))
    assert read_idx(path).shape == (1,) * 64


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_idx(tmp_path / "none")


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("size", [0, 2**24])
def test_memory_follows_the_data_not_the_header(path: Path, pack: Any, size: int) -> None:
    claims = 2**28 if size == 0 else 1  # far more than there is, and far less
    path.write_bytes(pack(bytes([0, 0, 8, 1]) + struct.pack(">I", claims) + bytes(size)))
    tracemalloc.start()
    with pytest.raises(ValueError, match=f"must hold {claims} bytes of data, found ({size}|more)$"):
        read_idx(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**21


@given(ARRAYS, st.data())
def test_a_part_of_a_file_is_never_taken_for_a_file(
    path: Path, array: npt.NDArray[Any], data: st.DataObject
) -> None:
    whole = idx_bytes(array)
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(ValueError, match=r"is not an IDX file|ends in its header|must hold"):
        read_idx(path)
    packed = gzip.compress(whole)
    path.write_bytes(packed[: data.draw(st.integers(2, len(packed) - 1))])
    with pytest.raises(ValueError, match="is a damaged gzip file"):
        read_idx(path)


HEADS = st.builds(
    lambda code, axes: bytes([0, 0, code, axes]), st.sampled_from([*CODES.values(), 10]), st.integers(0, 3)
)


@given(
    st.binary(max_size=8) | HEADS | st.just(b"\x1f\x8b") | st.just(b"\x1f\x8b\x08"), st.binary(max_size=24)
)
def test_any_bytes_give_an_array_or_the_documented_error(path: Path, head: bytes, tail: bytes) -> None:
    path.write_bytes(head + tail)
    try:
        array = read_idx(path)
    except ValueError as error:
        assert str(path) in str(error)  # noqa: PT017  (an array is as good)
    else:
        assert idx_bytes(array) == head + tail


@given(ARRAYS, st.data())
def test_a_damaged_gzip_file_is_refused_or_harmless(
    path: Path, array: npt.NDArray[Any], data: st.DataObject
) -> None:
    packed = bytearray(gzip.compress(idx_bytes(array)))
    packed[data.draw(st.integers(2, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(packed)
    try:
        found = read_idx(path)
    except ValueError as error:
        assert str(path) in str(error)  # noqa: PT017
    else:  # the header of gzip holds a time and the like
        assert found.tobytes() == array.tobytes()
