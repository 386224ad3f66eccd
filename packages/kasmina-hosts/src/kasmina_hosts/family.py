"""Hosts and data that differ from episode to episode: a family whose members lack something, or nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple, final

import numpy as np

from kasmina_hosts.config import NUM_SLOTS, HostConfig, OptimizerKind
from kasmina_hosts.digits import DigitsTask
from kasmina_hosts.host import host_size, stage_size
from kasmina_hosts.tasks import Task, check_task
from kasmina_hosts.variation import Variation, check_fits, vary
from leyline_types import Topology

FEATURES_PER_CHANNEL: Final = 2
"""Width of a transformer's tokens where a convolutional host has one channel."""
_END = 2**31  # what `HostConfig` holds is below it
# Channels of a host that lacks width; tokens have twice as many features. Convolutional hosts of fewer cannot be helped
# much, whatever they grow: the classifier's input, normalised over three channels, has two degrees of freedom.
_NARROW = {Topology.CNN: (4, 4), Topology.TRANSFORMER: (2, 3)}
# A convolutional host that lacks nothing sees its neighbours once, in a wide stem. More such stages would bring little,
# and make seeds cheap beside the host: a heavy seed is 1.2 times as large as one of kernels (3, 1, 3), 2 times as this.
_STEM = (5, 1, 1)
_NARROW_STEMS = (1, 3)
_SQUEEZED = 1  # channels or hidden units that stages or blocks are squeezed through
_NOISY, _SHIFTED, _OCCLUDED = 0.25, 0.35, 0.35  # shares of the members
# Hosts are up to so much larger than one that lacks nothing and is led through as many channels as it has in one stage.
# That costs a sixth of a host at once, and sizes that only hosts that lack nothing have would give them away.
_LARGER = 0.25


class Lack(StrEnum):
    """What a host lacks.

    `KERNELS`: the first stage, the only one that sees neighbours, sees pixels (1x1) or 3x3 instead of 5x5. `SQUEEZE`:
    the second stage, the third or both, or the MLPs of these blocks, are led through a single channel or hidden unit;
    what the first loses no seed brings back. `NORM`: neither stages nor the classifier's input are normalised, and SGD,
    whose steps are as small as the gradients, trains the host. `ATTENTION`: one to three blocks do not attend. `WIDTH`:
    all stages have four channels, all tokens four or six features.
    """

    NOTHING = "nothing"
    KERNELS = "kernels"
    SQUEEZE = "squeeze"
    NORM = "norm"
    ATTENTION = "attention"
    WIDTH = "width"


LACKS: Final[Mapping[Topology, tuple[Lack, ...]]] = MappingProxyType(
    {
        Topology.CNN: (Lack.NOTHING, Lack.KERNELS, Lack.SQUEEZE, Lack.NORM, Lack.WIDTH),
        Topology.TRANSFORMER: (Lack.NOTHING, Lack.ATTENTION, Lack.SQUEEZE, Lack.WIDTH),
    }
)
"""What hosts of each topology can lack."""


