"""An episode in words."""

import pytest
from made_up import tiny_groups

from leyline_types import BlueprintAction, LegalityRules, SeedStage, SlotConfig
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
    stage, alpha = episodes.stage.clone(), episodes.alpha.clone()
    stage[1, -1, 0], alpha[1, -1, 0] = (
        int(SeedStage.BLENDING),
        0.25,
    )  # whether it gets there is the host's affair
    shown = list(final_slots(episodes._replace(stage=stage, alpha=alpha), 1, SLOTS))
    assert shown == ["r0c0  conv_light  BLENDING  alpha 0.25", "r0c1  empty", "r0c2  empty"]
