"""Words of a command line to options; whatever is wrong with them is said in one line."""

import argparse
import reprlib
from collections.abc import Sequence
from typing import Final, NoReturn, final

from simic_training.runs.setting_names import nearest

USAGE_ERROR: Final = 2
_MOST_DIGITS: Final = 19
"""Of a whole number below 2**63."""


class UsageError(ValueError):
    """Options that were understood and cannot be followed; one line."""


@final
class OneLineParser(argparse.ArgumentParser):
    """A parser that answers wrong usage with one line, without the whole synopsis, and exit code 2."""

    def error(self, message: str) -> NoReturn:
        """Print the line and exit."""
        line = " ".join(message.split())
        self.exit(USAGE_ERROR, f"{self.prog}: {line} (try {self.prog} --help)\n")

    def refuse_rest(self, rest: Sequence[str]) -> None:
        """Say what is wrong with words that no option took; nothing where there are none.

        Args:
            rest: from `parse_known_args`.
        """
        options = [word.partition("=")[0] for word in rest if word.startswith("--")]
        if options:
            known = [name for name in self._option_string_actions if name.startswith("--")]
            self.error(f"unknown option {options[0]}; the nearest is {nearest_option(options[0], known)}")
        if rest:
            self.error(f"nothing takes the word {rest[0]!r}")


def nearest_option(option: str, known: Sequence[str]) -> str:
    """The known option that is most like this one."""
    names = {name.lstrip("-").replace("-", "_"): name for name in known}
    return names[nearest(option.lstrip("-").replace("-", "_"), list(names))]


def whole_number(text: str) -> int:
    """An option's value as an integer of at least 0.

    Raises:
        ArgumentTypeError: it is none, or none of 64 bits.
    """
    return _integer(text, least=0)


def positive_number(text: str) -> int:
    """An option's value as an integer of at least 1.

    Raises:
        ArgumentTypeError: it is none, or none of 64 bits.
    """
    return _integer(text, least=1)


def _integer(text: str, *, least: int) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"must be an integer of at least {least}, not {reprlib.repr(text)}")
    if len(text) > _MOST_DIGITS or int(text) >= 2**63:
        raise argparse.ArgumentTypeError(f"must be an integer below 2**63, not {reprlib.repr(text)}")
    if int(text) < least:
        raise argparse.ArgumentTypeError(f"must be an integer of at least {least}, not {text!r}")
    return int(text)