class FamilyMember(NamedTuple):
    """What was drawn: the data, how hosts are built and trained on it, and what those lack, which no policy is told."""

    task: Task
    config: HostConfig
    lack: Lack


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class HostFamily:
    """Hosts and data of which each is drawn by a seed. What to grow, where, and whether at all, differ between them.

    One fixed host rewards one fixed habit; over a family a policy has to look. Every pair is (least, greatest), both
    included, and all between are as likely, but for `class_counts`, of which the larger of two draws counts: where few
    classes are to be told apart, a host hardly lacks anything that growth could bring.

    What a host lacks would show in its number of parameters. So hosts of all kinds are drawn equally large: up to a
    quarter larger than one that lacks nothing and is led through as many channels as it has in one stage. The
    difference goes into the inner widths of stages or blocks that are not squeezed. A convolution that is led through
    more channels than it gives is two linear maps in a row, so it computes nothing new (and trains a little worse: 3
    points where samples are few); the MLP of a block gets more hidden units. Once a seed is planted its size tells the
    width of its layer, as in any network.

    >>> family = HostFamily(lacks=(Lack.KERNELS, Lack.WIDTH))
    >>> task, config, lack = family.draw(3)
    >>> task.name
    'digits, 242 samples, shift 1'
    >>> lack.value, config.width, config.kernels, config.inner_widths
    ('kernels', 7, (1, 1, 1), (8, 7, 12))
    >>> family.draw_max_epochs(3)
    39

    Args:
        lacks: kinds of hosts, each as likely; those that a topology cannot have (`LACKS`) are left out.
        widths: channels of hosts that do not lack width; twice as many features of a transformer's tokens.
        class_counts: classes of the data, all sets of so many as likely; no more than the data have.
        train_samples: samples to train on; no more than there are, at least one of each class.
        max_label_noise: a quarter of the members has label noise, up to this, in [0, 1].
        max_shift: in a third of the members each image of all three parts is moved by its own draw, by up to so many
            pixels.
        max_occlusion: in a third of the members a square of each image, of a side up to so many pixels, is hidden, in
            all three parts.
        max_epochs: of an episode.

    Raises:
        ValueError: a field outside its range.
    """

    lacks: tuple[Lack, ...] = tuple(Lack)
    widths: tuple[int, int] = (6, 10)
    class_counts: tuple[int, int] = (2, 10)
    train_samples: tuple[int, int] = (150, 1152)
    max_label_noise: float = 0.4
    max_shift: int = 1
    max_occlusion: int = 3
    max_epochs: tuple[int, int] = (15, 40)

    def __post_init__(self) -> None:
        known = [lack.value for lack in Lack]
        if not self.lacks:
            raise ValueError("`lacks` must hold at least one kind")
        for lack in self.lacks:
            if lack not in known:
                raise ValueError(f"`lacks` must be of {', '.join(known)}, not {lack!r}")
        object.__setattr__(self, "lacks", tuple(Lack(lack) for lack in self.lacks))
        if len(set(self.lacks)) < len(self.lacks):
            raise ValueError(f"`lacks` must be distinct, not {', '.join(self.lacks)}")
        for name, least in (("widths", 1), ("class_counts", 2), ("train_samples", 2), ("max_epochs", 1)):
            pair = getattr(self, name)
            if len(pair) != 2:
                raise ValueError(f"`{name}` must be a pair, the least and the greatest, not {pair}")
            if not least <= pair[0] <= pair[1] < _END:
                raise ValueError(f"`{name}` must be from {least} to 2^31 - 1, the least first, not {pair}")
        if not 0 <= self.max_label_noise <= 1:
            raise ValueError(f"`max_label_noise` must be in [0, 1], not {self.max_label_noise}")
        for name in ("max_shift", "max_occlusion"):
            if not 0 <= getattr(self, name) < _END:
                raise ValueError(f"`{name}` must be from 0 to 2^31 - 1, not {getattr(self, name)}")

    def draw(
        self,
        seed: int,
        config: HostConfig = HostConfig(),  # noqa: B008  (frozen)
        data: Task | None = None,
        *,
        lack: Lack | None = None,
    ) -> FamilyMember:
        """The member of this seed: a pure function of the family and the arguments.

        Args:
            seed: at least 0.
            config: topology and all that is not drawn. Drawn are width, kernels, inner widths, norms and attention;
                hosts that lack norms learn by SGD, whatever `config.optimizer` is, at `config.learning_rate`.
            data: what to vary; None takes the digits.
            lack: what the host is to lack; None draws it. The data of a seed are the same whatever hosts lack.

        Raises:
            ValueError: a negative seed; hosts of this topology cannot lack any of `lacks`, or not `lack`; data that are
                malformed or do not fit `max_shift` or `max_occlusion`, or whose images a transformer's patches do not
                tile.
        """
        if seed < 0:
            raise ValueError(f"`seed` must be at least 0, not {seed}")
        kinds = [kind for kind in LACKS[config.topology] if kind in self.lacks]
        if lack is None and not kinds:
            raise ValueError(
                f"a {config.topology} can lack {', '.join(LACKS[config.topology])}, but `lacks` has only "
                f"{', '.join(self.lacks)}"
            )
        if lack is not None and lack not in LACKS[config.topology]:
            raise ValueError(
                f"`lack` must be what a {config.topology} can lack ({', '.join(LACKS[config.topology])}), not {lack}"
            )
        task = self._draw_task(DigitsTask() if data is None else data, seed)
        rng = np.random.default_rng((1, seed))
        chosen = kinds[rng.integers(len(kinds))] if lack is None else Lack(lack)
        channels, height, width = task.train.images.shape[1:]
        shape = (channels, height, width)
        return FamilyMember(task, self._draw_host(config, chosen, shape, task.num_classes, seed), chosen)

    def draw_max_epochs(self, seed: int) -> int:
        """The length of an episode: a pure function of the family and the seed.

        Args:
            seed: at least 0.

        Raises:
            ValueError: a negative seed.
        """
        if seed < 0:
            raise ValueError(f"`seed` must be at least 0, not {seed}")
        return _between(np.random.default_rng((2, seed)), self.max_epochs)

    def _draw_task(self, data: Task, seed: int) -> Task:
        check_task(data)
        # Whatever is drawn: a family does not fit some of its seeds only.
        check_fits(self.max_shift, self.max_occlusion, data.train.images)
        rng = np.random.default_rng((0, seed))
        count = max(_between(rng, _at_most(self.class_counts, data.num_classes)) for _ in range(2))
        classes = tuple(sorted(rng.permutation(data.num_classes)[:count].tolist()))
        labels = data.train.labels.numpy()
        available = int(np.isin(labels, classes).sum())
        samples = _between(rng, _at_most(self.train_samples, available))
        present = len(np.intersect1d(labels, classes))
        noisy, shifted, occluded = rng.random(3) < (_NOISY, _SHIFTED, _OCCLUDED)
        noise = rng.uniform(0, self.max_label_noise)
        shift, occlusion = (
            _between(rng, (min(1, most), most)) for most in (self.max_shift, self.max_occlusion)
        )
        variation = Variation(
            classes=classes,
            train_samples=max(present, samples),
            label_noise=noise if noisy else 0.0,
            shift=shift if shifted else 0,
            occlusion=occlusion if occluded else 0,
        )
        return vary(data, variation, int(rng.integers(2**63 - 1)))

    def _draw_host(
        self, config: HostConfig, lack: Lack, image_shape: tuple[int, int, int], num_classes: int, seed: int
    ) -> HostConfig:
        rng = np.random.default_rng((3, seed))
        features = FEATURES_PER_CHANNEL if config.topology is Topology.TRANSFORMER else 1
        channels = _between(rng, self.widths)
        whole = replace(
            config,
            width=features * channels,
            kernels=_STEM if config.topology is Topology.CNN else (3,) * NUM_SLOTS,
            inner_widths=(0,) * NUM_SLOTS,
            norms=(True,) * NUM_SLOTS,
            attention=(True,) * NUM_SLOTS,
        )
        first = min(
            stage_size(whole, stage, image_shape[0], whole.width)
            - stage_size(whole, stage, image_shape[0], 0)
            for stage in range(NUM_SLOTS)
        )
        size = first + int(host_size(whole, image_shape, num_classes) * (1 + _LARGER * rng.random()))
        squeezed = set[int]()
        match lack:
            case Lack.NOTHING:
                host = whole
            case Lack.KERNELS:
                host = replace(whole, kernels=(int(rng.choice(_NARROW_STEMS)), *_STEM[1:]))
            case Lack.SQUEEZE:
                squeezed = _some(rng, range(1, NUM_SLOTS))
                inner = tuple(_SQUEEZED if stage in squeezed else 0 for stage in range(NUM_SLOTS))
                host = replace(whole, inner_widths=inner)
            case Lack.NORM:
                host = replace(
                    whole, norms=(False,) * NUM_SLOTS, head_norm=False, optimizer=OptimizerKind.SGD
                )
            case Lack.ATTENTION:
                without = _some(rng, range(NUM_SLOTS))
                host = replace(whole, attention=tuple(stage not in without for stage in range(NUM_SLOTS)))
            case Lack.WIDTH:
                narrow = min(_between(rng, _NARROW[config.topology]), max(1, channels - 1))
                host = replace(whole, width=features * narrow)
        open_stages = [stage for stage in range(NUM_SLOTS) if stage not in squeezed]
        spare = size - host_size(host, image_shape, num_classes)
        return _enlarged(host, image_shape[0], spare, open_stages, rng)


