"""Real data that scikit-learn carries in its package, and that no policy of ours was trained on."""

from functools import cache

import numpy as np
from numpy import typing as npt

from kasmina_hosts import ArrayTask


@cache
def breast_cancer() -> ArrayTask:
    """Is a tumour malignant? 569 cases, 30 measurements of cell nuclei as images of 5 x 6 pixels.

    W. Wolberg et al., Breast Cancer Wisconsin (Diagnostic), https://doi.org/10.24432/C5DW2B. Each measurement is
    standardised over all cases, test part included, which helps every controller alike.
    """
    from sklearn.datasets import load_breast_cancer  # takes seconds to import

    measured, labels = load_breast_cancer(return_X_y=True)
    pixels = (measured - measured.mean(0)) / measured.std(0)
    return ArrayTask(pixels.reshape(-1, 1, 5, 6), labels, name="breast cancer")


@cache
def photographs() -> ArrayTask:
    """From which of two photographs is a patch? A temple or a flower, 8 x 8 grey pixels, 2080 patches.

    The sample images of scikit-learn (china.jpg, flower.jpg) are cut into squares of 16 x 16 pixels that do not
    overlap, each is averaged to 8 x 8.
    """
    from sklearn.datasets import load_sample_images

    patches = [_patches(image) for image in load_sample_images().images]
    labels = np.concatenate([np.full(len(each), label) for label, each in enumerate(patches)])
    return ArrayTask(np.concatenate(patches), labels, name="photographs")


def _patches(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """[patch, 8, 8] of [row, column, colour]."""
    grey: npt.NDArray[np.float64] = image.mean(-1)
    rows, columns = grey.shape[0] // 16, grey.shape[1] // 16
    squares = grey[: rows * 16, : columns * 16].reshape(rows, 8, 2, columns, 8, 2)
    averaged: npt.NDArray[np.float64] = squares.mean((2, 5))  # [row, 8, column, 8]
    return averaged.swapaxes(1, 2).reshape(-1, 8, 8)
