"""Controllers that need no training, and the schedules of the sweep."""

from kasmina_hosts import HostConfig
from leyline_types import BlueprintAction, Controller, LegalityRules, Topology
from simic_training.evaluation.controllers import (
    FIRST_START,
    rivals,
    schedule_controllers,
    sweep_schedules,
)

RULES = LegalityRules()


def test_rivals_are_controllers_by_name() -> None:
    made = rivals(HostConfig(), RULES, seed=0)
    assert list(made) == ["none", "random", "heuristic"]
    assert all(isinstance(controller, Controller) for controller in made.values())


def test_the_sweep_is_every_blueprint_by_every_start_by_all_slots_or_one() -> None:
    names = [schedule.name for schedule in sweep_schedules(Topology.CNN, RULES, epochs=25)]
    assert len(names) == len(set(names)) == 7 * 3 * 2
    assert names[:6] == [
        "conv_light xall @0",
        "conv_light x1 @0",
        "conv_light xall @5",
        "conv_light x1 @5",
        "conv_light xall @10",
        "conv_light x1 @10",
    ]


def test_starts_that_fall_together_count_once() -> None:
    assert len(sweep_schedules(Topology.CNN, RULES, epochs=1)) == 7 * 2
    assert {schedule.start_epoch for schedule in sweep_schedules(Topology.CNN, RULES, epochs=4)} == {
        0,
        1,
        2,
    }


def test_what_may_be_germinated_is_swept() -> None:
    rules = LegalityRules(enabled_blueprints=(BlueprintAction.NORM,))
    assert len(sweep_schedules(Topology.CNN, rules, epochs=25)) == 6
    assert len(sweep_schedules(Topology.CNN, rules, epochs=25, starts=FIRST_START)) == 2
    assert sweep_schedules(Topology.CNN, RULES, epochs=25, starts=()) == ()
    tokens = sweep_schedules(Topology.TRANSFORMER, RULES, epochs=25)
    assert {schedule.blueprint for schedule in tokens} == set(RULES.blueprints(Topology.TRANSFORMER))


def test_controllers_bear_the_names_of_their_schedules() -> None:
    schedules = sweep_schedules(Topology.CNN, RULES, epochs=25)
    made = schedule_controllers(schedules, HostConfig(), RULES)
    assert list(made) == [schedule.name for schedule in schedules]
