"""Tasks of anybody's arrays: what becomes of good ones, and what is said of the others."""

import gzip
import re
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kasmina_hosts.arrays import ArrayTask
from kasmina_hosts.tasks import Split, Task

Array = npt.NDArray[Any]
X = np.arange(40.0).reshape(10, 2, 2)
Y = np.arange(10) % 2


def splits(task: ArrayTask) -> tuple[Split, Split, Split]:
    return task.train, task.validation, task.test


def equal(a: ArrayTask, b: ArrayTask) -> bool:
    """Whether two tasks hold the same, bit for bit."""
    return a.num_classes == b.num_classes and all(
        torch.equal(mine, other)
        for parts in zip(splits(a), splits(b), strict=True)
        for mine, other in zip(*parts, strict=True)
    )


def ids(task: ArrayTask) -> list[list[int]]:
    """Which samples are in each part, if the first pixel of all samples rises with the index."""
    firsts = [part.images[:, 0, 0, 0] for part in splits(task)]
    ranks = torch.cat(firsts).argsort().argsort()
    return [part.tolist() for part in ranks.split([len(first) for first in firsts])]


def changed(array: Array, index: tuple[int, ...] | int, value: float) -> Array:
    array = array.copy()
    array[index] = value
    return array


def test_by_hand() -> None:
    task = ArrayTask(X, Y)
    order = np.random.default_rng(0).permutation(10)
    parts = np.split(order, [6, 8])
    pixels = X[parts[0]]
    for split, part in zip(splits(task), parts, strict=True):
        assert split.images.shape == (len(part), 1, 2, 2)
        assert (split.images.dtype, split.labels.dtype) == (torch.float32, torch.int64)
        expected = (X[part, None] - pixels.mean()) / pixels.std(ddof=1)
        torch.testing.assert_close(split.images, torch.from_numpy(expected).float())
        assert split.labels.tolist() == Y[part].tolist()
    assert (task.name, task.num_classes) == ("arrays", 2)
    assert ArrayTask(X, Y, name="mine").name == "mine"
    assert isinstance(task, Task)


@given(
    st.integers(12, 60),
    st.floats(0.1, 0.2),
    st.floats(0.1, 0.2),
    st.integers(0, 2**32),
)
def test_parts_are_disjoint_and_hold_everything(
    samples: int, validation: float, test: float, seed: int
) -> None:
    x, y = np.arange(samples)[:, None, None] * np.ones((1, 2, 3)), np.arange(samples) % 2
    task = ArrayTask(x, y, validation=validation, test=test, seed=seed)
    found = ids(task)
    assert sorted(i for part in found for i in part) == list(range(samples))
    assert [len(part) for part in found[1:]] == [round(samples * validation), round(samples * test)]
    assert [part.labels.tolist() for part in splits(task)] == [[i % 2 for i in part] for part in found]


def test_the_seed_shuffles() -> None:
    assert equal(ArrayTask(X, Y, seed=3), ArrayTask(X, Y, seed=3))
    assert ids(ArrayTask(X, Y, seed=3)) != ids(ArrayTask(X, Y, seed=4))


def test_only_the_training_part_sets_the_scale() -> None:
    before = ArrayTask(X, Y)
    x = X.copy()
    x[ids(before)[1]] += 1000
    x[ids(before)[2]] *= -50
    after = ArrayTask(x, Y)
    assert torch.equal(before.train.images, after.train.images)
    assert not torch.equal(before.validation.images, after.validation.images)
    assert not torch.equal(before.test.images, after.test.images)
    x[ids(before)[0][0]] += 1
    assert not torch.equal(before.train.images, ArrayTask(x, Y).train.images)


