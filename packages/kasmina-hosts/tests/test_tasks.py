"""Digits and their family: real, split once, standardised by the training part, noise in training labels alone."""

from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from torch import Tensor

from kasmina_hosts.config import HostConfig
from kasmina_hosts.digits import DigitsTask
from kasmina_hosts.family import DigitsFamily
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
        (DigitsTask((8, 3)), "digits classes 8,3"),
        (DigitsTask(label_noise=1.0), "digits noise 1.0"),
        (DigitsTask((3, 8), label_noise=0.5, seed=7), "digits classes 3,8 noise 0.5"),
    ],
)
def test_the_name_tells_the_variant(task: DigitsTask, name: str) -> None:
    assert task.name == name


def test_digits_are_a_task() -> None:
    found: Task = DigitsTask()
    assert isinstance(found, Task)
    assert not isinstance(found.train, Task)


@pytest.mark.parametrize(
    ("classes", "noise", "seed"), [(None, 0.5, 0), ((3, 8), 0.5, 1), (None, 1.0, 2), ((0, 4, 9), 0.1, 3)]
)
def test_noise_is_in_training_labels_alone(classes: tuple[int, ...] | None, noise: float, seed: int) -> None:
    clean, noisy = DigitsTask(classes), DigitsTask(classes, label_noise=noise, seed=seed)
    assert torch.equal(clean.train.images, noisy.train.images)
    for part in ("validation", "test"):
        for kept, found in zip(getattr(clean, part), getattr(noisy, part), strict=True):
            assert torch.equal(kept, found)
    # A redrawn label is the old one again with chance 1 / classes.
    chance = noise * (1 - 1 / clean.num_classes)
    samples = len(clean.train.labels)
    changed = int((clean.train.labels != noisy.train.labels).sum())
    assert abs(changed - samples * chance) < 4 * (samples * chance * (1 - chance)) ** 0.5
    assert noisy.train.labels.unique().tolist() == list(range(clean.num_classes))


def test_noise_is_uniform_over_the_classes() -> None:
    counts = torch.bincount(DigitsTask((1, 2, 3, 4), label_noise=1.0).train.labels).tolist()
    samples = sum(counts)
    assert all(abs(count - samples / 4) < 4 * (samples * 3 / 16) ** 0.5 for count in counts)


def test_noise_depends_on_its_seed_alone() -> None:
    assert equal(DigitsTask(label_noise=0.5, seed=4), DigitsTask(label_noise=0.5, seed=4))
    assert not equal(DigitsTask(label_noise=0.5, seed=4), DigitsTask(label_noise=0.5, seed=5))
    assert equal(DigitsTask(seed=4), DigitsTask(seed=5))


def test_more_noise_keeps_what_less_noise_redrew() -> None:
    clean, less, more = (DigitsTask(label_noise=noise, seed=4).train.labels for noise in (0.0, 0.3, 0.6))
    redrawn = less != clean
    assert redrawn.any()
    assert torch.equal(more[redrawn], less[redrawn])
    assert (more != clean).sum() > redrawn.sum()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": (3,)}, r"`classes` must be at least 2 distinct digits, not \(3,\)"),
        ({"classes": ()}, r"`classes` must be at least 2 distinct digits, not \(\)"),
        ({"classes": (3, 8, 3)}, r"`classes` must be at least 2 distinct digits, not \(3, 8, 3\)"),
        ({"classes": (3, 10)}, r"`classes` must be digits from 0 to 9, not \(3, 10\)"),
        ({"classes": (-1, 3)}, r"`classes` must be digits from 0 to 9, not \(-1, 3\)"),
        ({"classes": "38"}, r"`classes` must be digits from 0 to 9, not \('3', '8'\)"),
        ({"label_noise": 1.5}, r"`label_noise` must be in \[0, 1\], not 1.5"),
        ({"label_noise": -0.1}, r"`label_noise` must be in \[0, 1\], not -0.1"),
        ({"label_noise": float("nan")}, r"`label_noise` must be in \[0, 1\], not nan"),
        ({"seed": -1}, "`seed` must be at least 0, not -1"),
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


def test_a_draw_is_a_function_of_its_seed() -> None:
    family, config = DigitsFamily(), HostConfig(max_epochs=7, batch_size=32, max_seeds=2)
    for seed in range(8):
        member, again = family.draw(seed, config), DigitsFamily().draw(seed, config)
        assert equal(member.task, again.task)
        assert member.config == again.config
        assert equal(member.task, family.draw(seed).task)
        assert (member.config.max_epochs, member.config.batch_size, member.config.max_seeds) == (7, 32, 2)


def test_every_choice_is_drawn_about_as_often() -> None:
    members = [DigitsFamily().draw(seed) for seed in range(300)]
    noisy = sum("noise 0.5" in member.task.name for member in members)
    wide = sum(member.config.width == 6 for member in members)
    fast = sum(member.config.learning_rate == 0.2 for member in members)
    assert {member.config.width for member in members} == {4, 6}
    assert {member.config.learning_rate for member in members} == {0.1, 0.2}
    assert all(110 < count < 190 for count in (noisy, wide, fast))  # 150 expected, deviation 9
    counts = [sum(member.task.num_classes == size for member in members) for size in (2, 5, 10)]
    assert sum(counts) == 300
    assert all(65 < count < 135 for count in counts)  # 100 expected, deviation 8
    pairs = [member.task.name.split()[2] for member in members if member.task.num_classes == 2]
    assert {digit for pair in pairs for digit in pair.split(",")} == set("0123456789")
    assert len(set(pairs)) > 30  # of 45


def test_a_family_of_one_differs_in_its_noise() -> None:
    family = DigitsFamily(class_counts=(10,), widths=(5,), label_noises=(0.5,), learning_rates=(0.3,))
    first, second = family.draw(0), family.draw(1)
    assert first.config == second.config == HostConfig(width=5, learning_rate=0.3)
    assert first.task.name == second.task.name == "digits noise 0.5"
    assert not torch.equal(first.task.train.labels, second.task.train.labels)


@given(st.integers(min_value=0, max_value=2**64))
def test_any_seed_draws_a_member(seed: int) -> None:
    task, config = DigitsFamily(class_counts=(3,), label_noises=(0.0,)).draw(seed)
    assert task.num_classes == 3
    assert config.width in {4, 6}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"class_counts": ()}, "`class_counts` must hold at least one value"),
        ({"widths": ()}, "`widths` must hold at least one value"),
        ({"label_noises": ()}, "`label_noises` must hold at least one value"),
        ({"learning_rates": ()}, "`learning_rates` must hold at least one value"),
        ({"class_counts": (2, 1)}, "`class_counts` must be from 2 to 10, not 1"),
        ({"class_counts": (11,)}, "`class_counts` must be from 2 to 10, not 11"),
        ({"widths": (4, 0)}, "`widths` must be at least 1, not 0"),
        ({"label_noises": (0.5, 1.1)}, r"`label_noises` must be in \[0, 1\], not 1.1"),
        ({"learning_rates": (0.0,)}, "`learning_rates` must be above 0 and at most 1e\\+30, not 0.0"),
        (
            {"learning_rates": (float("inf"),)},
            "`learning_rates` must be above 0 and at most 1e\\+30, not inf",
        ),
    ],
)
def test_families_refuse(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DigitsFamily(**options)


def test_families_refuse_a_negative_seed_and_do_not_change() -> None:
    with pytest.raises(ValueError, match="`seed` must be at least 0, not -1"):
        DigitsFamily().draw(-1)
    with pytest.raises(FrozenInstanceError):
        DigitsFamily().widths = (8,)  # type: ignore[misc]
