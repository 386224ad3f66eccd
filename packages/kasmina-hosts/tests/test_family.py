"""The family: draws are pure, reach what they should, build what they say; and no size tells what a host lacks."""

import doctest
from dataclasses import FrozenInstanceError, replace
from math import inf, nan
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import cross_val_score

import kasmina_hosts.family
from kasmina_hosts import (
    LACKS,
    ArrayTask,
    DigitsTask,
    FamilyMember,
    HostConfig,
    HostFamily,
    HostPopulation,
    Lack,
    OptimizerKind,
    Split,
    Task,
    VariedTask,
    build_host,
)
from kasmina_hosts.family import FEATURES_PER_CHANNEL
from leyline_types import FactoredAction, FactoredActions, LifecycleOp, Topology

CNN = HostConfig()
VIT = HostConfig(topology=Topology.TRANSFORMER, patch_size=2)
BASES = {Topology.CNN: CNN, Topology.TRANSFORMER: VIT}
DIGIT = (1, 8, 8)
EVERY_KIND = [(topology, lack) for topology, lacks in LACKS.items() for lack in lacks]
seeds = st.integers(0, 2**64)


def same(a: FamilyMember, b: FamilyMember) -> bool:
    return (a.task.name, a.config, a.lack) == (b.task.name, b.config, b.lack) and same_data(a.task, b.task)


def same_data(a: Task, b: Task) -> bool:
    return a.num_classes == b.num_classes and all(
        torch.equal(mine, other)
        for part in ("train", "validation", "test")
        for mine, other in zip(getattr(a, part), getattr(b, part), strict=True)
    )


def size_of(config: HostConfig, num_classes: int) -> int:
    """Parameters, counted in the built host."""
    parts = build_host(config, DIGIT, num_classes)
    return sum(parameter.numel() for part in parts for parameter in part.parameters())


@pytest.fixture(scope="module")
def few() -> VariedTask:
    """Ten classes of two samples, so that hosts are drawn fast."""
    part = Split(torch.rand(20, *DIGIT), torch.arange(20) % 10)
    return VariedTask("few", 10, part, part, part)


@pytest.fixture(scope="module")
def members(few: VariedTask) -> dict[Topology, list[FamilyMember]]:
    family = HostFamily()
    return {
        topology: [family.draw(seed, config, few) for seed in range(800)]
        for topology, config in BASES.items()
    }


@pytest.mark.parametrize("topology", list(Topology))
def test_a_draw_is_a_function_of_its_seed(topology: Topology) -> None:
    config = replace(BASES[topology], max_epochs=7, batch_size=32, max_seeds=2, learning_rate=0.1)
    drawn = [HostFamily().draw(seed, config) for seed in range(6)]
    assert all(same(member, HostFamily().draw(seed, config)) for seed, member in enumerate(drawn))
    assert len({member.task.name for member in drawn}) == 6
    untold = {
        "width": 4,
        "kernels": (3,) * 3,
        "inner_widths": (0,) * 3,
        "norms": (True,) * 3,
        "attention": (True,) * 3,
        "head_norm": True,
        "optimizer": OptimizerKind.ADAM,
    }
    for member in drawn:
        assert replace(member.config, **untold) == replace(config, **untold)  # type: ignore[arg-type]


@settings(max_examples=25)
@given(seed=seeds)
def test_what_is_lacked_changes_neither_the_data_nor_the_size(seed: int) -> None:
    drawn = {lack: HostFamily().draw(seed, lack=lack) for lack in LACKS[Topology.CNN]}
    whole = drawn[Lack.NOTHING]
    plain = replace(CNN, width=whole.config.width, kernels=(5, 1, 1))
    least = size_of(plain, whole.task.num_classes)
    first = size_of(replace(plain, inner_widths=(0, 0, plain.width)), whole.task.num_classes) - least
    assert all(member.lack is lack for lack, member in drawn.items())
    assert all(same_data(member.task, whole.task) for member in drawn.values())
    assert all(
        least < size_of(member.config, member.task.num_classes) <= first + 1.25 * least
        for member in drawn.values()
    )
    alike = HostFamily().draw(seed)
    assert same(alike, drawn[alike.lack])


def test_the_data_are_the_same_for_both_topologies() -> None:
    for seed in range(5):
        assert same_data(HostFamily().draw(seed, CNN).task, HostFamily().draw(seed, VIT).task)


def test_the_length_of_an_episode_is_drawn_by_itself() -> None:
    lengths = [HostFamily().draw_max_epochs(seed) for seed in range(600)]
    assert lengths == [HostFamily().draw_max_epochs(seed) for seed in range(600)]
    assert set(lengths) == set(range(15, 41))
    assert abs(np.mean(lengths) - 27.5) < 1.3  # deviation 0.3
    assert HostFamily(max_epochs=(6, 6)).draw_max_epochs(3) == 6
    assert HostFamily().draw(0, replace(CNN, max_epochs=9)).config.max_epochs == 9


