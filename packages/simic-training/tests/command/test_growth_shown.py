"""An episode in words."""

import pytest
from made_up import tiny_groups

from leyline_types import BlueprintAction, LegalityRules, SlotConfig
from simic_training.command.growth_shown import final_slots, growth_events
from simic_training.evaluation.play import play
from simic_training.evaluation.schedules import Schedule, ScheduleController
from simic_training.growth.episodes import Episodes

SLOTS = SlotConfig.default()


@pytest.fixture(scope="module")
def episodes() -> Episodes:
    schedule = Schedule(blueprint=BlueprintAction.CONV_LIGHT, start_epoch=1, slots=("r0c0",))
    controller = ScheduleController([schedule] * 2, SLOTS)
    return play(controller, tiny_groups(1, 2), rules=LegalityRules()).episodes


def test_events(episodes: Episodes) -> None:
    assert list(growth_events(episodes, 0, SLOTS))[:2] == [
        "epoch  2  GERMINATE r0c0 blueprint=CONV_LIGHT style=LINEAR_ADD tempo=FAST alpha_target=FULL",
        "epoch  3  ADVANCE r0c0",
    ]


def test_slots_at_the_end(episodes: Episodes) -> None:
    first, *rest = final_slots(episodes, 1, SLOTS)
    assert first.startswith("r0c0  conv_light  TRAINING  alpha 0.00")
    assert rest == ["r0c1  empty", "r0c2  empty"]
