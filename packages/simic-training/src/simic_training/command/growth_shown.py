"""What a trained policy does with one host that it never saw, in words."""

from collections.abc import Iterator

from rich.console import Console

from leyline_types import BlueprintAction, SeedStage, SlotConfig
from simic_training.command.saying import in_words, say
from simic_training.evaluation.play import play
from simic_training.growth.draws import draw_groups
from simic_training.growth.episodes import Episodes
from simic_training.runs.config import TrainConfig
from simic_training.runs.records import action_events
from simic_training.runs.state import TrainingState
from tamiyo_policies import PolicyController, WaitController


def show_growth(state: TrainingState, config: TrainConfig, console: Console) -> None:
    """Grow a host that was held out by the likeliest actions, and print those that changed it and what became of it."""
    env = config.env
    groups = draw_groups(env, 1, config.seed, held_out=True)
    controller = PolicyController(
        state.policy, deterministic=True, rules=env.rules, normalizer=state.normalizer
    )
    grown = play(controller, groups, rules=env.rules)
    bare = play(WaitController(), groups, rules=env.rules)
    slots = state.policy.slot_config
    lines = [
        f"What the trained policy grew on a host that it never saw ({in_words(groups[0])}):",
        *(f"  {line}" for line in growth_events(grown.episodes, 0, slots)),
        "  in the end:",
        *(f"  {line}" for line in final_slots(grown.episodes, 0, slots)),
        f"Test accuracy {float(grown.test_accuracy[0]):.1f} % with {float(grown.episodes.size[0]):.2f} times the "
        f"host's parameters; {float(bare.test_accuracy[0]):.1f} % without growth",
    ]
    for line in lines:
        say(console, line)


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
