"""Digits: real, split once, standardised by the training part; and what any task must be."""

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from kasmina_hosts.digits import DigitsTask
from kasmina_hosts.tasks import Split, Task, standardised

PARTS = {"train": slice(1152), "validation": slice(1152, 1152 + 322), "test": slice(1152 + 322, None)}


def equal(a: DigitsTask, b: DigitsTask) -> bool:
    """Whether two tasks are the same, bit for bit."""
    return a.name == b.name and all(
        torch.equal(mine, other)
        for part in PARTS
        for mine, other in zip(getattr(a, part), getattr(b, part), strict=True)
    )


def raw_parts(digits: list[int]) -> dict[str, tuple[Tensor, Tensor]]:
    """Pixels and digits of each part, by the plainest way there is."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(20_240_601).permutation(len(labels))
    pixels = torch.from_numpy(images[order]).float().reshape(-1, 1, 8, 8)
    known = torch.from_numpy(labels[order])
    kept = {
        part: [i for i in range(len(known))[where] if known[i] in digits] for part, where in PARTS.items()
    }
    return {part: (pixels[rows], known[rows]) for part, rows in kept.items()}


def test_parts(task: DigitsTask) -> None:
    parts = (task.train, task.validation, task.test)
    assert [len(part.labels) for part in parts] == [1152, 322, 323]
    for part in parts:
        assert part.images.shape == (len(part.labels), 1, 8, 8)
        assert part.images.dtype == torch.float32
        assert part.labels.unique().tolist() == list(range(10))


def test_standardised_by_the_training_part(task: DigitsTask) -> None:
    assert abs(float(task.train.images.mean())) < 1e-5
    assert abs(float(task.train.images.std()) - 1) < 1e-5


def test_the_same_every_time_and_nothing_lost(task: DigitsTask) -> None:
    again = DigitsTask()
    assert torch.equal(task.train.images, again.train.images)
    labels = torch.cat([part.labels for part in (task.train, task.validation, task.test)])
    assert torch.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


@pytest.mark.parametrize("digits", [list(range(10)), [3, 8], [7, 0, 2]])
def test_classes_against_the_data_itself(digits: list[int]) -> None:
    task = DigitsTask(digits)
    parts = raw_parts(digits)
    pixels = parts["train"][0]
    for part, (images, labels) in parts.items():
        split: Split = getattr(task, part)
        assert torch.equal(split.images, (images - pixels.mean()) / pixels.std())  # bit for bit
        assert [digits[label] for label in split.labels.tolist()] == labels.tolist()
        assert split.labels.dtype == torch.int64
    assert task.num_classes == len(digits)


def test_all_classes_in_order_are_the_default() -> None:
    assert equal(DigitsTask(), DigitsTask(range(10)))
    assert not equal(DigitsTask(), DigitsTask((3, 8)))


def test_tasks_share_no_memory() -> None:
    spoilt, before = DigitsTask(), DigitsTask()
    for part in PARTS:
        for values in getattr(spoilt, part):
            values.zero_()
    assert equal(before, DigitsTask())
    assert not equal(before, spoilt)


@pytest.mark.parametrize(
    ("task", "name"),
    [
        (DigitsTask(), "digits"),
        (DigitsTask(range(10)), "digits"),
        (DigitsTask((8, 3)), "digits, classes 8,3"),
    ],
)
def test_the_name_tells_the_variant(task: DigitsTask, name: str) -> None:
    assert task.name == name


def test_digits_are_a_task() -> None:
    found: Task = DigitsTask()
    assert isinstance(found, Task)
    assert not isinstance(found.train, Task)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": (3,)}, r"`classes` must be at least 2 distinct digits, not \(3,\)"),
        ({"classes": ()}, r"`classes` must be at least 2 distinct digits, not \(\)"),
        ({"classes": (3, 8, 3)}, r"`classes` must be at least 2 distinct digits, not \(3, 8, 3\)"),
        ({"classes": (3, 10)}, r"`classes` must be digits from 0 to 9, not \(3, 10\)"),
        ({"classes": (-1, 3)}, r"`classes` must be digits from 0 to 9, not \(-1, 3\)"),
        ({"classes": "38"}, r"`classes` must be digits from 0 to 9, not \('3', '8'\)"),
    ],
)
def test_digits_refuse(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DigitsTask(**options)


def split_of(*channels: list[float]) -> Split:
    """Images of one pixel for each channel."""
    images = torch.tensor(channels).T[:, :, None, None]
    return Split(images, torch.zeros(len(images), dtype=torch.int64))


def test_standardised_by_hand() -> None:
    # Training: mean 2 and deviation 1; constant; mean 0 and deviation 10.
    train = split_of([1.0, 2.0, 3.0], [0.1, 0.1, 0.1], [-10.0, 0.0, 10.0])
    other = split_of([5.0], [1.1], [-5.0])
    parts = standardised(train, other, other)
    expected = torch.tensor([[-1.0, 0.0, -1.0], [0.0, 0.0, 0.0], [1.0, 0.0, 1.0]])
    torch.testing.assert_close(parts[0].images[:, :, 0, 0], expected)
    for part in parts[1:]:
        torch.testing.assert_close(part.images[:, :, 0, 0], torch.tensor([[3.0, 1.0, -0.5]]))


@pytest.mark.parametrize("values", [[7.0], [0.0, 0.0], [0.0, 1e-45], [0.1] * 1000])
def test_channels_without_a_spread_are_only_shifted(values: list[float]) -> None:
    train, other, _ = standardised(split_of(values), split_of([values[0] + 2]), split_of([0.0]))
    assert train.images.abs().max() < 1e-6
    assert float(other.images) == pytest.approx(2)
