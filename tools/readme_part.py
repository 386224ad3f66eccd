"""The part of a README that a tool writes, between two marks."""

from typing import NamedTuple


class ReadmePart(NamedTuple):
    """Which part.

    Args:
        source: the committed file or folder that it is made from. tool: the file in tools that makes it.
    """

    source: str
    tool: str

    @property
    def begin(self) -> str:
        """The mark before it."""
        return f"<!-- table of {self.source}, written by tools/{self.tool} -->"

    @property
    def end(self) -> str:
        """The mark after it."""
        return "<!-- end of table -->"

    def insert(self, text: str, part: str) -> str:
        """The README with this part replaced.

        Raises:
            ValueError: it has no such marks.
        """
        head, begin, rest = text.partition(self.begin)
        _, end, tail = rest.partition(self.end)
        if not (begin and end):
            raise ValueError(f"the README has no lines {self.begin!r} and {self.end!r}")
        return f"{head}{self.begin}\n\n{part}\n\n{self.end}{tail}"
