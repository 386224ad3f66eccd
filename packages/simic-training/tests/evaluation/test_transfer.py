"""Settings that no policy was trained in."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from made_up import TINY
from numpy import typing as npt

from kasmina_hosts import DigitsFamily, Task
from simic_training.evaluation.hosts import kind_of
from simic_training.evaluation.transfer import outside, transfer_settings
from simic_training.evaluation.unseen_data import breast_cancer, photographs
from simic_training.growth.config import GrowthConfig


def test_outside_the_default_family() -> None:
    assert outside(DigitsFamily()) == DigitsFamily(
        class_counts=(3, 4, 7, 8), widths=(5, 8), label_noises=(0.25,), learning_rates=(0.15,)
    )


def test_what_is_trained_on_is_not_outside() -> None:
    family = DigitsFamily(class_counts=(3, 10), widths=(5, 8), label_noises=(0.25,), learning_rates=(0.15,))
    moved = outside(family)
    assert moved.class_counts == (4, 7, 8)
    assert moved.widths == (5, 8)  # there are no others to take
    assert moved.label_noises == (0.75,)
    assert moved.learning_rates == (0.3,)


def test_settings_of_the_default_family() -> None:
    settings = list(transfer_settings(GrowthConfig(), 2, 0, []))
    assert [setting.title for setting in settings] == [
        "Unseen length: 15 epochs",
        "Unseen length: 40 epochs",
        "Unseen tasks and hosts",
        "Unseen data: breast cancer",
        "Unseen data: photographs",
    ]
    shorter, longer, moved, *_ = settings
    assert {group.config.max_epochs for group in shorter.groups} == {15}
    assert {group.config.max_epochs for group in longer.groups} == {40}
    assert {kind_of(group.task) for group in moved.groups} == {
        f"{count} classes, noise 0.25" for count in (3, 4, 7, 8)
    }
    assert {(group.config.width, group.config.learning_rate) for group in moved.groups} == {
        (5, 0.15),
        (8, 0.15),
    }
    for setting in settings:
        assert sum(len(group.host_seeds) for group in setting.groups) >= 16


def test_own_files(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    np.savez(path, x=np.random.default_rng(0).normal(size=(60, 6, 6)), y=np.arange(60) % 3)
    *_, mine = transfer_settings(TINY, 8, 0, [path])
    assert mine.title == "Unseen data: mine"
    assert mine.note.startswith("36 samples to train on, of 3 classes")
    with pytest.raises(FileNotFoundError):
        list(transfer_settings(TINY, 8, 0, [tmp_path / "none.npz"]))


def test_data_of_one_name_are_refused(tmp_path: Path) -> None:
    """Their tables could not be told apart."""
    paths = [tmp_path / folder / "mine.npz" for folder in ("a", "b")]
    for path in paths:
        path.parent.mkdir()
        np.savez(path, x=np.random.default_rng(0).normal(size=(60, 6, 6)), y=np.arange(60) % 3)
    with pytest.raises(
        ValueError, match=f"there are other data called 'mine' beside those of {paths[0]}: rename"
    ):
        list(transfer_settings(TINY, 8, 0, paths))
    shipped = paths[0].with_name("photographs.npz")
    paths[0].rename(shipped)
    with pytest.raises(ValueError, match="other data called 'photographs'"):
        list(transfer_settings(TINY, 8, 0, [shipped]))


def test_trained_on_own_data(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    np.savez(path, x=np.random.default_rng(0).normal(size=(60, 6, 6)), y=np.arange(60) % 3)
    moved = list(transfer_settings(replace(TINY, data=str(path)), 8, 0, []))[2]
    assert moved.title == "Unseen hosts"
    assert moved.note == "What the family of training does not draw: widths 5, 8, learning rate 0.15."


@pytest.mark.parametrize(
    ("task", "shape", "samples"), [(breast_cancer(), (1, 5, 6), 569), (photographs(), (1, 8, 8), 2080)]
)
def test_unseen_data(task: Task, shape: tuple[int, ...], samples: int) -> None:
    parts = (task.train, task.validation, task.test)
    assert sum(len(part.labels) for part in parts) == samples
    assert all(part.images.shape[1:] == shape and part.images.isfinite().all() for part in parts)
    assert task.num_classes == 2
    assert 0.3 < task.train.labels.float().mean() < 0.7


@cache
def first_photograph() -> npt.NDArray[np.uint8]:
    from sklearn.datasets import load_sample_images

    image: npt.NDArray[np.uint8] = load_sample_images().images[0]
    return image


def test_patches_are_means_of_the_photograph() -> None:
    task = photographs()
    grey = first_photograph().mean(-1)
    patch = torch.tensor(
        [
            [grey[row : row + 2, column : column + 2].mean() for column in range(16, 32, 2)]
            for row in range(0, 16, 2)
        ]
    )
    patch = (patch - patch.mean()) / patch.std()
    images = torch.cat([part.images for part in (task.train, task.validation, task.test)])[:, 0].double()
    images = (images - images.mean((1, 2), keepdim=True)) / images.std((1, 2), keepdim=True).clamp_min(1e-6)
    assert (images - patch).abs().amax((1, 2)).min() < 1e-3
