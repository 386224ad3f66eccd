"""The parts of a data set from an .npz file, by the names of its arrays."""

import zipfile
import zlib
from pathlib import Path

from numpy.lib.npyio import NpzFile

from kasmina_hosts.array_checks import Source

_NPZ_PARTS = {"validation": ("x_val", "y_val"), "test": ("x_test", "y_test")}


def read_npz(path: str | Path) -> dict[str, Source]:
    """The parts that a file has; always "train", perhaps "validation" and "test".

    Raises:
        FileNotFoundError: no such file.
        ValueError: another kind of file, a damaged one, or arrays that are missing or pickled.
    """
    # What zipfile and numpy raise, found by altering every byte of a file and forging headers.
    damage = (
        ValueError,
        EOFError,
        OSError,
        NotImplementedError,
        RuntimeError,
        MemoryError,
        TypeError,
        zipfile.BadZipFile,
        zlib.error,
    )
    with Path(path).open("rb") as raw:
        if not zipfile.is_zipfile(raw):
            raise ValueError(f"{path} is not an .npz file, which is a zip archive of arrays")
        try:
            file = NpzFile(raw, allow_pickle=False)
        except damage as error:
            raise ValueError(f"{path} is not an .npz file: {error}") from error
        names = _npz_names(file.files, path)
        arrays = {}
        for name in (name for pair in names.values() for name in pair):
            try:
                arrays[name] = file[name]
            except damage as error:
                raise ValueError(f"array {name} of {path} cannot be read: {error}") from error
    return {
        part: Source(arrays[x], arrays[y], f"{x} of {path}", f"{y} of {path}")
        for part, (x, y) in names.items()
    }


def _npz_names(found: list[str], path: str | Path) -> dict[str, tuple[str, str]]:
    """Which arrays make which part."""
    train = [pair for pair in (("x", "y"), ("x_train", "y_train")) if {*pair} & {*found}]
    if len(train) != 1:
        has = ", ".join(found) or "none"
        raise ValueError(f"{path} has the arrays {has}; expected either x and y or x_train and y_train")
    names = {"train": train[0]} | {part: pair for part, pair in _NPZ_PARTS.items() if {*pair} & {*found}}
    for x, y in names.values():
        if not {x, y} <= {*found}:
            raise ValueError(f"{path} has the arrays {', '.join(found)}; expected {x} and {y} together")
    return names