def test_channels_are_standardised_each_on_its_own() -> None:
    x = np.stack([X, 100 * X + 7, np.full_like(X, 0.1)], axis=1)
    task = ArrayTask(x, Y)
    assert task.train.images.shape == (6, 3, 2, 2)
    torch.testing.assert_close(task.train.images[:, 0], task.train.images[:, 1], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(task.train.images.mean((0, 2, 3)), torch.zeros(3), rtol=0, atol=1e-6)
    torch.testing.assert_close(task.train.images[:, :2].std((0, 2, 3)), torch.ones(2))
    assert task.test.images[:, 2].abs().max() < 1e-6


@pytest.mark.parametrize(
    "convert",
    [
        np.float64,
        np.float16,
        np.uint8,
        np.int64,
        lambda x: x.astype(">f8"),
        lambda x: np.asfortranarray(x)[:, ::-1][:, ::-1],
        lambda x: x[:, None],
        lambda x: x.tolist(),
        lambda x: x.astype(int).tolist(),
        torch.tensor,
        lambda x: torch.tensor(x, dtype=torch.bfloat16),
        lambda x: torch.tensor(x, dtype=torch.uint8),
        lambda x: torch.tensor(x, requires_grad=True),
        lambda x: list(torch.tensor(x)),
        lambda x: np.frombuffer(x.astype(np.float32).tobytes(), np.float32).reshape(x.shape),  # read-only
    ],
)
def test_every_way_to_write_images_is_the_same(convert: Callable[[Array], Any]) -> None:
    assert equal(ArrayTask(convert(X), Y), ArrayTask(X, Y))


def test_booleans_are_numbers() -> None:
    assert equal(ArrayTask(X % 3 == 0, Y), ArrayTask((X % 3 == 0).astype(float), Y))


@pytest.mark.parametrize(
    "convert",
    [
        np.uint8,
        np.int8,
        np.uint64,
        np.bool_,
        lambda y: y.tolist(),
        torch.tensor,
        lambda y: torch.tensor(y).int(),
    ],
)
def test_every_way_to_write_labels_is_the_same(convert: Callable[[Array], Any]) -> None:
    assert equal(ArrayTask(X, convert(Y)), ArrayTask(X, Y))


@pytest.mark.parametrize("make", [ArrayTask, lambda x, y: ArrayTask.from_parts((x, y), test=(x, y))])
def test_the_arrays_stay_the_user_s_own(make: Callable[[Array, Array], ArrayTask]) -> None:
    x, y = X.astype(np.float32), Y.copy()
    task, again, expected = make(x, y), make(x, y), make(X, Y)
    for split in splits(task):
        split.images.zero_()
        split.labels.zero_()
    assert np.array_equal(x, X)
    assert np.array_equal(y, Y)
    x[:], y[:] = 0, 0
    assert equal(again, expected)


@pytest.mark.parametrize("shape", [(10, 4, 4), (10, 16, 4, 4), (10, 2, 3, 3), (10, 3, 5, 4), (10, 1, 1, 1)])
def test_shapes_that_only_look_like_channels_last(shape: tuple[int, ...]) -> None:
    task = ArrayTask(np.random.default_rng(0).random(shape), Y)
    assert task.train.images.shape[1:] == (shape[1:] if len(shape) == 4 else (1, *shape[1:]))


BAD_IMAGES: list[tuple[Any, str]] = [
    (X[:, 0], r"`x` has shape (10, 2), expected [N, H, W] or [N, C, H, W]"),
    (X[None, None], r"`x` has shape (1, 1, 10, 2, 2), expected [N, H, W] or [N, C, H, W]"),
    (X[:, :0], r"`x` has shape (10, 0, 2), expected [N, H, W] or [N, C, H, W] with every axis at least 1"),
    ([], r"`x` has shape (0,), expected [N, H, W]"),
    (
        np.zeros((10, 8, 8, 3)),
        "`x` has shape (10, 8, 8, 3), expected [N, C, H, W]: this looks like [N, H, W, C]",
    ),
    (np.zeros((10, 28, 20, 1)), "`x` has shape (10, 28, 20, 1), expected [N, C, H, W]: this looks like"),
    (
        np.zeros((10, 9, 8, 4)),
        "this looks like [N, H, W, C]; move the channels, as in numpy.moveaxis(x, -1, 1)",
    ),
    (
        changed(X, (7, 1, 0), np.nan),
        "`x` has 1 values that are NaN or infinite in float32, the first in sample 7",
    ),
    (changed(X, 4, np.inf), "`x` has 4 values that are NaN or infinite in float32, the first in sample 4"),
    (changed(X, 2, -1e39), "`x` has 4 values that are NaN or infinite in float32, the first in sample 2"),
    (X.astype(complex), "`x` has dtype complex128, expected real numbers (bool, integers or floats)"),
    (torch.tensor(X) * 1j, "`x` has dtype complex128, expected real numbers"),
    (X.astype(object), "`x` has dtype object, expected real numbers"),
    (X.astype(str), "`x` has dtype <U32, expected real numbers"),
    (X.astype("datetime64[s]"), "`x` has dtype datetime64[s], expected real numbers"),
    ([[[1, 2]], [[1]]], "`x` does not make a dense array: "),
    (torch.tensor(X).to_sparse(), "`x` does not make a dense array: "),
    (X[:9], "`x` has 9 samples but `y` has 10 labels"),
    (3e38 + 1e36 * X, "`x` has values too large or too far apart to be standardised"),
]


@pytest.mark.parametrize(("x", "message"), BAD_IMAGES)
def test_bad_images(x: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^.{{0,80}}{re.escape(message)}"):
        ArrayTask(x, Y)


BAD_LABELS: list[tuple[Any, int | None, str]] = [
    (Y.astype(float), None, "`y` has dtype float64, expected integers; convert them, as in y.astype(int)"),
    (Y.astype(complex), None, "`y` has dtype complex128, expected integers"),
    (Y.astype(object), None, "`y` has dtype object, expected integers"),
    (["a", "b"] * 5, None, "`y` has dtype <U1, expected integers"),
    (np.eye(10, dtype=int), None, "`y` has shape (10, 10), expected [N] with one label for each sample"),
    (Y[:, None], None, "`y` has shape (10, 1), expected [N]"),
    (np.array(3), None, "`y` has shape (), expected [N]"),
    ([], None, "`y` has shape (0,), expected [N]"),
    (changed(Y, 6, -2), None, "`y` has label -2 at index 6, expected at least 0"),
    (changed(changed(Y, 4, 3), 8, 5), 3, "`y` has label 3 at index 4, expected below 3"),
    (
        changed(Y.astype(np.uint64), 1, 2**63),
        None,
        "`y` has label 9223372036854775808 at index 1, expected below",
    ),
    (changed(Y.astype(np.int8), 9, 100), 100, "`y` has label 100 at index 9, expected below 100"),
    (Y, 4, "`y` gives the training part no sample of 2 of its 4 classes (2, 3); labels must run from 0"),
    (2 * Y, None, "`y` gives the training part no sample of 1 of its 3 classes (1); labels"),
    (
        Y + 10,
        None,
        "`y` gives the training part no sample of 10 of its 12 classes (0, 1, 2, 3, 4, ...); labels",
    ),
    (10**12 * Y, None, "of 999999999999 of its 1000000000001 classes (1, 2, 3, 4, 5, ...); labels"),
    (0 * Y, None, "`y` has label 0 only, expected at least 2 classes"),
    (Y, 1, "`num_classes` must be at least 2, not 1"),
]


@pytest.mark.parametrize(("y", "num_classes", "message"), BAD_LABELS)
def test_bad_labels(y: Any, num_classes: int | None, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        ArrayTask(X, y, num_classes=num_classes)


def test_a_class_that_only_the_held_out_parts_have() -> None:
    order = np.random.default_rng(0).permutation(10)
    y = changed(Y, int(order[7]), 2)  # the last of the validation part
    with pytest.raises(ValueError, match=r"no sample of 1 of its 3 classes \(2\)"):
        ArrayTask(X, y)
    assert ArrayTask(X, y, seed=1).num_classes == 3


@pytest.mark.parametrize(
    ("samples", "options", "message"),
    [
        (10, {"validation": 0.0}, "`validation` must be a fraction above 0 and below 1, not 0.0"),
        (10, {"test": 1.0}, "`test` must be a fraction above 0 and below 1, not 1.0"),
        (10, {"test": -0.1}, "`test` must be a fraction above 0 and below 1, not -0.1"),
        (10, {"validation": np.nan}, "`validation` must be a fraction above 0 and below 1, not nan"),
        (10, {"validation": 0.5, "test": 0.5}, "`validation` 0.5 + `test` 0.5 leaves nothing to train on"),
        (
            2,
            {},
            "`x` has 2 samples, too few: 2 for train, 0 for validation, 0 for test; every part needs at least 1",
        ),
        (10, {"test": 0.01}, "`x` has 10 samples, too few: 8 for train, 2 for validation, 0 for test"),
        (2, {"validation": 0.26, "test": 0.26}, "`x` has 2 samples, too few: 0 for train, 1 for validation"),
        (3, {"validation": 0.5, "test": 0.4}, "`x` has 3 samples, too few: 0 for train, 2 for validation"),
        (10, {"seed": -1}, "`seed` must be at least 0, not -1"),
    ],
)
def test_bad_cuts(samples: int, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        ArrayTask(X[:samples], Y[:samples], **options)


def test_parts_that_are_there_already() -> None:
    task = ArrayTask.from_parts((X, Y), validation=(X[:3] + 100, Y[:3]), test=(-X[:2], [1, 0]), name="parts")
    order = np.random.default_rng(0).permutation(10)
    for split, x, y in zip(
        splits(task), (X[order], X[:3] + 100, -X[:2]), (Y[order], Y[:3], 1 - Y[:2]), strict=True
    ):
        expected = torch.from_numpy((x[:, None] - X.mean()) / X.std(ddof=1)).float()
        torch.testing.assert_close(split.images, expected)
        assert split.labels.tolist() == y.tolist()
    assert task.name == "parts"


@pytest.mark.parametrize("given_part", ["validation", "test"])
def test_one_part_is_there_already(given_part: str) -> None:
    other = {"validation": "test", "test": "validation"}[given_part]
    parts: dict[str, Any] = {given_part: (X[:4], Y[:4]), other: 0.3}
    task = ArrayTask.from_parts((X, Y), **parts)
    assert len(getattr(task, given_part).labels) == 4
    assert len(getattr(task, other).labels) == 3
    assert len(task.train.labels) == 7
    assert getattr(task, given_part).labels.tolist() == Y[:4].tolist()


def test_without_parts_it_is_cut_like_arrays() -> None:
    assert equal(ArrayTask.from_parts((X, Y), test=0.3, seed=2), ArrayTask(X, Y, test=0.3, seed=2))


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"train": (X[0], Y)}, "`train[0]` has shape (2, 2)"),
        ({"train": (X, Y[:2])}, "`train[0]` has 10 samples but `train[1]` has 2 labels"),
        ({"test": (X, Y - 1)}, "`test[1]` has label -1 at index 0"),
        ({"test": (X, Y + 1)}, "`train[1]` gives the training part no sample of 1 of its 3 classes (2)"),
        ({"validation": (X[:0], Y[:0])}, "`validation[0]` has shape (0, 2, 2)"),
        (
            {"validation": (X[:, :1], Y)},
            "`validation[0]` has images [C, H, W] of [1, 1, 2] but `train[0]` of [1, 2, 2]",
        ),
        ({"test": (X, Y), "validation": 1.5}, "`validation` must be a fraction above 0 and below 1, not 1.5"),
        ({"test": (X * 1e38, Y)}, "`test[0]` has 36 values that are NaN or infinite in float32"),
        (
            {"train": (X * 1e-30, Y), "test": (X * 1e10, Y)},
            "`train[0]` has values too large or too far apart",
        ),
    ],
)
def test_bad_parts(parts: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        ArrayTask.from_parts(**({"train": (X, Y)} | parts))


def save(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def test_npz_of_one_pair(tmp_path: Path) -> None:
    path = save(tmp_path / "shapes.npz", x=X, y=Y, comment="hello")
    task = ArrayTask.from_npz(path, seed=2, test=0.3)
    assert equal(task, ArrayTask(X, Y, seed=2, test=0.3))
    assert task.name == "shapes"
    assert ArrayTask.from_npz(str(path), name="named").name == "named"
    np.savez_compressed(path, x=X, y=Y)
    assert equal(task, ArrayTask.from_npz(path, seed=2, test=0.3))


def test_npz_like_keras(tmp_path: Path) -> None:
    train, test, other = (X, Y), (X[:4] + 1, Y[:4]), (X[:3] + 2, Y[:3])
    arrays = {"x_train": X, "y_train": Y, "x_test": test[0], "y_test": test[1]}
    task = ArrayTask.from_npz(save(tmp_path / "mnist.npz", **arrays), validation=0.4)
    assert equal(task, ArrayTask.from_parts(train, validation=0.4, test=test))
    path = save(tmp_path / "three.npz", **arrays, x_val=other[0], y_val=other[1])
    assert equal(ArrayTask.from_npz(path), ArrayTask.from_parts(train, validation=other, test=test))
    path = save(tmp_path / "one.npz", x_train=X, y_train=Y)
    assert equal(ArrayTask.from_npz(path), ArrayTask(X, Y))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "has the arrays none; expected either x and y or x_train and y_train"),
        ({"a": X, "b": Y}, "has the arrays a, b; expected either x and y or x_train and y_train"),
        ({"x": X, "labels": Y}, "has the arrays x, labels; expected x and y together"),
        ({"y_train": Y}, "has the arrays y_train; expected x_train and y_train together"),
        ({"x": X, "y": Y, "x_test": X}, "has the arrays x, y, x_test; expected x_test and y_test together"),
        ({"x": X, "y": Y, "y_val": Y}, "has the arrays x, y, y_val; expected x_val and y_val together"),
        ({"x": X, "y": Y, "x_train": X}, "has the arrays x, y, x_train; expected either x and y or"),
    ],
)
def test_npz_without_what_it_needs(tmp_path: Path, arrays: dict[str, Array], message: str) -> None:
    path = save(tmp_path / "a.npz", **arrays)
    with pytest.raises(ValueError, match="^" + re.escape(f"{path} {message}")):
        ArrayTask.from_npz(path)


