"""Variations of tasks: what each changes, by hand and by plain loops, and that it changes nothing else."""

import doctest
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import kasmina_hosts.variation
from kasmina_hosts import DigitsTask, Split, Task, Variation, VariedTask, vary
from kasmina_hosts.tasks import check_task, standardised
from kasmina_hosts.variation import background_of, occlude_images, shift_images

PARTS = ("train", "validation", "test")
SAMPLES, CLASSES, SIDES = 37, 4, (5, 7)
BACKGROUND = torch.tensor([-1.0, 2.0])[:, None, None]


def numbered(samples: int) -> Tensor:
    """Images of two channels in which no two pixels are alike, but for a border of the background's colour."""
    images = 10 + torch.arange(2.0 * samples * SIDES[0] * SIDES[1]).reshape(samples, 2, *SIDES)
    inner = torch.zeros(SIDES, dtype=torch.bool)
    inner[1:-1, 1:-1] = True
    return torch.where(inner, images, BACKGROUND)


@pytest.fixture(scope="module")
def arrays() -> VariedTask:
    """Labels go round the classes; the parts have 37, 11 and 9 samples."""
    parts = [Split(numbered(size), torch.arange(size) % CLASSES) for size in (SAMPLES, 11, 9)]
    return VariedTask("arrays", CLASSES, *parts)


some_classes = st.tuples(st.permutations(range(CLASSES)), st.integers(2, CLASSES)).map(
    lambda drawn: tuple(drawn[0][: drawn[1]])
)
variations = st.builds(
    Variation,
    classes=st.none() | some_classes,
    train_samples=st.none() | st.integers(CLASSES, 18),
    label_noise=st.sampled_from([0.0, 0.3, 1.0]),
    shift=st.integers(0, 4),
    occlusion=st.integers(0, 5),
)
seeds = st.integers(0, 2**64)


def same(a: Task, b: Task, parts: tuple[str, ...] = PARTS, fields: tuple[str, ...] = Split._fields) -> bool:
    """Whether two tasks hold the same, bit for bit."""
    return all(
        torch.equal(getattr(getattr(a, part), field), getattr(getattr(b, part), field))
        for part in parts
        for field in fields
    )


@given(variation=variations, seed=seeds)
def test_any_variation_is_a_task_and_a_function_of_its_seed(
    arrays: VariedTask, variation: Variation, seed: int
) -> None:
    found, again = vary(arrays, variation, seed), vary(arrays, variation, seed)
    check_task(found)
    assert isinstance(found, Task)
    assert found.name == again.name
    assert same(found, again)
    assert found.num_classes == (CLASSES if variation.classes is None else len(variation.classes))
    if variation.train_samples is not None:
        assert len(found.train.labels) == variation.train_samples
    if not variation.label_noise:
        assert found.train.labels.unique().tolist() == list(range(found.num_classes))
    if found.train.images is not arrays.train.images:
        for channel in found.train.images.double().unbind(1):
            assert abs(float(channel.mean())) < 1e-4
            blank = channel.min() == channel.max()  # all hidden or moved out
            assert blank or abs(float(channel.std()) - 1) < 1e-4


@given(seed=seeds)
def test_nothing_to_change_changes_nothing(arrays: VariedTask, seed: int) -> None:
    for variation in (Variation(), Variation(classes=(0, 1, 2, 3), train_samples=SAMPLES)):
        found = vary(arrays, variation, seed)
        assert found.name == "arrays"
        assert found.num_classes == CLASSES
        assert same(found, arrays)


@given(variation=variations, seed=seeds)
def test_labels_that_are_measured_on_stay_true(arrays: VariedTask, variation: Variation, seed: int) -> None:
    classes = variation.classes or tuple(range(CLASSES))
    found = vary(arrays, variation, seed)
    for part in ("validation", "test"):
        before = [label for label in getattr(arrays, part).labels.tolist() if label in classes]
        assert [classes[label] for label in getattr(found, part).labels.tolist()] == before


def test_classes_are_renumbered_by_their_places(task: DigitsTask) -> None:
    found, expected = vary(task, Variation(classes=(7, 0, 2)), 0), DigitsTask((7, 0, 2))
    assert found.name == expected.name == "digits, classes 7,0,2"
    assert same(found, expected, fields=("labels",))
    for part in PARTS:
        torch.testing.assert_close(getattr(found, part).images, getattr(expected, part).images)


def test_the_name_tells_what_was_changed(task: DigitsTask) -> None:
    variation = Variation(classes=(3, 7), train_samples=200, label_noise=0.3141, shift=1, occlusion=2)
    found = vary(task, variation, 0)
    assert found.name == "digits, classes 3,7, 200 samples, noise 0.31, shift 1, occlusion 2"


