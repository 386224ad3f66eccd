"""What a reported value must satisfy: one rule per kind of value, read by the packing and by the diagnosis of it."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from math import isfinite
from typing import Final

import torch

from leyline_types import RETIRED_STAGES, AlphaAlgorithm, AlphaMode, LifecycleOp, SeedStage
from tamiyo_features.errors import (
    ImpossibleCountError,
    InvalidChoiceError,
    InvalidStageError,
    MissingValueError,
    NonFiniteValueError,
    ObservationError,
    OutOfRangeError,
    WrongTypeError,
)

_LARGEST: Final = float(torch.finfo(torch.float32).max)
_SMALLEST: Final = float(torch.finfo(torch.float32).tiny)
_LARGEST_COUNT: Final = 2**53  # up to here float64, in which batches are checked, holds every integer


@dataclass(frozen=True, slots=True)
class Rule:
    """A kind of value.

    Args:
        expected: in words, to follow "it must be".
        error: the kind of error for a finite number that breaks the rule.
        low, high: the least and greatest value allowed.
        whole: only whole numbers are allowed, and the column is an integer one (boolean with `bit`).
        bit: the column is boolean.
        codes: where not empty, the only values allowed.
    """

    expected: str
    error: type[ObservationError]
    low: float = -_LARGEST
    high: float = _LARGEST
    whole: bool = False
    bit: bool = False
    codes: tuple[int, ...] = ()

    def find_problem(self, what: str, value: object, *, optional: bool = False) -> ObservationError | None:
        """What is wrong with a value, which `what` names and places; None where nothing is."""
        if value is None:
            return None if optional else MissingValueError(f"{what} is None, it must be {self.expected}")
        if isinstance(value, (str, bytes)) or not hasattr(value, "__float__"):
            return WrongTypeError(
                f"{what} is {value!r}, a {type(value).__name__}; it must be {self.expected}"
            )
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError, RuntimeError) as error:
            return WrongTypeError(f"{what} is {value!r} ({error}); it must be {self.expected}")
        if not isfinite(number) or abs(number) > _LARGEST:
            return NonFiniteValueError(f"{what} is {number}, it must be {self.expected}")
        allowed = not self.codes or number in self.codes
        if allowed and self.low <= number <= self.high and not (self.whole and number % 1):
            return None
        return self.error(f"{what} is {value}, it must be {self.expected}")


def _choice(members: Iterable[IntEnum], error: type[ObservationError], note: str = "") -> Rule:
    listed = tuple(members)
    codes = tuple(int(member) for member in listed)
    words = "one of " + ", ".join(f"{member.name}={member.value}" for member in listed) + note
    return Rule(words, error, min(codes), max(codes), whole=True, codes=codes)


NUMBER: Final = Rule("a finite number", NonFiniteValueError)
LOSS_SCALE: Final = Rule("a finite number above 0 that float32 can hold", OutOfRangeError, low=_SMALLEST)
NORM: Final = Rule("a finite number, at least 0", OutOfRangeError, low=0.0)
PERCENT: Final = Rule("a finite percentage, 0 to 100", OutOfRangeError, low=0.0, high=100.0)
FRACTION: Final = Rule("a finite fraction, 0 to 1", OutOfRangeError, low=0.0, high=1.0)
COUNT: Final = Rule(
    "a whole number, at least 0", ImpossibleCountError, low=0.0, high=_LARGEST_COUNT, whole=True
)
POSITIVE_COUNT: Final = Rule(
    "a whole number, at least 1", ImpossibleCountError, low=1.0, high=_LARGEST_COUNT, whole=True
)
BIT: Final = Rule("0 or 1", InvalidChoiceError, low=0.0, high=1.0, whole=True, bit=True)
STAGE: Final = _choice(SeedStage, InvalidStageError, f" ({', '.join(map(str, RETIRED_STAGES))} is retired)")
ALPHA_MODE: Final = _choice(AlphaMode, InvalidChoiceError)
ALPHA_ALGORITHM: Final = _choice(AlphaAlgorithm, InvalidChoiceError)
OP: Final = _choice(LifecycleOp, InvalidChoiceError)
