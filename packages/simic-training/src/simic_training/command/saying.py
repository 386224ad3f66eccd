"""Plain text on a console: what rich would colour, wrap or read as markup is left as it is."""

import shlex
from pathlib import Path

from rich.console import Console

from simic_training.growth.draws import HostGroup


def say(console: Console, line: str) -> None:
    """Print a line whole, whatever is in it and however wide the console is."""
    console.print(line, soft_wrap=True, markup=False, highlight=False)


def in_words(group: HostGroup) -> str:
    """What tells a group of hosts apart: "task digits, classes 2,9; lack kernels; width 6; ...; prices 0.12, 0.7"."""
    told = group.describe()
    told["prices"] = ", ".join(f"{price:.3g}" for price in dict.fromkeys(group.prices))
    return "; ".join(f"{name} {value}" for name, value in told.items())


def quoted(path: Path) -> str:
    """A path as it must be typed."""
    return shlex.quote(str(path))