def _enlarged(
    config: HostConfig, in_channels: int, spare: int, stages: list[int], rng: np.random.Generator
) -> HostConfig:
    """The host with more channels or hidden units inside these stages: `spare` parameters more, or hardly fewer."""
    inner_widths = list(config.inner_widths)
    plain = {stage: stage_size(config, stage, in_channels, 0) for stage in stages}
    first, second = (
        {stage: stage_size(config, stage, in_channels, config.width + more) for stage in stages}
        for more in (0, 1)
    )
    # The stage that takes the smallest steps comes last and gets what is left.
    order = sorted(rng.permutation(stages).tolist(), key=lambda stage: first[stage] - second[stage])
    for left, stage in zip(range(len(order), 0, -1), order, strict=True):
        share = spare if left == 1 else int(spare / left * rng.uniform(0.5, 1.5))
        more = (share + plain[stage] - first[stage]) // (second[stage] - first[stage])
        inner = min(config.width + more, _END - 1)
        added = stage_size(config, stage, in_channels, inner) - plain[stage]
        if more >= 0 and added > 0:
            inner_widths[stage], spare = inner, spare - added
    # The last stage may have been left too little to begin with: what is left goes where a channel more costs least.
    for stage in (stage for stage in reversed(order) if inner_widths[stage]):
        step = second[stage] - first[stage]
        inner_widths[stage] = min(inner_widths[stage] + spare // step, _END - 1)
        spare %= step
    return replace(config, inner_widths=tuple(inner_widths))


def _at_most(pair: tuple[int, int], most: int) -> tuple[int, int]:
    return min(pair[0], most), min(pair[1], most)


def _between(rng: np.random.Generator, pair: tuple[int, int]) -> int:
    return int(rng.integers(pair[0], pair[1] + 1))


def _some(rng: np.random.Generator, stages: range) -> set[int]:
    """One or more of these stages."""
    return set(rng.permutation(stages)[: _between(rng, (1, len(stages)))].tolist())
