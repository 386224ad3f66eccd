"""What hosts are trained on."""

from typing import NamedTuple, final

import numpy as np
import torch
from jaxtyping import Float, Int
from sklearn.datasets import load_digits
from torch import Tensor


class Split(NamedTuple):
    """Part of a data set: images standardised over the training part, and their labels."""

    images: Float[Tensor, "sample channel height width"]
    labels: Int[Tensor, " sample"]


TRAIN_SAMPLES, VALIDATION_SAMPLES = 1152, 322
_SPLIT_SEED = 20_240_601


@final
class DigitsTask:
    """Handwritten digits, 8 x 8, ten classes: the real data that scikit-learn carries in its package.

    E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository,
    https://doi.org/10.24432/C50P49 (test part). Shuffled once with a fixed seed and cut into 1152 samples to train on,
    322 to validate on and 323 to test on.
    """

    name = "digits"
    num_classes = 10

    def __init__(self) -> None:
        images, labels = load_digits(return_X_y=True)
        order = np.random.default_rng(_SPLIT_SEED).permutation(len(labels))
        pixels = torch.from_numpy(images[order]).float().reshape(-1, 1, 8, 8)
        classes = torch.from_numpy(labels[order]).long()
        known = pixels[:TRAIN_SAMPLES]
        pixels = (pixels - known.mean()) / known.std()
        held_out = TRAIN_SAMPLES + VALIDATION_SAMPLES
        self.train = Split(pixels[:TRAIN_SAMPLES], classes[:TRAIN_SAMPLES])
        self.validation = Split(pixels[TRAIN_SAMPLES:held_out], classes[TRAIN_SAMPLES:held_out])
        self.test = Split(pixels[held_out:], classes[held_out:])
