"""What a user's arrays must be like, and words for those that are not."""

from collections.abc import Sequence
from itertools import count, islice
from math import prod
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, Int
from torch import Tensor

from kasmina_hosts.tasks import Split

Values: TypeAlias = npt.ArrayLike | Tensor
"""A numpy array, a tensor of any device, or nested lists."""

_REAL, _INTEGERS = "biuf", "biu"  # numpy's letters for kinds of dtype
_CHANNELS = (1, 3, 4)  # of grey, colour and colour with transparency


class Source(NamedTuple):
    """Images and labels of a part, and what messages call them."""

    x: Values
    y: Values
    x_name: str
    y_name: str


def bytes_once_checked(shape: Sequence[int], dtype: npt.DTypeLike) -> int:
    """What an array of a file takes, as it is or as what is made of it: labels, of one axis, int64, images float32."""
    return prod(shape) * max(np.dtype(dtype).itemsize, 8 if len(shape) == 1 else 4)


def checked_images(values: Values, name: str) -> Float[Tensor, "sample channel height width"]:
    """The images as float32, with a channel axis; of an array of float32 the same memory.

    Args:
        values: [N, H, W] or [N, C, H, W] real numbers.
        name: what messages call them.

    Raises:
        ValueError: not real numbers, another shape, no samples, or not finite in float32.
    """
    array = _as_array(values, name)
    if array.dtype.kind not in _REAL:
        raise ValueError(f"{name} has dtype {array.dtype}, expected real numbers (bool, integers or floats)")
    shape = array.shape
    if len(shape) not in (3, 4) or 0 in shape:
        raise ValueError(
            f"{name} has shape {shape}, expected [N, H, W] or [N, C, H, W] with every axis at least 1"
        )
    # Square images may have 4 columns, or 3, and any number of channels.
    if len(shape) == 4 and shape[3] in _CHANNELS and shape[1] not in _CHANNELS and shape[2] != shape[3]:
        raise ValueError(
            f"{name} has shape {shape}, expected [N, C, H, W]: this looks like [N, H, W, C]; "
            "move the channels, as in numpy.moveaxis(x, -1, 1)"
        )
    with np.errstate(over="ignore"):  # what does not fit becomes infinite, and is refused below
        # Of an array that may not be written to torch makes no tensor without a warning.
        images = torch.from_numpy(array.astype(np.float32, order="C", copy=not array.flags.writeable))
    if not all_finite(images):
        finite = np.isfinite(images.numpy())
        first = int(finite.argmin()) // finite[0].size
        raise ValueError(
            f"{name} has {finite.size - np.count_nonzero(finite)} values that are NaN or infinite in float32, the "
            f"first in sample {first}"
        )
    return images[:, None] if len(shape) == 3 else images


def all_finite(images: Float[Tensor, "sample *shape"]) -> bool:
    """Whether no value is NaN or infinite: told by the least and the greatest, as `isfinite` copies its input."""
    lowest, highest = images.aminmax()  # of which NaN is both
    return bool(lowest.isfinite() & highest.isfinite())


def checked_labels(values: Values, name: str, num_classes: int | None) -> Int[Tensor, " sample"]:
    """The labels as int64.

    Args:
        values: [N] integers.
        name: what messages call them.
        num_classes: labels are below it; None sets no bound.

    Raises:
        ValueError: not integers, another shape, no samples, or labels out of range.
    """
    array = _as_array(values, name)
    if array.ndim != 1 or not len(array):
        raise ValueError(f"{name} has shape {array.shape}, expected [N] with one label for each sample")
    if array.dtype.kind not in _INTEGERS:
        hint = "; convert them, as in y.astype(int)" if array.dtype.kind == "f" else ""
        raise ValueError(f"{name} has dtype {array.dtype}, expected integers{hint}")
    top = np.iinfo(np.int64).max if num_classes is None else num_classes
    wrong = np.flatnonzero((array < 0) | (array >= top))
    if len(wrong):
        expected = "at least 0" if array[wrong[0]] < 0 else f"below {top}"
        raise ValueError(f"{name} has label {array[wrong[0]]} at index {wrong[0]}, expected {expected}")
    return torch.from_numpy(array.astype(np.int64))


def checked_part(source: Source, num_classes: int | None) -> Split:
    """Images and labels, not standardised yet.

    Args:
        source: x and y as for `checked_images` and `checked_labels`.
        num_classes: labels are below it; None sets no bound.

    Raises:
        ValueError: as of those two; or there are more of one than of the other.
    """
    x, y, x_name, y_name = source
    images, labels = checked_images(x, x_name), checked_labels(y, y_name, num_classes)
    if len(images) != len(labels):
        raise ValueError(f"{x_name} has {len(images)} samples but {y_name} has {len(labels)} labels")
    return Split(images, labels)


def check_every_class(labels: Int[Tensor, " sample"], name: str, num_classes: int) -> None:
    """See that every class has a sample in training.

    Raises:
        ValueError: some have none.
    """
    present = set(labels.unique().tolist())
    missing = num_classes - len(present)
    if missing:
        # No list of all of them: one label of a billion leaves as many classes empty.
        first = islice((label for label in count() if label not in present), min(missing, 5))
        named = ", ".join(map(str, first)) + (", ..." if missing > 5 else "")
        raise ValueError(
            f"{name} gives the training part no sample of {missing} of its {num_classes} classes ({named}); "
            "labels must run from 0 without gaps, and a rare class may need smaller fractions or another seed"
        )


def checked_sizes(samples: int, name: str, fractions: dict[str, float]) -> list[int]:
    """How many of the samples go to each part that is cut off.

    Raises:
        ValueError: fractions out of range, or a part without a sample.
    """
    for part, fraction in fractions.items():
        if not 0 < fraction < 1:
            raise ValueError(f"`{part}` must be a fraction above 0 and below 1, not {fraction}")
    if sum(fractions.values()) >= 1:
        total = " + ".join(f"`{part}` {fraction}" for part, fraction in fractions.items())
        raise ValueError(f"{total} leaves nothing to train on, expected a sum below 1")
    sizes = {part: round(samples * fraction) for part, fraction in fractions.items()}
    cut = {"train": samples - sum(sizes.values())} | sizes
    if min(cut.values()) < 1:
        found = ", ".join(f"{size} for {part}" for part, size in cut.items())
        raise ValueError(f"{name} has {samples} samples, too few: {found}; every part needs at least 1")
    return list(sizes.values())


def _as_array(values: Values, name: str) -> npt.NDArray[Any]:
    try:
        if not isinstance(values, Tensor):
            return np.asarray(values)
        # numpy knows no bfloat16 and none of the shorter floats.
        short = values.is_floating_point() and values.dtype != torch.float64
        return (values.float() if short else values).numpy(force=True)
    except (ValueError, TypeError, RuntimeError) as error:  # lists that differ in length, sparse tensors
        raise ValueError(f"{name} does not make a dense array: {error}") from error
