"""A run from left to right: its updates, joined in buckets where there are more of them than a chart can show."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from simic_training.report.charts import Places
from simic_training.report.drawing import Mark
from simic_training.report.records import Update
from simic_training.report.scales import Number, buckets, mean_of

MOST_PLACES: Final = 150
"""Of a chart: two pixels each at the width of a phone."""


@dataclass(frozen=True, slots=True)
class Course:
    """Updates in order, in buckets.

    Args:
        updates: all of them.
        parts: indices of the updates in each bucket.
    """

    updates: Sequence[Update]
    parts: Sequence[range]

    @classmethod
    def of(cls, updates: Sequence[Update], *, most: int = MOST_PLACES) -> "Course":
        """The updates in at most `most` buckets."""
        return cls(updates, buckets(len(updates), most))

    @property
    def joined(self) -> int:
        """The most updates that a bucket joins; 0 before the first update."""
        return max(map(len, self.parts), default=0)

    @property
    def places(self) -> Places:
        """The buckets by the episodes that they span."""
        edges = [self._started(part[0]) for part in self.parts]
        if self.parts:
            edges.append(self.updates[self.parts[-1][-1]].episodes)
        return Places(label="episodes", edges=edges, names=[self._name(part) for part in self.parts])

    def mean(self, value: Callable[[Update], Number]) -> list[Number]:
        """By bucket, the mean of what there is."""
        values = [value(update) for update in self.updates]
        return [mean_of(values, part) for part in self.parts]

    def total(self, value: Callable[[Update], float]) -> list[float]:
        """By bucket, the sum."""
        return [sum(value(self.updates[index]) for index in part) for part in self.parts]

    @property
    def has_trend(self) -> bool:
        """Whether there are so many buckets that a tenth of them is more than one."""
        return len(self.parts) >= 20

    def running_mean(self, values: Sequence[Number]) -> list[Number]:
        """By bucket, the mean over the tenth of the run around it, as far as there is one."""
        half = len(values) // 20
        return [
            mean_of(values, range(max(0, index - half), min(len(values), index + half + 1)))
            for index in range(len(values))
        ]

    def curriculum(self) -> list[Mark]:
        """When ops that were held back became legal, and when others were held back."""
        marks = []
        for before, after in pairwise(self.updates):
            opened = [op for op in before.held_back if op not in after.held_back]
            closed = [op for op in after.held_back if op not in before.held_back]
            words = [f"{op} opens" for op in opened] + [f"{op} held back" for op in closed]
            if words:
                marks.append(Mark(before.episodes, ", ".join(words)))
        return marks

    def _started(self, index: int) -> float:
        return self.updates[index - 1].episodes if index else 0

    def _name(self, part: range) -> str:
        first, last = self.updates[part[0]], self.updates[part[-1]]
        span = f"episodes {self._started(part[0]) + 1:.0f} to {last.episodes}"
        which = (
            f"update {first.update}" if len(part) == 1 else f"mean of updates {first.update} to {last.update}"
        )
        return f"{span} ({which})"