@pytest.mark.parametrize("topology", list(Topology))
def test_kinds_are_drawn_about_as_often(
    topology: Topology, few: VariedTask, members: dict[Topology, list[FamilyMember]]
) -> None:
    lacks = [member.lack for member in members[topology]]
    assert set(lacks) == set(LACKS[topology])
    expected = 800 / len(LACKS[topology])
    assert all(abs(lacks.count(lack) - expected) < 4 * expected**0.5 for lack in LACKS[topology])
    family = HostFamily(lacks=(Lack.SQUEEZE, Lack.NORM, Lack.ATTENTION))
    own = Lack.NORM if topology is Topology.CNN else Lack.ATTENTION
    assert {family.draw(seed, BASES[topology], few).lack for seed in range(30)} == {Lack.SQUEEZE, own}


def test_the_ranges_of_data_are_reached() -> None:
    drawn = [HostFamily().draw(seed).task for seed in range(400)]
    counts = [task.num_classes for task in drawn]
    assert set(counts) == set(range(2, 11))
    for count in set(counts):  # the larger of two draws of nine
        expected = 400 * (2 * (count - 2) + 1) / 81
        assert abs(counts.count(count) - expected) < 4 * expected**0.5
    samples = [len(task.train.labels) for task in drawn]
    assert min(samples) < 160
    assert max(samples) > 1000
    told = [part.split() for task in drawn for part in task.name.split(", ")]
    for what, most, share in (("noise", 0.4, 0.25), ("shift", 1, 0.35), ("occlusion", 3, 0.35)):
        found = [float(words[-1]) for words in told if words[0] == what]
        assert abs(len(found) - 400 * share) < 40  # deviation 9
        assert max(found) == pytest.approx(most, abs=0.02)
        assert min(found) <= most / 3 or most == 1


def test_numbers_of_samples_are_all_as_likely() -> None:
    family = HostFamily(class_counts=(10, 10), train_samples=(100, 1100))
    samples = np.array([len(family.draw(seed).task.train.labels) for seed in range(300)])
    assert abs((samples < 600).mean() - 0.5) < 0.12  # deviation 0.03
    assert abs((samples < 350).mean() - 0.25) < 0.1


def test_all_digits_are_drawn() -> None:
    family = HostFamily(class_counts=(2, 2), max_label_noise=0, max_shift=0, max_occlusion=0)
    pairs = [family.draw(seed).task.name.split(", ")[1].removeprefix("classes ") for seed in range(200)]
    assert {digit for pair in pairs for digit in pair.split(",")} == set("0123456789")
    assert len(set(pairs)) > 40  # of 45


def test_a_family_of_one_kind_of_data() -> None:
    family = HostFamily(
        class_counts=(10, 10), train_samples=(1152, 9999), max_label_noise=0.0, max_shift=0, max_occlusion=0
    )
    for seed in range(3):
        assert family.draw(seed).task.name == "digits"
        assert same_data(family.draw(seed).task, DigitsTask())


