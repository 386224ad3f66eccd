"""Timelines of single episodes, and which episodes get one."""

from xml.etree import ElementTree

import pytest

from leyline_types import LifecycleOp, SeedStage
from simic_training.report.drawing import WIDTH
from simic_training.report.episodes import ALONG, EXTREMES, select
from simic_training.report.germinations import germination_map
from simic_training.report.records import Action, Episode, Stay
from simic_training.report.timeline import Tenant, tenants, timeline


def make_episode(
    number: int = 0,
    *,
    episode_return: float = 5.0,
    stays: list[Stay] | None = None,
    actions: list[Action] | None = None,
    epochs: int = 10,
) -> Episode:
    return Episode(
        episode=number,
        update=1,
        task="digits",
        lack="nothing",
        width=4,
        price=0.3,
        episode_return=episode_return,
        return_accuracy=5.5,
        return_rent=-0.5,
        size=1.5,
        rolled_back=[],
        val_accuracy=[50.0 + epoch for epoch in range(epochs + 1)],
        actions=actions or [],
        slots={"r0c0": stays or [Stay(0, epochs, SeedStage.DORMANT, None, 0.0)]},
    )


LIFE = [
    Stay(0, 2, SeedStage.DORMANT, None, 0.0),
    Stay(3, 3, SeedStage.GERMINATED, "norm", 0.0),
    Stay(4, 6, SeedStage.TRAINING, "norm", 0.0),
    Stay(7, 10, SeedStage.FOSSILIZED, "norm", 1.0),
]


def bars(episode: Episode) -> list[tuple[str, float, float]]:
    """Stage, start and end of each bar in epochs."""
    drawing = ElementTree.fromstring(timeline(episode))
    track = next(rect for rect in drawing.iter("rect") if rect.get("class") == "track")
    left, wide = float(track.get("x", "")), float(track.get("width", ""))
    epochs = len(episode.val_accuracy) - 1
    found = []
    for rect in drawing.iter("rect"):
        if rect.get("class", "").startswith("stage"):
            start = (float(rect.get("x", "")) - left) / wide * epochs
            found.append((rect.get("class", ""), start, start + float(rect.get("width", "")) / wide * epochs))
    return found


def test_bars_span_the_epochs_that_were_trained_in_the_stage() -> None:
    found = bars(make_episode(stays=LIFE))
    assert [name for name, _, _ in found] == ["stage s-germinated", "stage s-training", "stage s-fossilized"]
    for (_, start, end), expected in zip(found, [(2, 3), (3, 6), (6, 10)], strict=True):
        assert (start, end) == pytest.approx(expected, abs=0.02)


def test_blueprint_is_named_once_however_many_stages_it_went_through() -> None:
    assert tenants(LIFE) == [Tenant("norm", 2, 10)]
    names = [text.text for text in ElementTree.fromstring(timeline(make_episode(stays=LIFE))).iter("text")]
    assert names.count("norm") == 1


def test_seed_that_was_there_from_the_start_begins_with_the_first_epoch() -> None:
    held = [Stay(0, 10, SeedStage.HOLDING, "conv_heavy", 1.0)]
    [(name, start, end)] = bars(make_episode(stays=held))
    assert name == "stage s-holding"
    assert (start, end) == pytest.approx((0, 10))


def test_names_that_have_no_room_are_cut_and_never_leave_the_drawing() -> None:
    stays = [Stay(0, 0, SeedStage.DORMANT, None, 0.0)]
    for epoch in range(1, 11):
        name = ("conv_heavy", "bottleneck")[epoch % 2]
        stays.append(Stay(epoch, epoch, SeedStage.TRAINING, name, 0.0))
    drawing = ElementTree.fromstring(timeline(make_episode(stays=stays)))
    notes = [text for text in drawing.iter("text") if text.get("class") == "note"]
    assert notes
    assert all((note.text or "").endswith("…") for note in notes)
    for note in notes:
        assert float(note.get("x", "")) + 6.9 * len(note.text or "") <= WIDTH


def test_actions_without_effect_are_crossed_and_told() -> None:
    refused = Action(4, "ADVANCE r0c0", LifecycleOp.ADVANCE, "r0c0", took_effect=False)
    done = Action(3, "GERMINATE r0c0 blueprint=NORM", LifecycleOp.GERMINATE, "r0c0", took_effect=True)
    drawing = timeline(make_episode(stays=LIFE, actions=[done, refused]))
    assert drawing.count('class="cross"') == 1
    assert "before epoch 4: ADVANCE r0c0 (no effect)" in drawing


def test_map_counts_only_germinations_that_took_effect() -> None:
    done = Action(3, "GERMINATE r0c0", LifecycleOp.GERMINATE, "r0c0", took_effect=True)
    refused = Action(4, "GERMINATE r0c0", LifecycleOp.GERMINATE, "r0c0", took_effect=False)
    episodes = [make_episode(actions=[done, refused]), make_episode(1)]
    drawing = germination_map(episodes, title="Where and when")
    assert "r0c0, epoch 3: 50.0 % of episodes" in drawing
    assert drawing.count('class="heat"') == 1


def test_map_is_as_long_as_the_longest_episode() -> None:
    """Lengths are drawn; a germination late in a long episode must not fall off the map."""
    late = Action(30, "GERMINATE r0c0", LifecycleOp.GERMINATE, "r0c0", took_effect=True)
    drawing = germination_map([make_episode(), make_episode(1, actions=[late], epochs=30)], title="Map")
    assert "r0c0, epoch 30: 50.0 % of episodes" in drawing


def test_best_worst_and_evenly_spaced_episodes_are_chosen_once() -> None:
    episodes = [make_episode(number, episode_return=float((number * 37) % 101)) for number in range(101)]
    best, worst, along = select(episodes)
    assert [episode.episode_return for episode in best] == [100.0, 99.0, 98.0]
    assert [episode.episode_return for episode in worst] == [0.0, 1.0, 2.0]
    assert len(along) <= ALONG
    chosen = [episode.episode for part in (best, worst, along) for episode in part]
    assert len(chosen) == len(set(chosen))


@pytest.mark.parametrize("count", range(9))
def test_few_episodes_are_all_chosen_once(count: int) -> None:
    parts = select([make_episode(number, episode_return=1.0) for number in range(count)])
    chosen = sorted(episode.episode for part in parts for episode in part)
    assert chosen == sorted(set(chosen))
    assert len(parts.best) == min(count, EXTREMES)
    assert len(chosen) >= min(count, 2 * EXTREMES)
