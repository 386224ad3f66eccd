"""Who did how much, worked by hand."""

from simic_training.engines.load import Load, busy, load_of
from simic_training.engines.unit import Done


def test_the_load_of_workers() -> None:
    done = [Done("a", "w1", 2.0, 0), Done("b", "w0", 1.0, 2), Done("c", "w1", 6.0, 1)]
    load = load_of(done, 8.5)
    assert load.workers == {"w0": (1, 1.0), "w1": (2, 8.0)}
    assert list(load.workers) == ["w0", "w1"]
    assert (load.seconds, load.slowest, load.faults) == (8.5, 3.0, 3)
    assert load_of(done[1:], 8.5).slowest == 6.0 / 3.5


def test_how_busy_workers_were() -> None:
    load = Load(5.0, {"worker_0": (1, 3.0), "worker_1": (3, 4.0)}, 1.25, 0)
    assert busy(load) == "2 workers 70 % busy, slowest unit 1.2x"
    assert busy(load._replace(workers={"here": (4, 4.9)})) == ""