@given(count=st.integers(CLASSES, SAMPLES - 1), seed=seeds)
def test_samples_kept_are_some_of_those_there_were(arrays: VariedTask, count: int, seed: int) -> None:
    found, more = (vary(arrays, Variation(train_samples=size), seed) for size in (count, count + 1))
    chosen = [_places(each, arrays) for each in (found, more)]
    assert len(chosen[0]) == count
    assert chosen[0] == sorted(set(chosen[0]))  # in their order, none twice
    assert set(chosen[0]) <= set(chosen[1])
    assert found.train.labels.tolist() == [place % CLASSES for place in chosen[0]]
    assert set(found.train.labels.tolist()) == set(range(CLASSES))


def test_which_samples_are_kept_is_drawn_evenly(arrays: VariedTask) -> None:
    counts = np.zeros(SAMPLES)
    for seed in range(300):
        counts[_places(vary(arrays, Variation(train_samples=9), seed), arrays)] += 1
    assert counts.sum() == 300 * 9
    assert (abs(counts - 300 * 9 / SAMPLES) < 36).all()  # 73 expected, deviation below 8


def _places(found: Task, before: Task) -> list[int]:
    """Of each training image, which of those before it was: pixels rise from image to image, by equal steps."""
    first, last = (found.validation.images[index, 0, 1, 1] for index in (0, -1))
    step = (last - first) / (len(found.validation.labels) - 1)
    return [round(float((image[0, 1, 1] - first) / step)) for image in found.train.images]


@pytest.mark.parametrize(("noise", "seed"), [(0.1, 0), (0.5, 1), (1.0, 2)])
def test_noise_is_in_training_labels_alone(noise: float, seed: int) -> None:
    clean = DigitsTask((3, 8, 9))
    noisy = vary(clean, Variation(label_noise=noise), seed)
    assert torch.equal(clean.train.images, noisy.train.images)
    assert same(clean, noisy, ("validation", "test"))
    # A redrawn label is the old one again with chance 1 / classes.
    chance, samples = noise * 2 / 3, len(clean.train.labels)
    changed = int((clean.train.labels != noisy.train.labels).sum())
    assert abs(changed - samples * chance) < 4 * (samples * chance * (1 - chance)) ** 0.5


def test_noise_is_uniform_over_the_classes(task: DigitsTask) -> None:
    noisy = vary(task, Variation(classes=(1, 2, 3, 4), label_noise=1.0), 3)
    counts = torch.bincount(noisy.train.labels).tolist()
    samples = sum(counts)
    assert all(abs(count - samples / 4) < 4 * (samples * 3 / 16) ** 0.5 for count in counts)


def test_more_noise_keeps_what_less_noise_redrew(task: DigitsTask) -> None:
    clean, less, more = (
        vary(task, Variation(label_noise=noise), 4).train.labels for noise in (0.0, 0.3, 0.6)
    )
    redrawn = less != clean
    assert redrawn.any()
    assert torch.equal(more[redrawn], less[redrawn])
    assert (more != clean).sum() > redrawn.sum()


def test_the_background_is_the_border_s_median() -> None:
    images = numbered(9)
    assert torch.equal(background_of(images), BACKGROUND)
    images[:4, :, 0] = 1e6  # the border is what most images have there
    assert torch.equal(background_of(images), BACKGROUND)
    assert background_of(torch.arange(3.0)[:, None, None, None]).tolist() == [
        [[1.0]]
    ]  # one pixel is all border


def test_the_background_of_digits_is_paper(task: DigitsTask) -> None:
    assert background_of(task.train.images) == task.train.images.min()


def moved(image: Tensor, down: int, right: int) -> Tensor:
    """The image pixel by pixel at another place."""
    result = BACKGROUND.repeat(1, *SIDES)
    for row in range(SIDES[0]):
        for column in range(SIDES[1]):
            if 0 <= row + down < SIDES[0] and 0 <= column + right < SIDES[1]:
                result[:, row + down, column + right] = image[:, row, column]
    return result


@pytest.mark.parametrize("most", [0, 1, 2])
def test_images_are_shifted_one_by_one(most: int) -> None:
    images, steps = 10 + torch.rand(300, 2, *SIDES), range(-most, most + 1)
    found = shift_images(images, most, BACKGROUND, np.random.default_rng(0))
    counts = {(down, right): 0 for down in steps for right in steps}
    for before, after in zip(images, found, strict=True):
        (by,) = [by for by in counts if torch.equal(after, moved(before, *by))]
        counts[by] += 1
    share = 300 / len(counts)
    assert all(abs(count - share) < 4 * share**0.5 for count in counts.values())
    assert found.is_contiguous()


