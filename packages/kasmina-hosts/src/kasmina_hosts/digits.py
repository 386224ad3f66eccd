"""Handwritten digits: all ten or a few of them, with labels as they are or with noise in training."""

from collections.abc import Sequence
from functools import cache
from typing import Final, final

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from kasmina_hosts.tasks import Split, data_digest, standardised

TRAIN_SAMPLES, VALIDATION_SAMPLES = 1152, 322
DIGITS = 10
_SPLIT_SEED = 20_240_601


@final
class DigitsTask:
    """Handwritten digits, 8 x 8, one channel: the real data that scikit-learn carries in its package.

    E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository,
    https://doi.org/10.24432/C50P49 (test part). Shuffled once with a fixed seed and cut into 1152 samples to train on,
    322 to validate on and 323 to test on. A task of fewer classes keeps of each part what belongs to them.

    Args:
        classes: distinct digits, two at least; the label of a digit is its place in this order. None takes all ten.
        label_noise: chance of each training label to be redrawn uniformly over the classes (the old one included),
            in [0, 1]; validation and test labels stay true. Under one seed more noise keeps what less noise redrew.
        seed: of the noise, at least 0.

    Raises:
        ValueError: an argument outside its range.
    """

    def __init__(
        self, classes: Sequence[int] | None = None, *, label_noise: float = 0.0, seed: int = 0
    ) -> None:
        chosen = tuple(range(DIGITS)) if classes is None else tuple(classes)
        if any(digit not in range(DIGITS) for digit in chosen):
            raise ValueError(f"`classes` must be digits from 0 to {DIGITS - 1}, not {chosen}")
        if len(chosen) < 2 or len(set(chosen)) < len(chosen):
            raise ValueError(f"`classes` must be at least 2 distinct digits, not {chosen}")
        if not 0 <= label_noise <= 1:
            raise ValueError(f"`label_noise` must be in [0, 1], not {label_noise}")
        if seed < 0:
            raise ValueError(f"`seed` must be at least 0, not {seed}")
        kept = [_keep(part, chosen) for part in _parts()]
        train, self.validation, self.test = standardised(*kept)
        self.train: Final = train._replace(labels=_redrawn(train.labels, label_noise, len(chosen), seed))
        self.num_classes: Final = len(chosen)
        variant = "" if chosen == tuple(range(DIGITS)) else " classes " + ",".join(map(str, chosen))
        self.name: Final = f"digits{variant}" + (f" noise {label_noise}" if label_noise else "")


@cache
def digits_digest() -> str:
    """The `data_digest` of all digits, which every `DigitsTask` is made of."""
    return data_digest(_parts(), DIGITS)


@cache
def _parts() -> tuple[Split, Split, Split]:
    """Train, validation and test of all digits, pixels 0 to 16; shared, so not to be written to."""
    from sklearn.datasets import load_digits  # takes seconds to import

    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(_SPLIT_SEED).permutation(len(labels))
    pixels = torch.from_numpy(images[order]).float().reshape(-1, 1, 8, 8)
    classes = torch.from_numpy(labels[order]).long()
    held_out = TRAIN_SAMPLES + VALIDATION_SAMPLES
    ranges = (slice(TRAIN_SAMPLES), slice(TRAIN_SAMPLES, held_out), slice(held_out, None))
    train, validation, test = (Split(pixels[part], classes[part]) for part in ranges)
    return train, validation, test


def _keep(part: Split, classes: tuple[int, ...]) -> Split:
    """The samples of these classes, labelled by the places of the classes."""
    places = torch.full((DIGITS,), -1)
    places[list(classes)] = torch.arange(len(classes))
    labels = places[part.labels]
    kept = labels >= 0
    return Split(part.images[kept], labels[kept])


def _redrawn(
    labels: Int[Tensor, " sample"], noise: float, num_classes: int, seed: int
) -> Int[Tensor, " sample"]:
    rng = np.random.default_rng(seed)
    picked = torch.from_numpy(rng.random(len(labels)) < noise)
    drawn = torch.from_numpy(rng.integers(num_classes, size=len(labels)))
    return torch.where(picked, drawn, labels)
