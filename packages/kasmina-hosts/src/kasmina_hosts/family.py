"""Tasks that differ from episode to episode."""

from dataclasses import dataclass, replace
from typing import NamedTuple, final

import numpy as np

from kasmina_hosts.config import MAX_LEARNING_RATE, HostConfig
from kasmina_hosts.digits import DIGITS, DigitsTask


class FamilyMember(NamedTuple):
    """What was drawn: the data, and how hosts are built and trained on it."""

    task: DigitsTask
    config: HostConfig


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class DigitsFamily:
    """Digit tasks of which each is drawn by a seed; a policy learns only from the curves which one it is.

    One fixed task rewards one fixed habit; over a family, a policy has to look. Every choice of a field is as likely
    as the others, and all sets of digits of the drawn size are.

    Args:
        class_counts: how many digits a task may have, each 2 to 10.
        widths: channels that the hosts may have, each at least 1.
        label_noises: chances of a training label to be redrawn, each in [0, 1].
        learning_rates: each above 0 and at most `MAX_LEARNING_RATE`.

    Raises:
        ValueError: an empty field, or a value outside its range.
    """

    class_counts: tuple[int, ...] = (2, 5, 10)
    widths: tuple[int, ...] = (4, 6)
    label_noises: tuple[float, ...] = (0.0, 0.5)
    learning_rates: tuple[float, ...] = (0.1, 0.2)

    def __post_init__(self) -> None:
        for name in ("class_counts", "widths", "label_noises", "learning_rates"):
            if not getattr(self, name):
                raise ValueError(f"`{name}` must hold at least one value")
        for count in self.class_counts:
            if not 2 <= count <= DIGITS:
                raise ValueError(f"`class_counts` must be from 2 to {DIGITS}, not {count}")
        for width in self.widths:
            if width < 1:
                raise ValueError(f"`widths` must be at least 1, not {width}")
        for noise in self.label_noises:
            if not 0 <= noise <= 1:
                raise ValueError(f"`label_noises` must be in [0, 1], not {noise}")
        for rate in self.learning_rates:
            if not 0 < rate <= MAX_LEARNING_RATE:
                raise ValueError(
                    f"`learning_rates` must be above 0 and at most {MAX_LEARNING_RATE:g}, not {rate}"
                )

    def draw(
        self,
        seed: int,
        config: HostConfig = HostConfig(),  # noqa: B008  (frozen)
    ) -> FamilyMember:
        """The member of this seed: a pure function of the family, the seed and `config`.

        Args:
            seed: at least 0.
            config: everything but width and learning rate, which are drawn.

        Raises:
            ValueError: a negative seed.
        """
        if seed < 0:
            raise ValueError(f"`seed` must be at least 0, not {seed}")
        rng = np.random.default_rng(seed)
        count = self.class_counts[rng.integers(len(self.class_counts))]
        classes = sorted(rng.permutation(DIGITS)[:count].tolist())
        noise = self.label_noises[rng.integers(len(self.label_noises))]
        width = self.widths[rng.integers(len(self.widths))]
        learning_rate = self.learning_rates[rng.integers(len(self.learning_rates))]
        # The task's noise has a seed of its own: under the same one it would repeat the draws above.
        task = DigitsTask(classes, label_noise=noise, seed=int(rng.integers(2**63 - 1)))
        return FamilyMember(task, replace(config, width=width, learning_rate=learning_rate))
