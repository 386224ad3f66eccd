"""What hosts are trained on."""

from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor


class Split(NamedTuple):
    """Part of a data set: images standardised over the training part, and their labels."""

    images: Float[Tensor, "sample channel height width"]
    labels: Int[Tensor, " sample"]


@runtime_checkable
class Task(Protocol):
    """Data to learn a classification from.

    Labels are 0 to `num_classes` - 1, at least two classes. Hosts are trained on `train` and measured on `validation`;
    only reports look at `test`.
    """

    @property
    def name(self) -> str:
        """Free text for reports."""
        ...

    @property
    def num_classes(self) -> int:
        """Classes of the labels; at least 2."""
        ...

    @property
    def train(self) -> Split:
        """What hosts are trained on."""
        ...

    @property
    def validation(self) -> Split:
        """What hosts are measured on while they train."""
        ...

    @property
    def test(self) -> Split:
        """What is kept for reports."""
        ...


def data_digest(parts: Sequence[Split], num_classes: int) -> str:
    """What data are, in one line that other data do not have: amount, shape, classes and SHA-256 of the content.

    Taken before anything is shuffled, cut or standardised: those round differently on different processors.

    >>> data_digest([Split(torch.zeros(5, 1, 8, 8), torch.arange(5))], 5)
    '5 samples of 1x8x8, 5 classes, sha256 8e8df7e8cd7f1ed0'

    Args:
        parts: one or more, of images of one shape; in which of them a sample is matters.
        num_classes: of the labels.
    """
    total = sha256()
    for images, labels in parts:
        total.update(repr((tuple(images.shape), num_classes)).encode())
        for tensor in (images, labels):
            total.update(tensor.contiguous().numpy().data)
    shape = "x".join(map(str, parts[0].images.shape[1:]))
    samples = sum(len(part.labels) for part in parts)
    return f"{samples} samples of {shape}, {num_classes} classes, sha256 {total.hexdigest()[:16]}"


def standardised(
    train: Split, validation: Split, test: Split, *, in_place: bool = False
) -> tuple[Split, Split, Split]:
    """Shift and scale images so that every channel of the training part has mean 0 and standard deviation 1.

    Validation and test part are shifted and scaled alike. A channel that is constant in training is only shifted.

    Args:
        train, validation, test: the parts.
        in_place: whether the images may be written to, which spares a copy of all of them.
    """
    channels = train.images.unbind(1)
    mean = torch.stack([channel.mean() for channel in channels])[:, None, None]
    scale = torch.stack([_scale(channel) for channel in channels])[:, None, None]
    train, validation, test = (
        part._replace(images=(part.images.sub_(mean) if in_place else part.images - mean).div_(scale))
        for part in (train, validation, test)
    )
    return train, validation, test


def _scale(channel: Float[Tensor, "sample height width"]) -> Float[Tensor, ""]:
    # Told by its range, since rounding of the mean can give a constant channel a tiny deviation.
    if channel.min() == channel.max():
        return torch.ones(())
    deviation = channel.std()
    # Below that float32 holds it with few bits or none.
    return deviation if deviation > torch.finfo(deviation.dtype).tiny else torch.ones(())


def check_task(task: Task) -> None:
    """That a task has two classes at least, and that its parts are as `Split` says and fit each other.

    Raises:
        ValueError: it names the part, what it holds and what was expected.
    """
    if task.num_classes < 2:
        raise ValueError(f"the task has `num_classes` {task.num_classes}, expected at least 2")
    for name in ("train", "validation", "test"):
        images, labels = getattr(task, name)
        if images.dim() != 4 or images.shape[1:] != task.train.images.shape[1:] or len(images) == 0:
            raise ValueError(
                f"images of the task's {name} part have shape {tuple(images.shape)}, expected [N, C, H, W] with at "
                f"least one sample, of the same [C, H, W] in every part"
            )
        if labels.shape != (len(images),) or labels.dtype != torch.int64:
            raise ValueError(
                f"labels of the task's {name} part are {labels.dtype} of shape {tuple(labels.shape)}, expected "
                f"torch.int64 of ({len(images)},)"
            )
        if labels.min() < 0 or labels.max() >= task.num_classes:
            raise ValueError(
                f"labels of the task's {name} part lie in {int(labels.min())} to {int(labels.max())}, expected 0 to "
                f"{task.num_classes - 1}"
            )
