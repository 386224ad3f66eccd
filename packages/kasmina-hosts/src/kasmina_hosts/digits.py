"""Handwritten digits: all ten, or a few of them."""

from collections.abc import Sequence
from functools import cache
from typing import Final, final

import numpy as np
import torch

from kasmina_hosts.tasks import Split, data_digest, standardised
from kasmina_hosts.variation import keep_classes

TRAIN_SAMPLES, VALIDATION_SAMPLES = 1152, 322
DIGITS = 10
_SPLIT_SEED = 20_240_601


@final
class DigitsTask:
    """Handwritten digits, 8 x 8, one channel: the real data that scikit-learn carries in its package.

    E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository,
    https://doi.org/10.24432/C50P49 (test part). Shuffled once with a fixed seed and cut into 1152 samples to train on,
    322 to validate on and 323 to test on. A task of fewer classes keeps of each part what belongs to them;
    `variation.vary` makes it harder.

    Args:
        classes: distinct digits, two at least; the label of a digit is its place in this order. None takes all ten.

    Raises:
        ValueError: they are not.
    """

    def __init__(self, classes: Sequence[int] | None = None) -> None:
        chosen = tuple(range(DIGITS)) if classes is None else tuple(classes)
        if any(digit not in range(DIGITS) for digit in chosen):
            raise ValueError(f"`classes` must be digits from 0 to {DIGITS - 1}, not {chosen}")
        if len(chosen) < 2 or len(set(chosen)) < len(chosen):
            raise ValueError(f"`classes` must be at least 2 distinct digits, not {chosen}")
        kept = (keep_classes(part, chosen, DIGITS) for part in _parts())
        self.train, self.validation, self.test = standardised(*kept)
        self.num_classes: Final = len(chosen)
        whole = chosen == tuple(range(DIGITS))
        self.name: Final = "digits" if whole else "digits, classes " + ",".join(map(str, chosen))


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
