"""Who did how much, worked by hand."""

from simic_training.engines.load import Load, Share, busy, by_machine, joined, load_of
from simic_training.engines.unit import Done


def test_the_load_of_workers() -> None:
    done = [Done("a", "w1", 2.0, 0), Done("b", "w0", 1.0, 2), Done("c", "w1", 6.0, 1)]
    load = load_of(done, 8.5)
    assert load.workers == {"w0": (1, 1.0), "w1": (2, 8.0)}
    assert list(load.workers) == ["w0", "w1"]
    assert load == Load(8.5, load.workers, 3.0, "c on w1", 3)
    assert load_of(done[1:], 8.5).slowest == 6.0 / 3.5


def test_several_loads_as_one() -> None:
    first = load_of([Done("a", "w0", 2.0, 1), Done("b", "w1", 6.0, 0)], 6.0)
    second = load_of([Done("c", "w2", 3.0, 4), Done("d", "w1", 3.0, 0)], 3.5)
    load = joined([first, second], 12.0)
    assert load == Load(
        12.0, {"w0": Share(1, 2.0), "w1": Share(2, 9.0), "w2": Share(1, 3.0)}, 1.5, "b on w1", 5
    )


def test_the_workers_of_a_machine_together() -> None:
    workers = {"a:1": Share(1, 2.0), "a:2": Share(3, 4.0), "b:1": Share(5, 6.0), "worker_0": Share(7, 8.0)}
    assert by_machine(workers) == {"a": (4, 6.0), "b": (5, 6.0), "this machine": (7, 8.0)}


def test_how_busy_workers_were() -> None:
    workers = {"worker_0": Share(1, 3.0), "worker_1": Share(3, 4.0)}
    load = Load(5.0, workers, 1.25, "group 1 on worker_1", 0)
    assert busy(load) == "1.4 cores busy, slowest unit 1.2x (group 1 on worker_1)"
    assert busy(load._replace(workers={"here": Share(4, 4.9)})) == ""
