"""What can be wrong with an observation."""

from collections.abc import Sequence


class ObservationError(ValueError):
    """Something about an observation that features cannot be made from."""


class ObservationShapeError(ObservationError):
    """Columns, lists, workspace or options that do not fit each other."""


class MissingSlotError(ObservationError):
    """Reports without an entry for a slot; an empty slot has the entry None."""


class UnknownSlotError(ObservationError):
    """Reports with an entry for a slot that the network does not have, or with an entry of another slot."""


class UnknownBlueprintError(ObservationError):
    """A report of a seed whose blueprint does not exist."""


class InvalidStageError(ObservationError):
    """A report of a seed in a stage that is retired or does not exist."""


class NonFiniteValueError(ObservationError):
    """NaN or infinity where a finite value is due; what is not measured is None."""


class ImpossibleCountError(ObservationError):
    """A count that no network can have."""


class InvalidObservationError(ObservationError):
    """Everything that is wrong with a batch of observations; `problems` holds each as an error of its own kind."""

    def __init__(self, problems: Sequence[ObservationError]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)