@pytest.mark.parametrize("topology", list(Topology))
def test_each_kind_is_what_it_says(topology: Topology, members: dict[Topology, list[FamilyMember]]) -> None:
    features = FEATURES_PER_CHANNEL if topology is Topology.TRANSFORMER else 1
    seen: dict[Lack, set[Any]] = {lack: set() for lack in LACKS[topology]}
    for member in members[topology]:
        config, squeezed = member.config, []
        for stage, inner in enumerate(member.config.inner_widths):
            if 0 < inner < config.width:
                squeezed.append((stage, inner))
        usual = {
            Lack.KERNELS: config.kernels == ((5, 1, 1) if topology is Topology.CNN else (3, 3, 3)),
            Lack.SQUEEZE: not squeezed,
            Lack.NORM: config.norms == (True, True, True),
            Lack.ATTENTION: config.attention == (True, True, True),
            Lack.WIDTH: 6 <= config.width / features <= 10,
        }
        assert config.head_norm == (member.lack is not Lack.NORM)
        assert config.optimizer == ("sgd" if member.lack is Lack.NORM else "adam")
        assert {lack for lack, met in usual.items() if not met} == {member.lack} - {Lack.NOTHING}
        found = {
            Lack.KERNELS: config.kernels,
            Lack.SQUEEZE: (*squeezed,),
            Lack.NORM: config.norms,
            Lack.ATTENTION: config.attention,
        }
        seen[member.lack].add(found.get(member.lack, config.width // features))
    assert seen[Lack.NOTHING] == {6, 7, 8, 9, 10}
    assert seen[Lack.WIDTH] == ({4} if topology is Topology.CNN else {2, 3})
    assert seen[Lack.SQUEEZE] == {((1, 1),), ((2, 1),), ((1, 1), (2, 1))}
    if topology is Topology.CNN:
        assert seen[Lack.KERNELS] == {(3, 1, 1), (1, 1, 1)}
        assert seen[Lack.NORM] == {(False, False, False)}
    else:
        assert len(seen[Lack.ATTENTION]) == 7
        assert {sum(attends) for attends in seen[Lack.ATTENTION]} == {0, 1, 2}


@pytest.mark.parametrize("topology", list(Topology))
def test_the_size_does_not_tell_what_a_host_lacks(
    topology: Topology, members: dict[Topology, list[FamilyMember]]
) -> None:
    sizes = np.array([[size_of(member.config, member.task.num_classes)] for member in members[topology]])
    lacks = [member.lack.value for member in members[topology]]
    chance = 1 / len(LACKS[topology])
    forests = [RandomForestClassifier(50, min_samples_leaf=leaf, random_state=0) for leaf in (1, 20)]
    scores = [cross_val_score(forest, sizes, lacks, cv=5).mean() for forest in forests]
    assert max(scores) < chance + 0.1  # found: 0.03 to 0.07 and -0.01 to 0.03 above chance
    # The forests do find what there is to find.
    widths = [str(member.config.width) for member in members[topology] if member.lack is Lack.NOTHING]
    whole = sizes[[lack == "nothing" for lack in lacks]]
    assert cross_val_score(forests[0], whole, widths, cv=3).mean() > 0.6  # chance 0.2


@settings(max_examples=60)
@given(
    seed=seeds,
    kind=st.sampled_from(EVERY_KIND),
    widths=st.tuples(st.integers(1, 40), st.integers(0, 10)).map(lambda drawn: (drawn[0], sum(drawn))),
    head_norm=st.booleans(),
)
def test_hosts_are_as_large_as_one_that_lacks_nothing(
    few: VariedTask, seed: int, kind: tuple[Topology, Lack], widths: tuple[int, int], head_norm: bool
) -> None:
    topology, lack = kind
    family = HostFamily(widths=widths)
    base = replace(BASES[topology], head_norm=head_norm)
    member, whole = (family.draw(seed, base, few, lack=each) for each in (lack, Lack.NOTHING))
    plain = replace(whole.config, inner_widths=(0, 0, 0))
    least = size_of(plain, whole.task.num_classes)
    channels = plain.width / (FEATURES_PER_CHANNEL if topology is Topology.TRANSFORMER else 1)
    assert widths[0] <= channels <= widths[1]
    firsts = [
        size_of(
            replace(plain, inner_widths=tuple(plain.width * (other == stage) for other in range(3))),
            whole.task.num_classes,
        )
        for stage in range(3)
    ]
    most = min(firsts) + 0.25 * least
    assert size_of(member.config, member.task.num_classes) <= most + 2  # a single channel is not squeezed
    assert min(firsts) <= size_of(whole.config, whole.task.num_classes)
    if widths[0] >= 4:
        assert size_of(member.config, member.task.num_classes) > 0.9 * min(firsts)
        inner = [each for each in member.config.inner_widths if 0 < each < member.config.width]
        assert len(inner) in ((1, 2) if lack is Lack.SQUEEZE else (0,))


@pytest.mark.parametrize(("topology", "lack"), EVERY_KIND)
def test_every_kind_trains(topology: Topology, lack: Lack) -> None:
    family = HostFamily(train_samples=(200, 200), class_counts=(4, 4), max_label_noise=0.0)
    base = replace(BASES[topology], max_epochs=2, batch_size=16, interactions=False)
    member = family.draw(0, base, lack=lack)
    population = HostPopulation(member.task, member.config)
    before = population.reset([5, 6]).signals.train_loss
    assert population.task_config.host_params == size_of(member.config, 4)
    wait = FactoredAction(LifecycleOp.WAIT, population.slot_config.slot_ids[0])
    indices = wait.to_indices(population.slot_config)
    actions = FactoredActions(*(torch.tensor([index, index]) for index in indices))
    after = [population.step(actions).observation.signals.train_loss for _ in range(2)][-1]
    assert (after < before).all()


@pytest.fixture(scope="module")
def own() -> ArrayTask:
    """Three classes, two channels, 9 x 6 pixels, on white."""
    rng = np.random.default_rng(0)
    x = np.full((300, 2, 9, 6), 255.0)
    x[:, :, 2:-2, 2:-2] = rng.normal(size=(300, 2, 5, 2))
    return ArrayTask(x, np.arange(300) % 3, name="own")


@settings(max_examples=40)
@given(seed=seeds)
def test_other_data_are_varied_alike(own: ArrayTask, seed: int) -> None:
    family = HostFamily(class_counts=(3, 7), train_samples=(50, 9999))
    member = family.draw(seed, data=own)
    assert member.task.num_classes == 3  # no more than there are
    assert 50 <= len(member.task.train.labels) <= len(own.train.labels)
    assert member.task.name.startswith("own")
    assert member.task.train.images.shape[1:] == (2, 9, 6)
    assert same(member, family.draw(seed, data=own))


def test_few_samples_still_show_every_class() -> None:
    family = HostFamily(class_counts=(10, 10), train_samples=(2, 3), max_label_noise=0.0)
    for seed in range(10):
        assert sorted(family.draw(seed).task.train.labels.tolist()) == list(range(10))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lacks": ()}, "`lacks` must hold at least one kind"),
        (
            {"lacks": ("wit",)},
            "`lacks` must be of nothing, kernels, squeeze, norm, attention, width, not 'wit'",
        ),
        ({"lacks": (Lack.NORM, "norm")}, "`lacks` must be distinct, not norm, norm"),
        ({"widths": (0, 4)}, r"`widths` must be from 1 to 2\^31 - 1, the least first, not \(0, 4\)"),
        ({"widths": (5, 4)}, r"`widths` must be from 1 to 2\^31 - 1, the least first, not \(5, 4\)"),
        ({"widths": (4, 2**31)}, r"`widths` must be from 1 to 2\^31 - 1, the least first, not"),
        ({"widths": (4,)}, r"`widths` must be a pair, the least and the greatest, not \(4,\)"),
        ({"class_counts": (1, 4)}, r"`class_counts` must be from 2 to .* not \(1, 4\)"),
        ({"class_counts": (2, 4, 6)}, r"`class_counts` must be a pair, .* not \(2, 4, 6\)"),
        ({"train_samples": (1, 4)}, r"`train_samples` must be from 2 to .* not \(1, 4\)"),
        ({"max_epochs": (0, 4)}, r"`max_epochs` must be from 1 to .* not \(0, 4\)"),
        ({"max_epochs": (4, 3)}, r"`max_epochs` must be from 1 to .* not \(4, 3\)"),
        ({"max_label_noise": 1.1}, r"`max_label_noise` must be in \[0, 1\], not 1.1"),
        ({"max_label_noise": nan}, r"`max_label_noise` must be in \[0, 1\], not nan"),
        ({"max_label_noise": -inf}, r"`max_label_noise` must be in \[0, 1\], not -inf"),
        ({"max_shift": -1}, r"`max_shift` must be from 0 to 2\^31 - 1, not -1"),
        ({"max_occlusion": -2}, r"`max_occlusion` must be from 0 to 2\^31 - 1, not -2"),
    ],
)
def test_families_refuse(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HostFamily(**options)


def test_kinds_may_be_given_as_words() -> None:
    family = HostFamily(lacks=("norm", "width"))  # type: ignore[arg-type]  # as a file of settings has them
    assert family == HostFamily(lacks=(Lack.NORM, Lack.WIDTH))
    assert all(isinstance(lack, Lack) for lack in family.lacks)


@pytest.mark.parametrize("seed", range(4))
def test_draws_refuse_whatever_the_seed(seed: int) -> None:
    with pytest.raises(
        ValueError, match=r"a transformer can lack nothing, attention, .* `lacks` has only kernels, norm"
    ):
        HostFamily(lacks=(Lack.KERNELS, Lack.NORM)).draw(seed, VIT)
    with pytest.raises(
        ValueError, match=r"`lack` must be what a cnn can lack \(nothing, .*\), not attention"
    ):
        HostFamily().draw(seed, lack=Lack.ATTENTION)
    with pytest.raises(ValueError, match="a shift by 8 pixels leaves nothing of images of 8 x 8"):
        HostFamily(max_shift=8).draw(seed)
    with pytest.raises(ValueError, match="a square of 9 x 9 pixels does not fit images of 8 x 8"):
        HostFamily(max_occlusion=9).draw(seed)


def test_families_refuse_a_negative_seed_and_do_not_change() -> None:
    with pytest.raises(ValueError, match="`seed` must be at least 0, not -1"):
        HostFamily().draw(-1)
    with pytest.raises(ValueError, match="`seed` must be at least 0, not -1"):
        HostFamily().draw_max_epochs(-1)
    with pytest.raises(FrozenInstanceError):
        HostFamily().widths = (8, 8)  # type: ignore[misc]


def test_the_examples_run() -> None:
    assert doctest.testmod(kasmina_hosts.family).failed == 0
