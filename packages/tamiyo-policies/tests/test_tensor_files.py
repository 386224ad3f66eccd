"""Headers of safetensors: what they declare, and every kind that is refused before a tensor is read."""

import doctest
import io
import json
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load

import tamiyo_policies.tensor_files
from tamiyo_policies import TensorFileError, parse_object, read_header, read_tensors
from tamiyo_policies.tensor_files import to_bytes

TENSORS = {
    "weights": torch.arange(6.0).reshape(2, 3),
    "number": torch.tensor(7, dtype=torch.int64),
    "bits": torch.tensor([True, False, True]),
    "half": torch.ones(3, dtype=torch.bfloat16),
    "nothing": torch.zeros(0, 4),
}
CONTENT = to_bytes(TENSORS, {"note": "hello"})
DATA = b"\0" * 24


def with_header(text: str | bytes, data: bytes = DATA) -> bytes:
    header = text if isinstance(text, bytes) else text.encode()
    return len(header).to_bytes(8, "little") + header + data


def entry(**changes: Any) -> str:
    """The header of one tensor of six floats, changed."""
    return json.dumps({"w": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]} | changes})


def read(content: bytes) -> dict[str, torch.Tensor]:
    file = io.BytesIO(content)
    return read_tensors(file, read_header(file, len(content)))


def test_tensors_come_back_as_safetensors_itself_reads_them() -> None:
    file = io.BytesIO(CONTENT)
    header = read_header(file, len(CONTENT))
    assert header.metadata == {"note": "hello"}
    assert {name: (each.dtype, each.shape) for name, each in header.tensors.items()} == {
        name: (each.dtype, tuple(each.shape)) for name, each in TENSORS.items()
    }
    found, expected = read_tensors(file, header), load(CONTENT)
    assert found.keys() == expected.keys()
    for name, tensor in found.items():
        assert tensor.dtype == TENSORS[name].dtype
        assert torch.equal(tensor, expected[name])
    found["weights"][0, 0] = 5  # in memory of their own
    assert read(CONTENT)["weights"][0, 0] == 0


def test_a_header_by_hand() -> None:
    assert torch.equal(read(with_header(entry()))["w"], torch.zeros(2, 3))
    assert read(with_header("{}  ", b"")) == {}


BAD: list[tuple[bytes, str]] = [
    (b"", "it has 0 bytes, too few for the header that its first 8 announce"),
    (b"\1\0\0", "it has 3 bytes, too few for the header"),
    (b"\xff" * 8 + DATA, "it has 32 bytes, too few for the header"),
    (with_header(b" " * 2**25), "its header has 33554432 bytes, more than the limit of 16777216"),
    (with_header(b""), "its header is not JSON: "),
    (with_header(b"\xff\xfe"), "its header is not JSON: "),
    (with_header("{"), "its header is not JSON: "),
    (with_header("[]"), "its header is a JSON list, not an object"),
    (with_header("[" * 100_000), "its header is nested too deeply"),
    (with_header('{"a":' * 100_000), "its header is nested too deeply"),
    (with_header('{"w": ' + "9" * 5000 + "}"), "its header is not JSON: Exceeds the limit"),
    (with_header('{"w": NaN}'), "its header is not JSON: NaN is no number of JSON"),
    (with_header('{"w": 1, "w": 2}'), "its header is not JSON: key 'w' occurs twice"),
    (with_header('{"\\ud800": 1}'), "its header is not JSON: 'utf-8' codec can't encode character"),
    (with_header('{"__metadata__": null}'), "the metadata of its header is no object of strings"),
    (with_header('{"__metadata__": {"note": 1}}'), "the metadata of its header is no object of strings"),
    (with_header('{"w": null}'), "its tensor 'w' is described by something else than dtype, shape and"),
    (with_header(entry(more=1)), "its tensor 'w' is described by something else than dtype, shape and"),
    (with_header(entry(dtype="F7")), "its tensor 'w' has dtype F7, expected one of F64, F32"),
    (with_header(entry(dtype=None)), "its tensor 'w' has dtype NoneType, expected one of F64, F32"),
    (
        with_header(entry(shape=[-2, -3])),
        "its tensor 'w' has a shape or data_offsets that are no whole numbers",
    ),
    (with_header(entry(shape=[True, 6])), "its tensor 'w' has a shape or data_offsets that are no whole"),
    (with_header(entry(shape=6)), "its tensor 'w' has a shape or data_offsets that are no whole numbers"),
    (with_header(entry(shape=[6.0])), "its tensor 'w' has a shape or data_offsets that are no whole numbers"),
    (with_header(entry(data_offsets=[24])), "its tensor 'w' has a shape or data_offsets that are no whole"),
    (with_header(entry(data_offsets=[-24, 0])), "its tensor 'w' has a shape or data_offsets that are no"),
    (with_header(entry(data_offsets=[0, "24"])), "its tensor 'w' has a shape or data_offsets that are no"),
    (with_header(entry(data_offsets=[24, 0])), "its tensor 'w' of F32 and shape [2, 3] has -24 bytes"),
    (with_header(entry(shape=[2, 4])), "its tensor 'w' of F32 and shape [2, 4] has 24 bytes"),
    (with_header(entry(shape=[2**40, 2**40])), "its tensor 'w' claims the shape [1099511627776, 10995116"),
    (with_header(entry(shape=[0, 10**4000])), "its tensor 'w' claims the shape [0, 1000000"),
    (with_header(entry(shape=[1] * 65)), "its tensor 'w' claims the shape [1, 1, 1"),
    (with_header(entry(data_offsets=[8, 32]), b"\0" * 32), "its tensor 'w' begins at byte 8, expected 0"),
    (with_header(entry(), DATA + b"\0"), "its header describes 24 bytes, it has 25"),
    (with_header(entry(), DATA[1:]), "its header describes 24 bytes, it has 23"),
    (with_header("{}"), "its header describes 0 bytes, it has 24"),
    (
        with_header(json.dumps({name: json.loads(entry())["w"] for name in "ab"})),
        "its tensor 'b' begins at byte 0, expected 24",
    ),
    (
        with_header(entry(dtype="BOOL", shape=[24]), b"\0" * 23 + b"\2"),
        "its tensor 'w' of bools holds a byte 2",
    ),
]


