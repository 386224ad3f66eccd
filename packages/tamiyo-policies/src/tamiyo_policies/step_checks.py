"""What a controller holds a step of its policy against: finite numbers, and one legal action per environment."""

from math import isfinite

from torch import Tensor

from leyline_types import place_in_words
from tamiyo_masks import ActionMasks, InvalidStateMachineError, check_actions, check_logits
from tamiyo_policies.errors import NonFinitePolicyError
from tamiyo_policies.hidden import HiddenState
from tamiyo_policies.protocol import PolicyBundle
from tamiyo_policies.results import ActionResult

_MOST_NAMED = 3


def check_step(bundle: PolicyBundle, before: HiddenState, result: ActionResult, masks: ActionMasks) -> None:
    """Check what a policy made of finite features. Synchronises with the device.

    Args:
        bundle: the policy, whose weights are only looked at to explain what is wrong.
        before: the hidden state that the step began with.
        result: of the step.
        masks: that it was taken under.

    Raises:
        NonFinitePolicyError: a legal logit, a value or the hidden state is not finite; names environment and head, and
            the weights where they are at fault.
        IllegalActionError: the masks forbid an action; names environment and head.
    """
    try:
        check_logits(result.logits, masks, bundle.slot_config)
    except InvalidStateMachineError as error:
        raise NonFinitePolicyError(f"{error}; {_cause(bundle, before)}") from None
    numbers = {
        "the value": result.value,
        "hidden state `h`": result.hidden.h,
        "hidden state `c`": result.hidden.c,
    }
    # A sum is the cheapest look at all of them; whether it only grew too large, the loop finds out.
    if not isfinite(sum(tensor.sum() for tensor in numbers.values())):
        for name, tensor in numbers.items():
            broken = tensor.isfinite().logical_not().nonzero().tolist()
            if broken:
                raise NonFinitePolicyError(
                    f"{place_in_words((broken[0][0],))}: {name} is {float(tensor[*broken[0]]):g}, "
                    f"expected a finite number; {_cause(bundle, before)}"
                )
    check_actions(result.actions, masks, bundle.slot_config)


def _cause(bundle: PolicyBundle, before: HiddenState) -> str:
    """Why a policy that saw finite features may have computed what is not, in words."""
    broken = [name for name, tensor in bundle.state_dict().items() if not _is_finite(tensor)]
    if broken:
        more = f" and {len(broken) - _MOST_NAMED} more" if len(broken) > _MOST_NAMED else ""
        names = ", ".join(map(repr, broken[:_MOST_NAMED]))
        return f"weights of the policy are not finite: {names}{more}"
    if not all(map(_is_finite, before)):
        return "the hidden state before the step was not finite either"
    return f"all weights of the policy are finite, so that a number was too large for {bundle.dtype}"


def _is_finite(tensor: Tensor) -> bool:
    return not tensor.is_floating_point() or bool(tensor.isfinite().all())
