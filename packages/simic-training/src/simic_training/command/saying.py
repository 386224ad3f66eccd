"""Plain text on a console: what rich would colour, wrap or read as markup is left as it is."""

import shlex
from pathlib import Path

from rich.console import Console


def say(console: Console, line: str) -> None:
    """Print a line whole, whatever is in it and however wide the console is."""
    console.print(line, soft_wrap=True, markup=False, highlight=False)


def quoted(path: Path) -> str:
    """A path as it must be typed."""
    return shlex.quote(str(path))
