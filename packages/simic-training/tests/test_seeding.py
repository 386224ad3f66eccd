"""No policy is judged on a host that any run trains on."""

import itertools

from simic_training import evaluation_seeds, training_seeds


def test_training_and_evaluation_never_meet() -> None:
    assert all(seed % 2 == 0 for run in (0, 1, 999_999) for seed in training_seeds(run, 0, 100))
    assert all(seed % 2 == 1 for seed in evaluation_seeds(100))


def test_runs_and_episodes_never_meet() -> None:
    seeds = list(itertools.chain(*(training_seeds(run, first, 10) for run in range(5) for first in (0, 10))))
    assert len(set(seeds)) == len(seeds)


def test_batches_continue_one_sequence() -> None:
    assert training_seeds(3, 0, 4) + training_seeds(3, 4, 4) == training_seeds(3, 0, 8)
    assert evaluation_seeds(3) == evaluation_seeds(5)[:3]
