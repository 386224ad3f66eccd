"""Wrong inputs are refused in one place, naming both sides."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from leyline_types import FactoredActions
from tamiyo_masks import ActionMasks
from tamiyo_policies import HiddenState, PolicyBundle, PolicyInputError

pytestmark = pytest.mark.usefixtures("unchecked")

BATCH, TIME = 4, 3


@pytest.fixture
def masks(make_masks: Callable[..., ActionMasks], generator: torch.Generator) -> ActionMasks:
    """Of one step."""
    return make_masks(BATCH, generator=generator)


@pytest.fixture
def sequence_masks(make_masks: Callable[..., ActionMasks], generator: torch.Generator) -> ActionMasks:
    """Of several steps."""
    return make_masks(BATCH, TIME, generator=generator)


def features(policy: PolicyBundle, *batch: int) -> Tensor:
    return torch.zeros(*batch, policy.feature_dim)


def actions(*batch: int) -> FactoredActions[Tensor]:
    return FactoredActions(*(torch.zeros(batch, dtype=torch.int64) for _ in FactoredActions._fields))


def test_features(policy: PolicyBundle, masks: ActionMasks) -> None:
    hidden = policy.initial_hidden(BATCH)
    for wrong, message in (
        (torch.zeros(BATCH, 7), r"7 features per step but the policy takes 230 \(3 slots\)"),
        (torch.zeros(230), r"shape \(230,\) but must have 2 or 3 dimensions"),
        (torch.zeros(BATCH, 2, 230), r"\[batch, 1, feature\]; `features` has shape \(4, 2, 230\), 2 steps"),
        (
            torch.zeros(BATCH, 230, dtype=torch.float64),
            "has dtype torch.float64 but the policy takes torch.float32",
        ),
        (torch.zeros(BATCH, 230, device="meta"), "`features` is on meta but the policy is on cpu"),
    ):
        with pytest.raises(PolicyInputError, match=message):
            policy.get_action(wrong, masks, hidden)
        with pytest.raises(PolicyInputError, match=message):
            policy.get_value(wrong, hidden)
    with pytest.raises(PolicyInputError, match=r"`features` has shape \(4, 230\) but must have 3 dimensions"):
        policy.evaluate_actions(features(policy, BATCH), actions(BATCH), masks)


@pytest.mark.parametrize("name", ActionMasks._fields)
def test_masks(policy: PolicyBundle, masks: ActionMasks, sequence_masks: ActionMasks, name: str) -> None:
    def broken(whole: ActionMasks, change: Callable[[Tensor], Tensor]) -> ActionMasks:
        return whole._replace(**{name: change(getattr(whole, name))})

    hidden, due = policy.initial_hidden(BATCH), tuple(getattr(masks, name).shape)
    shape = rf"mask `{name}` is torch.bool .*, it must be torch.bool \({', '.join(map(str, due))}\)"
    cases: list[tuple[Callable[[Tensor], Tensor], str]] = [
        (lambda mask: mask[:2], shape),
        (lambda mask: mask[..., 1:], shape),
        (lambda mask: mask[:, None], shape),
        (lambda mask: mask.float(), f"mask `{name}` is torch.float32"),
    ]
    for change, message in cases:
        with pytest.raises(PolicyInputError, match=message):
            policy.get_action(features(policy, BATCH), broken(masks, change), hidden)
    wrong_time = broken(sequence_masks, lambda mask: mask[:, 1:])
    with pytest.raises(PolicyInputError, match=rf"mask `{name}` is torch.bool \(4, 2"):
        policy.evaluate_actions(features(policy, BATCH, TIME), actions(BATCH, TIME), wrong_time)
    with pytest.raises(PolicyInputError, match=f"mask `{name}`"):
        policy.forward(features(policy, BATCH, TIME), wrong_time)


def test_masks_for_other_slots(policy: PolicyBundle, make_masks: Any, generator: torch.Generator) -> None:
    masks = make_masks(BATCH, generator=generator, slots=4)
    with pytest.raises(
        PolicyInputError, match=r"mask `slot` is torch.bool \(4, 4\), it must be torch.bool \(4, 3\)"
    ):
        policy.get_action(features(policy, BATCH), masks, policy.initial_hidden(BATCH))


def test_hidden_state(policy: PolicyBundle, masks: ActionMasks, sequence_masks: ActionMasks) -> None:
    good = torch.zeros(BATCH, 16)
    for wrong, message in (
        (
            HiddenState(torch.zeros(2, 16), good),
            r"`h` has shape \(2, 16\) but features and policy make it \(4, 16\)",
        ),
        (HiddenState(good, torch.zeros(BATCH, 8)), r"`c` has shape \(4, 8\)"),
        (HiddenState(good[None], good[None]), r"`h` has shape \(1, 4, 16\)"),
        (HiddenState(good, good.double()), "`hidden.c` has dtype torch.float64"),
        (HiddenState(good.to("meta"), good), "`hidden.h` is on meta"),
    ):
        with pytest.raises(PolicyInputError, match=message):
            policy.get_action(features(policy, BATCH), masks, wrong)
        with pytest.raises(PolicyInputError, match=message):
            policy.evaluate_actions(
                features(policy, BATCH, TIME), actions(BATCH, TIME), sequence_masks, wrong
            )


def test_what_is_of_another_type(
    policy: PolicyBundle, masks: ActionMasks, sequence_masks: ActionMasks
) -> None:
    """As callers from other libraries might pass it."""
    hidden: Any = policy.initial_hidden(BATCH)
    pair: Any = tuple(hidden)
    x, sequence = features(policy, BATCH), features(policy, BATCH, TIME)
    given: Any
    for given in (pair, None, hidden.h):
        with pytest.raises(PolicyInputError, match=r"`hidden` is of type \w+, it must be HiddenState"):
            policy.get_action(x, masks, given)
    with pytest.raises(PolicyInputError, match="`hidden` is of type tuple"):
        policy.evaluate_actions(sequence, actions(BATCH, TIME), sequence_masks, pair)
    for given in (tuple(masks), masks.as_dict(), masks.flat()):
        with pytest.raises(PolicyInputError, match=r"`masks` is of type \w+, it must be ActionMasks"):
            policy.get_action(x, given, hidden)
    for given in (tuple(actions(BATCH, TIME)), actions(BATCH, TIME)._asdict(), torch.zeros(BATCH, TIME, 8)):
        with pytest.raises(PolicyInputError, match=r"`actions` is of type \w+, it must be FactoredActions"):
            policy.evaluate_actions(sequence, given, sequence_masks)


@pytest.mark.parametrize("shape", [(0, TIME), (BATCH, 0)])
def test_sequences_without_a_step(
    policy: PolicyBundle, make_masks: Any, generator: torch.Generator, shape: tuple[int, int]
) -> None:
    masks = make_masks(*shape, generator=generator)
    with pytest.raises(PolicyInputError, match="there is no step in it"):
        policy.evaluate_actions(features(policy, *shape), actions(*shape), masks)


def test_devices(policy: PolicyBundle, masks: ActionMasks, sequence_masks: ActionMasks) -> None:
    hidden = policy.initial_hidden(BATCH)
    for name in ActionMasks._fields:
        away = masks._replace(**{name: getattr(masks, name).to("meta")})
        with pytest.raises(PolicyInputError, match=f"`masks.{name}` is on meta but the policy is on cpu"):
            policy.get_action(features(policy, BATCH), away, hidden)
    good = actions(BATCH, TIME)
    for name in FactoredActions._fields:
        gone = good._replace(**{name: getattr(good, name).to("meta")})
        with pytest.raises(PolicyInputError, match=f"`actions.{name}` is on meta but the policy is on cpu"):
            policy.evaluate_actions(features(policy, BATCH, TIME), gone, sequence_masks)


def test_floors(policy: PolicyBundle, masks: ActionMasks, sequence_masks: ActionMasks) -> None:
    hidden, x, sequence = (
        policy.initial_hidden(BATCH),
        features(policy, BATCH),
        features(policy, BATCH, TIME),
    )
    cases: tuple[tuple[Any, str], ...] = (
        ({"operation": 0.1}, r"`floors` names no head: 'operation'; heads are slot, .*, op"),
        ({"slot": 0.1, "op": 1.0}, r"floor of head 'op' must lie in \[0, 1\), not 1\.0"),
        ({"slot": -0.1}, r"floor of head 'slot' must lie in \[0, 1\), not -0\.1"),
        ({"slot": float("nan")}, r"floor of head 'slot' must lie in \[0, 1\), not nan"),
        (0.1, "`floors` is of type float, it must be Mapping"),
        (torch.zeros(8), "`floors` is of type Tensor, it must be Mapping"),
    )
    for wrong, message in cases:
        for deterministic in (False, True):
            with pytest.raises(PolicyInputError, match=message):
                policy.get_action(x, masks, hidden, deterministic=deterministic, floors=wrong)
        with pytest.raises(PolicyInputError, match=message):
            policy.evaluate_actions(sequence, actions(BATCH, TIME), sequence_masks, floors=wrong)


def test_actions_and_episode_starts(policy: PolicyBundle, sequence_masks: ActionMasks) -> None:
    x, good = features(policy, BATCH, TIME), actions(BATCH, TIME)
    with pytest.raises(
        PolicyInputError, match=r"action `tempo` has shape \(4, 2\) but the features have \(4, 3\)"
    ):
        policy.evaluate_actions(x, good._replace(tempo=good.tempo[:, 1:]), sequence_masks)
    with pytest.raises(PolicyInputError, match=r"`actions\.op` has dtype torch\.float32"):
        policy.evaluate_actions(x, good._replace(op=good.op.float()), sequence_masks)
    starts = torch.zeros(BATCH, TIME, dtype=torch.bool)
    with pytest.raises(
        PolicyInputError, match=r"`episode_starts` has shape \(4,\) but the features have \(4, 3\)"
    ):
        policy.evaluate_actions(x, good, sequence_masks, episode_starts=starts[:, 0])
    with pytest.raises(PolicyInputError, match=r"`episode_starts` has dtype torch\.int64"):
        policy.evaluate_actions(x, good, sequence_masks, episode_starts=starts.long())
