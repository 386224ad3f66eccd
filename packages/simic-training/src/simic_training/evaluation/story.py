"""An episode in words: what was grown where, and when."""

from collections.abc import Iterator

from leyline_types import BlueprintAction, SeedStage, SlotConfig
from simic_training.growth.episodes import Episodes
from simic_training.runs.records import action_events


def growth_events(episodes: Episodes, host: int, slot_config: SlotConfig) -> Iterator[str]:
    """One line per action that changed something, for example "epoch  3  GERMINATE r0c1 blueprint=NORM ..."."""
    for event in action_events(episodes, host, slot_config):
        if event["took_effect"]:
            yield f"epoch {event['epoch']:>2}  {event['text']}"


def final_slots(episodes: Episodes, host: int, slot_config: SlotConfig) -> Iterator[str]:
    """One line per slot at the end, for example "r0c1  conv_light  FOSSILIZED  alpha 1.00"."""
    for index, slot_id in enumerate(slot_config):
        stage = SeedStage(int(episodes.stage[host, -1, index]))
        if stage is SeedStage.DORMANT:
            yield f"{slot_id}  empty"
        else:
            blueprint = BlueprintAction(int(episodes.blueprint[host, -1, index])).blueprint_id
            yield f"{slot_id}  {blueprint}  {stage.name}  alpha {float(episodes.alpha[host, -1, index]):.2f}"
