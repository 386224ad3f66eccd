"""What can be wrong with an observation or a feature vector."""

from collections.abc import Sequence
from typing import Final


class ObservationError(ValueError):
    """Something about an observation that features cannot be made from."""


class ObservationShapeError(ObservationError):
    """Columns, lists, workspace or options that do not fit each other."""


class MissingSlotError(ObservationError):
    """Reports without an entry for a slot; an empty slot has the entry None."""


class UnknownSlotError(ObservationError):
    """Reports with an entry for a slot that the network does not have."""


class RepeatedSlotError(ObservationError):
    """Diagnostics that hold the same slot more than once."""


class MisplacedReportError(ObservationError):
    """A report that stands under another slot than its own."""


class UnknownBlueprintError(ObservationError):
    """A report of a seed whose blueprint does not exist."""


class InvalidStageError(ObservationError):
    """A report of a seed in a stage that is retired or does not exist."""


class InvalidChoiceError(ObservationError):
    """A value that is not one of its enum's, or a bit that is neither 0 nor 1."""


class WrongTypeError(ObservationError):
    """Something else where an object of the contracts, a number or a sequence is due."""


class MissingValueError(ObservationError):
    """None where a value is due; only what the contracts mark as optional may be unmeasured."""


class NonFiniteValueError(ObservationError):
    """NaN, infinity or a number too large for the columns where a finite value is due; what is not measured is None.

    Also of columns and features: a divisor that is not above 0, a feature that is NaN or infinite.
    """


class ImpossibleCountError(ObservationError):
    """A count that no network can have: negative, not whole, or a host without parameters."""


class OutOfRangeError(ObservationError):
    """A percentage, a fraction, a norm or a loss outside the range that its unit allows."""


class InvalidObservationError(ObservationError):
    """Everything that is wrong with a batch of observations; `problems` holds each as an error of its own kind.

    The message lists the first `MOST_LISTED` of them.
    """

    MOST_LISTED: Final = 50

    def __init__(self, problems: Sequence[ObservationError]) -> None:
        lines = [str(problem) for problem in problems[: self.MOST_LISTED]]
        if len(problems) > len(lines):
            lines.append(f"and {len(problems) - len(lines)} more")
        super().__init__("\n".join(lines))
        self.problems = tuple(problems)


class FeatureRangeError(ValueError):
    """Features outside the range that the schema declares for them."""


class NormalizerError(ValueError):
    """A normaliser's settings, state or input that do not fit each other."""
