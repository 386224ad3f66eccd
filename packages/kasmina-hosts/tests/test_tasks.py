"""The digits: real, split once, standardised by the training part."""

import torch

from kasmina_hosts import DigitsTask


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
