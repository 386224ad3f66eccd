"""A task of anybody's own data: arrays in memory, .npz and IDX files."""

from pathlib import Path
from typing import TypeAlias, final

import numpy as np
import torch

from kasmina_hosts.array_checks import (
    Source,
    Values,
    all_finite,
    check_every_class,
    checked_part,
    checked_sizes,
)
from kasmina_hosts.idx import read_idx
from kasmina_hosts.npz import read_npz
from kasmina_hosts.tasks import Split, data_digest, standardised
from leyline_types import MAX_FILE_BYTES, printable

Pair: TypeAlias = tuple[Values, Values]
"""Images and labels."""


@final
class ArrayTask:
    """Images and labels of one's own: shuffled once, cut into three parts, standardised over the training part.

    Args:
        x: [N, H, W] or [N, C, H, W] real numbers, as numpy array, tensor or nested lists; they become float32.
        y: [N] integers, 0 to `num_classes` - 1, each of them somewhere in the training part.
        name: free text for reports.
        num_classes: at least 2; None takes the highest label + 1.
        validation, test: fractions of the samples to cut off, rounded to whole samples, at least one each.
        seed: of the shuffle, at least 0.

    Raises:
        ValueError: an argument is not as described; the message names it, its value and what was expected.

    Attributes:
        digest: the `data_digest` of the samples as they were given.
    """

    name: str
    num_classes: int
    digest: str
    train: Split
    validation: Split
    test: Split

    def __init__(
        self,
        x: Values,
        y: Values,
        *,
        name: str = "arrays",
        num_classes: int | None = None,
        validation: float = 0.2,
        test: float = 0.2,
        seed: int = 0,
    ) -> None:
        self._fill(Source(x, y, "`x`", "`y`"), validation, test, name, num_classes, seed)

    @classmethod
    def from_parts(
        cls,
        train: Pair,
        *,
        validation: Pair | float = 0.2,
        test: Pair | float = 0.2,
        name: str = "arrays",
        num_classes: int | None = None,
        seed: int = 0,
    ) -> "ArrayTask":
        """A task of data that has some of its parts already.

        Args:
            train: (x, y).
            validation, test: (x, y), or the fraction of `train` to cut off.
            name, num_classes, seed: as of the class; only `train` is shuffled.

        Raises:
            ValueError: as of the class; or the images of two parts differ in shape.
        """
        task = cls.__new__(cls)
        task._fill(
            Source(*train, "`train[0]`", "`train[1]`"),
            _part_or_fraction(validation, "validation"),
            _part_or_fraction(test, "test"),
            name,
            num_classes,
            seed,
        )
        return task

    @classmethod
    def from_npz(
        cls,
        path: str | Path,
        *,
        name: str | None = None,
        num_classes: int | None = None,
        validation: float = 0.2,
        test: float = 0.2,
        seed: int = 0,
        max_bytes: int = MAX_FILE_BYTES,
    ) -> "ArrayTask":
        """A task of the arrays x and y of an .npz file, or x_train and y_train as in Keras's mnist.npz.

        Args:
            path: the file. x_val with y_val, and x_test with y_test, are parts of their own.
            name: None takes the file's, without its ending.
            validation, test: fractions to cut off; not looked at for a part that the file has.
            num_classes, seed: as of the class.
            max_bytes: the largest file, and the most bytes that its arrays may take together as float32 (images) and
                int64 (labels); what they declare is compared with it before they are read. While they are shuffled,
                twice as much is taken.

        Raises:
            OSError: the file is missing or cannot be read.
            ValueError: no regular file, another kind of file, a damaged one, one above `max_bytes`, arrays that are
                missing or pickled, or as of the class.
        """
        sources = read_npz(path, max_bytes=max_bytes)
        task = cls.__new__(cls)
        task._fill(
            sources["train"],
            sources.get("validation", validation),
            sources.get("test", test),
            Path(path).stem if name is None else name,
            num_classes,
            seed,
        )
        return task

    @classmethod
    def from_idx(
        cls,
        images: str | Path,
        labels: str | Path,
        *,
        test_images: str | Path | None = None,
        test_labels: str | Path | None = None,
        name: str | None = None,
        num_classes: int | None = None,
        validation: float = 0.2,
        test: float = 0.2,
        seed: int = 0,
        max_bytes: int = MAX_FILE_BYTES,
    ) -> "ArrayTask":
        """A task of a pair of IDX files, plain or in gzip, such as MNIST's.

        Args:
            images, labels: the files.
            test_images, test_labels: the files of a test part, both or neither.
            name: None takes that of the file of images, without its ending.
            validation, test: fractions to cut off; `test` is not looked at if there are files of a test part.
            num_classes, seed: as of the class.
            max_bytes: the largest that each of the files may be, and the array in it as float32 (images) or int64
                (labels). While they are shuffled, twice as much is taken.

        Raises:
            OSError: a file is missing or cannot be read.
            ValueError: one test file without the other, no regular file, not an IDX file, a damaged one, one above
                `max_bytes`, or as of the class.
        """
        if (test_images is None) != (test_labels is None):
            lone = "test_labels" if test_images is None else "test_images"
            raise ValueError(f"`{lone}` came alone, expected both `test_images` and `test_labels` or neither")
        held_out: Source | float = test
        if test_images is not None and test_labels is not None:
            held_out = _idx_source(test_images, test_labels, max_bytes)
        task = cls.__new__(cls)
        named = Path(images).stem if name is None else name
        source = _idx_source(images, labels, max_bytes)
        task._fill(source, validation, held_out, named, num_classes, seed)
        return task

    def _fill(
        self,
        train: Source,
        validation: Source | float,
        test: Source | float,
        name: str,
        num_classes: int | None,
        seed: int,
    ) -> None:
        if num_classes is not None and num_classes < 2:
            raise ValueError(f"`num_classes` must be at least 2, not {num_classes}")
        if seed < 0:
            raise ValueError(f"`seed` must be at least 0, not {seed}")
        known, fractions = {"train": checked_part(train, num_classes)}, {}
        for label, part in (("validation", validation), ("test", test)):
            if isinstance(part, Source):
                known[label] = checked_part(part, num_classes)
                shapes = [list(split.images.shape[1:]) for split in (known["train"], known[label])]
                if shapes[0] != shapes[1]:
                    raise ValueError(
                        f"{part.x_name} has images [C, H, W] of {shapes[1]} but {train.x_name} of {shapes[0]}"
                    )
            else:
                fractions[label] = part
        if num_classes is None:
            num_classes = 1 + max(int(part.labels.max()) for part in known.values())
            if num_classes < 2:
                raise ValueError(f"{train.y_name} has label 0 only, expected at least 2 classes")
        self.digest = data_digest(list(known.values()), num_classes)
        whole = known["train"]
        sizes = checked_sizes(len(whole.labels), train.x_name, fractions)
        order = torch.from_numpy(np.random.default_rng(seed).permutation(len(whole.labels)))
        pieces = order.split([len(order) - sum(sizes), *sizes])
        for label, piece in zip(("train", *fractions), pieces, strict=True):
            known[label] = Split(whole.images[piece], whole.labels[piece])
        check_every_class(known["train"].labels, train.y_name, num_classes)
        for label in known.keys() - {"train", *fractions}:  # which may be the caller's own memory
            known[label] = known[label]._replace(images=known[label].images.clone())
        splits = standardised(known["train"], known["validation"], known["test"], in_place=True)
        if not all(all_finite(part.images) for part in splits):
            raise ValueError(
                f"{train.x_name} has values too large or too far apart to be standardised in float32"
            )
        self.name, self.num_classes = name, num_classes
        self.train, self.validation, self.test = splits


def _part_or_fraction(part: Pair | float, name: str) -> Source | float:
    return part if isinstance(part, (int, float)) else Source(*part, f"`{name}[0]`", f"`{name}[1]`")


def _idx_source(images: str | Path, labels: str | Path, max_bytes: int) -> Source:
    x, y = (read_idx(path, max_bytes=max_bytes) for path in (images, labels))
    return Source(x, y, printable(images), printable(labels))
