"""Who did how much, worked by hand."""

from simic_training.engines.unit import Done, load_of


def test_the_load_of_workers() -> None:
    done = [Done("a", "w1", 2.0, 0), Done("b", "w0", 1.0, 2), Done("c", "w1", 6.0, 1)]
    load = load_of(done, 8.5)
    assert load.workers == {"w0": (1, 1.0), "w1": (2, 8.0)}
    assert list(load.workers) == ["w0", "w1"]
    assert (load.seconds, load.slowest, load.faults) == (8.5, 3.0, 3)
    assert load_of(done[1:], 8.5).slowest == 6.0 / 3.5