@pytest.mark.parametrize(("content", "message"), BAD, ids=[message for _, message in BAD])
def test_what_is_no_file_of_tensors(content: bytes, message: str) -> None:
    with pytest.raises(TensorFileError) as caught:
        read(content)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_nothing_is_taken_for_what_is_only_declared() -> None:
    big = 2**40
    text = json.dumps({"w": {"dtype": "U8", "shape": [big], "data_offsets": [0, big]}})
    content = with_header(text, b"")
    tracemalloc.start()
    header = read_header(io.BytesIO(content), len(content) + big)  # as of a sparse file
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert header.tensors["w"].shape == (big,)
    assert peak < 2**20
    with pytest.raises(TensorFileError, match="its header describes 1099511627776 bytes, it has 0"):
        read(content)


def test_a_file_that_became_shorter_after_its_header_was_read() -> None:
    header = read_header(io.BytesIO(CONTENT), len(CONTENT))
    with pytest.raises(TensorFileError, match="is cut short"):
        read_tensors(io.BytesIO(CONTENT[:-1]), header)


def test_text_of_json_is_taken_by_the_letter() -> None:
    assert parse_object('{"a": [1, 2.5, null, "\\u00e4"]}', "it") == {"a": [1, 2.5, None, "ä"]}
    with pytest.raises(TensorFileError, match=r"^the note is a JSON int, not an object$"):
        parse_object("1", "the note")


ALTERATIONS: list[Callable[[bytearray, int, bytes], None]] = [
    lambda content, place, other: content.__setitem__(slice(place, place + len(other)), other),
    lambda content, place, other: content.__delitem__(slice(place, place + len(other))),
    lambda content, place, other: content.__setitem__(slice(place, place), other),
]


@settings(max_examples=500)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(ALTERATIONS), st.integers(0, len(CONTENT) - 1), st.binary(min_size=1, max_size=5)
        ),
        min_size=1,
        max_size=3,
    )
)
def test_any_bytes_give_tensors_or_the_documented_error(changes: list[Any]) -> None:
    content = bytearray(CONTENT)
    for alter, place, other in changes:
        alter(content, place, other)
    try:
        tensors = read(bytes(content))
    except TensorFileError as error:
        assert "\n" not in str(error)  # noqa: PT017  (tensors are as good)
    else:
        assert sum(tensor.nbytes for tensor in tensors.values()) < len(content)


def test_the_examples_run() -> None:
    assert doctest.testmod(tamiyo_policies.tensor_files).failed == 0
