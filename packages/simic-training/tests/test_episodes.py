"""Episodes of any controller, in numbers, words and a picture."""

from pathlib import Path

import torch
from torch import Tensor

from kasmina_hosts import HostPopulation
from leyline_types import FactoredActions, LifecycleOp, Observation, SlotConfig
from simic_training import Episodes, draw_growth, play_episodes
from simic_training.story import final_slots, growth_events
from tamiyo_policies import WaitController

SEEDS = [1, 3]


class Script:
    """Germinates conv_light (blueprint 1) in slot 0, advances it, then waits; memory counts the steps."""

    def initial_memory(self, num_envs: int) -> int:
        return 0

    def act(self, observation: Observation[Tensor], memory: int) -> tuple[FactoredActions[Tensor], int]:
        zero = torch.zeros_like(observation.signals.epoch)
        ops = (LifecycleOp.GERMINATE, LifecycleOp.ADVANCE)
        op = int(ops[memory]) if memory < len(ops) else int(LifecycleOp.WAIT)
        actions = FactoredActions(zero, zero + (memory == 0), zero, zero, zero + 2, zero, zero, zero + op)
        return actions, memory + 1


def play_script(population: HostPopulation) -> Episodes:
    return play_episodes(Script(), population, SEEDS)


def test_record_of_a_script(population: HostPopulation) -> None:
    episodes = play_script(population)
    assert episodes.host_seeds == (1, 3)
    assert episodes.val_accuracy.shape == (2, 4)
    assert episodes.stage[:, :, 0].tolist() == [[1, 2, 3, 3]] * 2
    assert episodes.blueprint[:, :, 0].tolist() == [[0, 1, 1, 1]] * 2
    assert episodes.took_effect[:, :2].all()
    assert (episodes.size > 1).all()
    assert not episodes.alpha.any()
    assert episodes.grown == ({}, {})


def test_return_is_accuracy_gained_minus_rent(population: HostPopulation) -> None:
    episodes = play_script(population)
    gained = episodes.val_accuracy[:, -1] - episodes.val_accuracy[:, 0]
    torch.testing.assert_close(episodes.episode_return(0.5), gained / 10 - 0.5 * (episodes.size - 1))


def test_waiting_leaves_the_host_as_it_is(population: HostPopulation) -> None:
    episodes = play_episodes(WaitController(), population, SEEDS)
    assert (episodes.size == 1).all()
    assert episodes.val_accuracy[:, -1].mean() > episodes.val_accuracy[:, 0].mean()


def test_story(population: HostPopulation) -> None:
    slots = SlotConfig.default()
    episodes = play_script(population)
    assert list(growth_events(episodes, 0, slots)) == [
        "epoch  1  GERMINATE r0c0 blueprint=CONV_LIGHT style=LINEAR_ADD tempo=FAST alpha_target=FULL",
        "epoch  2  ADVANCE r0c0",
    ]
    assert list(final_slots(episodes, 1, slots)) == [
        "r0c0  conv_light  TRAINING  alpha 0.00",
        "r0c1  empty",
        "r0c2  empty",
    ]


def test_picture_is_a_png_that_depends_on_what_grew(population: HostPopulation, tmp_path: Path) -> None:
    slots = SlotConfig.default()
    ungrown = play_episodes(WaitController(), population, SEEDS)
    for name, episodes in (("grown", play_script(population)), ("ungrown", ungrown)):
        draw_growth(tmp_path / name, episodes, slots, host=0, ungrown=ungrown.val_accuracy[0], title="a test")
    grown = (tmp_path / "grown").read_bytes()
    assert grown.startswith(b"\x89PNG\r\n")
    assert grown != (tmp_path / "ungrown").read_bytes()