@pytest.mark.parametrize("side", [0, 1, 3, 5])
def test_one_square_of_each_image_is_hidden(side: int) -> None:
    images = 10 + torch.rand(200, 2, *SIDES)
    found = occlude_images(images, side, BACKGROUND, np.random.default_rng(0))
    tops, lefts = range(SIDES[0] - side + 1), range(SIDES[1] - side + 1)
    counts = {(top, left): 0 for top in tops for left in lefts}
    for before, after in zip(images, found, strict=True):
        hidden = (after != before).all(0)
        assert int(hidden.sum()) == side**2
        assert torch.equal(after, torch.where(hidden, BACKGROUND, before))
        if side:
            rows, columns = hidden.any(1).nonzero().flatten(), hidden.any(0).nonzero().flatten()
            assert (len(rows), len(columns)) == (side, side)
            counts[int(rows[0]), int(columns[0])] += 1
    if side:
        share = 200 / len(counts)
        assert all(abs(count - share) < 5 * share**0.5 for count in counts.values())


def test_all_parts_are_shifted_then_hidden_then_standardised(task: DigitsTask) -> None:
    found = vary(task, Variation(shift=1, occlusion=2), 11)
    background = background_of(task.train.images)
    parts = []
    for index, name in enumerate(PARTS):
        images = getattr(task, name).images
        images = shift_images(images, 1, background, np.random.default_rng((2, 11, index)))
        images = occlude_images(images, 2, background, np.random.default_rng((3, 11, index)))
        assert not torch.equal(images, getattr(task, name).images)
        parts.append(getattr(task, name)._replace(images=images))
    assert same(found, VariedTask("", 10, *standardised(*parts)))


def test_the_task_given_is_not_written_to() -> None:
    given_task, before = DigitsTask(), DigitsTask()
    found = vary(
        given_task, Variation(classes=(0, 1), train_samples=100, label_noise=0.5, shift=2, occlusion=4), 1
    )
    for part in PARTS:
        for tensor in getattr(found, part):
            tensor.zero_()
    assert same(given_task, before)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": (1,)}, r"`classes` must be at least 2 distinct labels, not \(1,\)"),
        ({"classes": (1, 2, 1)}, r"`classes` must be at least 2 distinct labels, not \(1, 2, 1\)"),
        ({"train_samples": 1}, "`train_samples` must be at least 2, not 1"),
        ({"label_noise": 1.5}, r"`label_noise` must be in \[0, 1\], not 1.5"),
        ({"label_noise": -0.1}, r"`label_noise` must be in \[0, 1\], not -0.1"),
        ({"label_noise": float("nan")}, r"`label_noise` must be in \[0, 1\], not nan"),
        ({"shift": -1}, "`shift` must be at least 0, not -1"),
        ({"occlusion": -1}, "`occlusion` must be at least 0, not -1"),
    ],
)
def test_variations_refuse(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Variation(**options)


@pytest.mark.parametrize(
    ("variation", "message"),
    [
        (Variation(classes=(0, 4)), r"`classes` must be from 0 to 3, not \(0, 4\)"),
        (Variation(classes=(-1, 2)), r"`classes` must be from 0 to 3, not \(-1, 2\)"),
        (Variation(train_samples=3), r"must be from 4 \(classes\) to 37 \(samples there are\), not 3"),
        (Variation(train_samples=38), r"must be from 4 \(classes\) to 37 \(samples there are\), not 38"),
        (Variation(shift=5), "a shift by 5 pixels leaves nothing of images of 5 x 7"),
        (Variation(occlusion=6), "a square of 6 x 6 pixels does not fit images of 5 x 7"),
    ],
)
def test_what_does_not_fit_the_task(arrays: VariedTask, variation: Variation, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        vary(arrays, variation, 0)


def test_a_part_without_any_sample_of_the_classes(arrays: VariedTask) -> None:
    only = Split(numbered(2), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match=r"the test part of 'cut' has no sample of the classes \(2, 3\)"):
        vary(VariedTask("cut", 4, arrays.train, arrays.validation, only), Variation(classes=(2, 3)), 0)


def test_other_nonsense(arrays: VariedTask) -> None:
    with pytest.raises(ValueError, match="`seed` must be at least 0, not -1"):
        vary(arrays, Variation(), -1)
    with pytest.raises(ValueError, match="the task has `num_classes` 1, expected at least 2"):
        vary(VariedTask("one", 1, arrays.train, arrays.validation, arrays.test), Variation(), 0)


def test_the_examples_run() -> None:
    assert doctest.testmod(kasmina_hosts.variation).failed == 0
