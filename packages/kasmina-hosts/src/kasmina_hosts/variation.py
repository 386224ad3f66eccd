"""Harder versions of a task: fewer classes and samples, wrong labels, shifted and partly hidden images."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from kasmina_hosts.tasks import Split, Task, check_task, standardised

_SAMPLES, _NOISE, _SHIFT, _OCCLUSION = range(4)  # each draws from a stream of its own

Images = Float[Tensor, "sample channel height width"]
Background = Float[Tensor, "channel 1 1"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Variation:
    """What is changed in a task. The defaults change nothing.

    Args:
        classes: distinct labels to keep, two at least; the place of each is its new label. None keeps all.
        train_samples: to keep of the training part, with at least one of each class; None keeps all.
        label_noise: chance of each training label to be redrawn uniformly over the classes (the old one included), in
            [0, 1]. Labels of the other parts stay true.
        shift: the most pixels that an image is moved, up or down and left or right, each by its own draw.
        occlusion: side, in pixels, of the square that is hidden in each image, at a place of its own.

    Raises:
        ValueError: a field outside its range.
    """

    classes: tuple[int, ...] | None = None
    train_samples: int | None = None
    label_noise: float = 0.0
    shift: int = 0
    occlusion: int = 0

    def __post_init__(self) -> None:
        if self.classes is not None and (len(self.classes) < 2 or len(set(self.classes)) < len(self.classes)):
            raise ValueError(f"`classes` must be at least 2 distinct labels, not {self.classes}")
        if self.train_samples is not None and self.train_samples < 2:
            raise ValueError(f"`train_samples` must be at least 2, not {self.train_samples}")
        if not 0 <= self.label_noise <= 1:
            raise ValueError(f"`label_noise` must be in [0, 1], not {self.label_noise}")
        for name in ("shift", "occlusion"):
            if getattr(self, name) < 0:
                raise ValueError(f"`{name}` must be at least 0, not {getattr(self, name)}")


@final
@dataclass(frozen=True, slots=True, eq=False)
class VariedTask:
    """A `Task` that `vary` made of another."""

    name: str
    num_classes: int
    train: Split
    validation: Split
    test: Split


def vary(task: Task, variation: Variation, seed: int) -> VariedTask:
    """The task with what `variation` says, a pure function of the three.

    What leaves the images its background is the median of the training images' border, channel by channel. Images that
    are shifted, hidden in part or fewer than before are standardised again over the training part; others are the
    task's own, not copied.

    >>> from kasmina_hosts.digits import DigitsTask
    >>> varied = vary(DigitsTask(), Variation(classes=(3, 7), train_samples=200, label_noise=0.25, shift=1), seed=0)
    >>> varied.name, varied.num_classes, len(varied.train.labels), len(varied.validation.labels)
    ('digits, classes 3,7, 200 samples, noise 0.25, shift 1', 2, 200, 64)

    Args:
        task: its parts hold samples of all classes to keep.
        seed: at least 0. Under one seed more noise keeps what less noise redrew, and so it is with samples kept.

    Raises:
        ValueError: a negative seed, a malformed task (`check_task`), or a variation that does not fit it: a class that
            it does not have or a part lacks, more samples than it has or fewer than classes, a shift that leaves
            nothing of an image, or a square that is larger.
    """
    if seed < 0:
        raise ValueError(f"`seed` must be at least 0, not {seed}")
    check_task(task)
    check_fits(variation.shift, variation.occlusion, task.train.images)
    parts = [task.train, task.validation, task.test]
    told, classes = [task.name], tuple(range(task.num_classes))
    if variation.classes is not None and variation.classes != classes:
        classes = variation.classes
        parts = [keep_classes(part, classes, task.num_classes) for part in parts]
        told.append("classes " + ",".join(map(str, classes)))
        for name, part in zip(("training", "validation", "test"), parts, strict=True):
            if not len(part.labels):
                raise ValueError(f"the {name} part of {task.name!r} has no sample of the classes {classes}")
    available = len(parts[0].labels)
    if variation.train_samples is not None and variation.train_samples != available:
        parts[0] = _keep_samples(parts[0], variation.train_samples, np.random.default_rng((_SAMPLES, seed)))
        told.append(f"{variation.train_samples} samples")
    if variation.label_noise:
        rng = np.random.default_rng((_NOISE, seed))
        parts[0] = _redraw_labels(parts[0], variation.label_noise, len(classes), rng)
        told.append(f"noise {variation.label_noise:.2g}")
    if variation.shift or variation.occlusion:
        background = background_of(parts[0].images)
        for index, part in enumerate(parts):
            images = part.images
            if variation.shift:
                rng = np.random.default_rng((_SHIFT, seed, index))
                images = shift_images(images, variation.shift, background, rng)
            if variation.occlusion:
                rng = np.random.default_rng((_OCCLUSION, seed, index))
                images = occlude_images(images, variation.occlusion, background, rng)
            parts[index] = part._replace(images=images)
        told += [f"{name} {size}" for name in ("shift", "occlusion") if (size := getattr(variation, name))]
    if parts[0].images is not task.train.images:
        parts = list(standardised(*parts))
    return VariedTask(", ".join(told), len(classes), *parts)


def check_fits(shift: int, occlusion: int, images: Images) -> None:
    """That images can be shifted so far, and so large a square of them hidden.

    Raises:
        ValueError: a shift that leaves nothing of an image, or a square that is larger than it.
    """
    height, width = images.shape[2:]
    if shift >= min(height, width):
        raise ValueError(f"a shift by {shift} pixels leaves nothing of images of {height} x {width}")
    if occlusion > min(height, width):
        raise ValueError(
            f"a square of {occlusion} x {occlusion} pixels does not fit images of {height} x {width}"
        )


def keep_classes(part: Split, classes: Sequence[int], num_classes: int) -> Split:
    """The samples of these classes, in their order, labelled by the places of the classes.

    Args:
        classes: distinct labels.
        num_classes: of `part`.

    Raises:
        ValueError: a class that `part` cannot have.
    """
    if any(label not in range(num_classes) for label in classes):
        raise ValueError(f"`classes` must be from 0 to {num_classes - 1}, not {tuple(classes)}")
    places = torch.full((num_classes,), -1)
    places[list(classes)] = torch.arange(len(classes))
    labels = places[part.labels]
    kept = labels >= 0
    return Split(part.images[kept], labels[kept])


def _keep_samples(part: Split, count: int, rng: np.random.Generator) -> Split:
    """That many samples in their order: one of each class, the others whichever are drawn."""
    available = len(part.labels)
    order = rng.permutation(available)
    _, first = np.unique(part.labels.numpy()[order], return_index=True)
    if not len(first) <= count <= available:
        raise ValueError(
            f"`train_samples` must be from {len(first)} (classes) to {available} (samples there are), not {count}"
        )
    kept = np.concatenate([order[first], np.delete(order, first)])[:count]
    rows = torch.from_numpy(np.sort(kept))
    return Split(part.images[rows], part.labels[rows])


def _redraw_labels(part: Split, noise: float, num_classes: int, rng: np.random.Generator) -> Split:
    picked = torch.from_numpy(rng.random(len(part.labels)) < noise)
    drawn = torch.from_numpy(rng.integers(num_classes, size=len(part.labels)))
    return part._replace(labels=torch.where(picked, drawn, part.labels))


def background_of(images: Images) -> Background:
    """The median of the outermost pixels of all images, channel by channel."""
    inner = torch.zeros(images.shape[2:], dtype=torch.bool)
    inner[1:-1, 1:-1] = True
    return images[:, :, ~inner].transpose(0, 1).flatten(1).median(1).values[:, None, None]


def shift_images(images: Images, most: int, background: Background, rng: np.random.Generator) -> Images:
    """Each image moved by -`most` to `most` pixels down and to the right, all as likely; the rest is filled."""
    samples, _, height, width = images.shape
    down, right = torch.from_numpy(rng.integers(-most, most + 1, size=(2, samples, 1)))
    rows, columns = torch.arange(height) - down, torch.arange(width) - right  # where a pixel came from
    inside = _within(rows, height)[:, :, None] & _within(columns, width)[:, None]
    rows, columns = rows.clamp(0, height - 1)[:, :, None], columns.clamp(0, width - 1)[:, None]
    moved = images.movedim(1, -1)[torch.arange(samples)[:, None, None], rows, columns].movedim(-1, 1)
    return torch.where(inside[:, None], moved, background).contiguous()


def occlude_images(images: Images, side: int, background: Background, rng: np.random.Generator) -> Images:
    """Each image with a square of `side` x `side` pixels filled, at any place where it fits, all as likely."""
    samples, _, height, width = images.shape
    top, left = (
        torch.from_numpy(rng.integers(size - side + 1, size=(samples, 1))) for size in (height, width)
    )
    rows, columns = torch.arange(height) - top, torch.arange(width) - left  # places within the square
    hidden = _within(rows, side)[:, :, None] & _within(columns, side)[:, None]
    return torch.where(hidden[:, None], background, images)


def _within(places: Int[Tensor, "*shape"], end: int) -> Bool[Tensor, "*shape"]:
    return (places >= 0) & (places < end)
