"""Controllers that need no training, and the schedules of the sweep."""

import pytest

from kasmina_hosts import HostConfig
from leyline_types import BlueprintAction, Controller, LegalityRules, Topology
from simic_training.evaluation.controllers import (
    FIRST_START,
    plateau_rule,
    random_attempts,
    rivals,
    schedule_controllers,
    sweep_schedules,
)

RULES = LegalityRules()


def test_rivals_are_controllers_by_name() -> None:
    made = rivals(HostConfig(), RULES, seed=0)
    assert list(made) == ["none", "random", "heuristic", "plateau"]
    assert all(isinstance(controller, Controller) for controller in made.values())


def test_the_sweep_is_every_blueprint_by_every_start_by_all_slots_or_one() -> None:
    names = [schedule.name for schedule in sweep_schedules(HostConfig(max_epochs=25), RULES)]
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
    assert len(sweep_schedules(HostConfig(max_epochs=1), RULES)) == 7 * 2
    assert {schedule.start_epoch for schedule in sweep_schedules(HostConfig(max_epochs=4), RULES)} == {
        0,
        1,
        2,
    }


def test_what_may_be_germinated_is_swept() -> None:
    rules = LegalityRules(enabled_blueprints=(BlueprintAction.NORM,))
    assert len(sweep_schedules(HostConfig(), rules)) == 6
    assert len(sweep_schedules(HostConfig(), rules, starts=FIRST_START)) == 2
    assert sweep_schedules(HostConfig(), RULES, starts=()) == ()
    tokens = sweep_schedules(HostConfig(topology=Topology.TRANSFORMER), RULES)
    assert {schedule.blueprint for schedule in tokens} == set(RULES.blueprints(Topology.TRANSFORMER))


def test_controllers_bear_the_names_of_their_schedules() -> None:
    schedules = sweep_schedules(HostConfig(), RULES)
    made = schedule_controllers(schedules, HostConfig(), RULES)
    assert list(made) == [schedule.name for schedule in schedules]


@pytest.mark.parametrize("topology", list(Topology))
def test_plateau_rule_germinates_what_fits(topology: Topology) -> None:
    assert plateau_rule(topology, RULES).blueprint in RULES.blueprints(topology)
    only = RULES.blueprints(topology)[1]
    assert plateau_rule(topology, LegalityRules(enabled_blueprints=(only,))).blueprint == only
    assert plateau_rule(topology, RULES).plateau_epochs == 3


def test_random_attempts_have_seeds_of_their_own() -> None:
    assert list(random_attempts(HostConfig(), RULES, seeds=[5, 6, 7])) == [
        "random attempt 2",
        "random attempt 3",
        "random attempt 4",
    ]
    assert random_attempts(HostConfig(), RULES, seeds=[]) == {}
