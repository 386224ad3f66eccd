"""One host as a Gymnasium environment: spaces, masks, actions, rewards, ends, seeds and words."""

import gymnasium
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.spaces import Box, MultiDiscrete
from gymnasium.utils.env_checker import check_env, data_equivalence
from gymnasium.utils.env_match import check_environments_match
from small_envs import EPOCHS, SLOTS, SMALL, UNEVEN, WAIT, Array, grouped, indices

from leyline_types import BlueprintAction, FactoredAction, LifecycleOp, head_sizes, observation_schema
from simic_training.envs.infos import masks_of
from simic_training.envs.registration import GROWTH, register_envs
from simic_training.envs.single import GrowthEnv

GERMINATE = indices(FactoredAction(LifecycleOp.GERMINATE, "r0c1", blueprint=BlueprintAction.CONV_LIGHT))


@pytest.mark.parametrize("truncate", [False, True])
@pytest.mark.parametrize("mask_in_observation", [False, True])
def test_gymnasium_finds_no_fault(truncate: bool, mask_in_observation: bool) -> None:
    register_envs()
    env = gymnasium.make(
        GROWTH, config=SMALL, truncate=truncate, mask_in_observation=mask_in_observation, render_mode="ansi"
    )
    check_env(env.unwrapped)


def test_spaces() -> None:
    env = GrowthEnv(SMALL)
    schema = observation_schema(SLOTS)
    assert isinstance(env.observation_space, Box)
    assert env.observation_space.low.tolist() == list(schema.low)
    assert env.observation_space.high.tolist() == list(schema.high)
    assert env.observation_space.dtype == np.float32
    assert env.action_space == MultiDiscrete(list(head_sizes(SLOTS)))


def test_masks_three_ways_agree() -> None:
    env = GrowthEnv(SMALL, mask_in_observation=True)
    observation, info = env.reset(seed=0)
    for action in (GERMINATE, WAIT, WAIT):
        assert isinstance(observation, dict)
        assert info["action_mask"].dtype == np.bool_
        assert np.array_equal(env.action_masks(), info["action_mask"])
        assert np.array_equal(observation["action_mask"], info["action_mask"])
        assert observation["action_mask"].dtype == np.int8
        masks = masks_of(info, SLOTS)
        masks.check((), SLOTS)
        assert all((shown == held).all() for shown, held in zip(masks, env.masks, strict=True))
        observation, *_, info = env.step(action)


def test_illegal_action_is_told_and_equals_waiting() -> None:
    twins = [GrowthEnv(SMALL), GrowthEnv(SMALL)]
    for env in twins:
        env.reset(seed=1)
        *_, info = env.step(GERMINATE)
        assert info["took_effect"] is True
        assert info["invalid_action"] is False
    illegal, waiting = (env.step(action) for env, action in zip(twins, (GERMINATE, WAIT), strict=True))
    assert illegal[4]["invalid_action"] is True
    assert illegal[4]["took_effect"] is False
    assert waiting[4]["invalid_action"] is False
    assert illegal[1] == waiting[1]
    told = {"last_op", "last_op_took_effect"}
    refused, waited = np.asarray(illegal[0]), np.asarray(waiting[0])
    for field in observation_schema(SLOTS).fields:
        same = np.array_equal(refused[field.start : field.stop], waited[field.start : field.stop])
        assert same == (field.spec.name not in told), field.spec.name
    for key in ("action_mask", "slot_by_op", "size", "val_accuracy"):
        assert np.array_equal(illegal[4][key], waiting[4][key])


def test_legal_action_that_fails_its_gate_is_not_invalid() -> None:
    env = GrowthEnv(grouped(1, epochs=25))  # in which a seed has to train for two epochs
    env.reset(seed=0)
    advance = indices(FactoredAction(LifecycleOp.ADVANCE, "r0c1"))
    for action in (GERMINATE, advance):
        env.step(action)
    *_, info = env.step(advance)  # from TRAINING at once
    assert info["invalid_action"] is False
    assert info["took_effect"] is False


def test_reward_is_the_sum_of_its_terms_and_of_what_changed() -> None:
    env = GrowthEnv(SMALL)
    _, before = env.reset(seed=2)
    for action in (GERMINATE, WAIT, WAIT):
        _, reward, *_, info = env.step(action)
        assert reward == info["reward_accuracy"] + info["reward_rent"]
        gained = (info["val_accuracy"] - before["val_accuracy"]) / 10
        assert info["reward_accuracy"] == pytest.approx(gained, abs=1e-5)
        rent = info["price"] * (before["size"] - info["size"])
        assert info["reward_rent"] == pytest.approx(rent, abs=1e-5)
        assert (info["reward_rent"] < 0) == (action is GERMINATE)
        before = info