def test_npz_messages_name_the_array_and_the_file(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", x_train=X, y_train=Y, x_test=X[:, :, 0], y_test=Y)
    with pytest.raises(ValueError, match=re.escape(f"x_test of {path} has shape (10, 2)")):
        ArrayTask.from_npz(path)


def test_npz_runs_no_pickles(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", x=X.astype(object), y=Y)
    with pytest.raises(ValueError, match=f"array x of {re.escape(str(path))} cannot be read: Object arrays"):
        ArrayTask.from_npz(path)


def test_no_npz_at_all(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        ArrayTask.from_npz(tmp_path / "none.npz")
    np.save(tmp_path / "a.npy", X)
    (tmp_path / "empty").touch()
    save(tmp_path / "whole.npz", x=X, y=Y)
    whole = (tmp_path / "whole.npz").read_bytes()
    (tmp_path / "short").write_bytes(whole[:-30])
    for name in ("a.npy", "empty", "short"):
        with pytest.raises(ValueError, match=f"{name} is not an .npz file, which is a zip archive of arrays"):
            ArrayTask.from_npz(tmp_path / name)
    with zipfile.ZipFile(tmp_path / "text.npz", "w") as file:
        file.writestr("x", "no array")
        file.writestr("y", "nor this")
    with pytest.raises(
        ValueError, match=r"^array x of .*text.npz cannot be read: the magic string is not correct"
    ):
        ArrayTask.from_npz(tmp_path / "text.npz")


@pytest.mark.parametrize("place", [0, 60, 200, -100, -20, -4])
def test_damaged_npz(tmp_path: Path, place: int) -> None:
    whole = bytearray(save(tmp_path / "whole.npz", x=X, y=Y).read_bytes())
    whole[place] ^= 0xFF
    (tmp_path / "damaged.npz").write_bytes(whole)
    with pytest.raises(ValueError, match=r"damaged\.npz"):
        ArrayTask.from_npz(tmp_path / "damaged.npz")


def idx(path: Path, array: Array, pack: Callable[[bytes], bytes] = bytes) -> Path:
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(pack(header + array.astype(np.uint8).tobytes()))
    return path


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_idx_files(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    images, labels = idx(tmp_path / "train-images", X, pack), idx(tmp_path / "train-labels", Y, pack)
    task = ArrayTask.from_idx(images, labels, validation=0.3, seed=5)
    assert equal(task, ArrayTask(X, Y, validation=0.3, seed=5))
    assert task.name == "train-images"
    test_images, test_labels = idx(tmp_path / "c", X[:4] + 9, pack), idx(tmp_path / "d", Y[:4], pack)
    task = ArrayTask.from_idx(
        str(images), str(labels), test_images=test_images, test_labels=test_labels, name="mnist"
    )
    assert equal(task, ArrayTask.from_parts((X, Y), test=(X[:4] + 9, Y[:4])))
    assert task.name == "mnist"


def test_bad_idx_files(tmp_path: Path) -> None:
    images, labels = idx(tmp_path / "images", X), idx(tmp_path / "labels", Y)
    with pytest.raises(ValueError, match="`test_images` came alone, expected both"):
        ArrayTask.from_idx(images, labels, test_images=images)
    with pytest.raises(ValueError, match="`test_labels` came alone, expected both"):
        ArrayTask.from_idx(images, labels, test_labels=labels)
    with pytest.raises(ValueError, match=re.escape(f"{labels} has shape (10,), expected [N, H, W]")):
        ArrayTask.from_idx(labels, images)
    with pytest.raises(FileNotFoundError):
        ArrayTask.from_idx(images, tmp_path / "none")
    (tmp_path / "text").write_text("hello")
    with pytest.raises(ValueError, match="text is not an IDX file"):
        ArrayTask.from_idx(images, labels, test_images=images, test_labels=tmp_path / "text")