@pytest.mark.parametrize("truncate", [False, True])
def test_last_epoch_ends_the_episode(truncate: bool) -> None:
    env = GrowthEnv(SMALL, truncate=truncate)
    with pytest.raises(ResetNeeded, match="no host yet: call reset"):
        env.step(WAIT)
    env.reset(seed=0)
    ends = [env.step(WAIT)[2:4] for _ in range(EPOCHS)]
    assert ends == [(False, False)] * (EPOCHS - 1) + [(not truncate, truncate)]
    with pytest.raises(ResetNeeded, match="the episode has ended: call reset"):
        env.step(WAIT)
    env.reset()
    env.step(WAIT)


def test_equal_seeds_equal_episodes() -> None:
    check_environments_match(GrowthEnv(UNEVEN), GrowthEnv(UNEVEN), num_steps=2 * EPOCHS, seed=3)


def test_episodes_may_differ_in_length() -> None:
    env, lengths = GrowthEnv(UNEVEN), []
    with pytest.raises(ResetNeeded, match="call reset"):
        _ = env.max_epochs
    env.reset(seed=0)
    for _ in range(8):
        _, info = env.reset()
        ends = [env.step(WAIT)[2] for _ in range(env.max_epochs)]
        assert ends == [False] * (env.max_epochs - 1) + [True]
        assert info["max_epochs"] == env.max_epochs == env.group.config.max_epochs
        lengths.append(env.max_epochs)
    assert set(lengths) == {2, 3, 4}


def test_every_episode_draws_other_hosts() -> None:
    env, again = GrowthEnv(SMALL), GrowthEnv(SMALL)
    first = [env.reset(seed=5), env.reset(), env.reset()]
    second = [again.reset(seed=5), again.reset(), again.reset()]
    assert data_equivalence(first, second, exact=True)
    accuracies = [info["val_accuracy"] for _, info in first]
    assert len(set(accuracies)) == 3
    assert env.reset(seed=6)[1]["val_accuracy"] not in accuracies


def test_info_tells_what_was_drawn() -> None:
    env = GrowthEnv(SMALL)
    _, info = env.reset(seed=0)
    assert (info["num_classes"], info["max_epochs"]) == (2, EPOCHS)
    assert info["width"] == env.group.config.width
    assert info["price"] == env.group.prices[0]
    assert SMALL.prices[0] <= info["price"] <= SMALL.prices[1]
    assert env.group.task.name.startswith("digits, classes ")


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (WAIT[:7], r"shape \(1, 8\)"),
        (WAIT.astype(np.float32), "integers"),
        (WAIT - 1, "-1"),
        (np.full(8, 99), "99"),
    ],
)
def test_malformed_action_is_refused_and_changes_nothing(action: Array, message: str) -> None:
    env = GrowthEnv(SMALL, render_mode="ansi")
    env.reset(seed=0)
    before = env.render()
    with pytest.raises(ValueError, match=message):
        env.step(action)
    assert env.render() == before


def test_render_tells_of_epoch_action_and_slots() -> None:
    env = GrowthEnv(SMALL, render_mode="ansi")
    with pytest.raises(ResetNeeded, match="reset"):
        env.render()
    _, info = env.reset(seed=0)
    start = f"epoch 0 of {EPOCHS}  accuracy {info['val_accuracy']:.1f} %  size 1.00"
    assert env.render() == f"{start}\nr0c0  empty\nr0c1  empty\nr0c2  empty"
    env.step(GERMINATE)
    words = (env.render() or "").splitlines()
    assert words[0].endswith("after GERMINATE")
    assert words[2] == "r0c1  germinated conv_light  alpha 0.00 of 0.50"
    env.step(GERMINATE)
    assert (env.render() or "").splitlines()[0].endswith("after GERMINATE without effect")
    assert GrowthEnv(SMALL).render() is None


def test_unknown_options_and_modes_are_refused() -> None:
    with pytest.raises(ValueError, match="`render_mode` must be 'ansi' or None, not 'human'"):
        GrowthEnv(SMALL, render_mode="human")
    with pytest.raises(ValueError, match="`options` must be empty"):
        GrowthEnv(SMALL).reset(options={"width": 4})
