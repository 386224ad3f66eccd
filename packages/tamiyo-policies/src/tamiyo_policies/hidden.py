"""The hidden state of a policy, as a typed value."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tamiyo_policies.errors import InferenceHiddenStateError


class HiddenState(NamedTuple):
    """What a recurrent policy carries from step to step; a pytree. A policy without memory has hidden width 0.

    States from `initial_hidden` and `get_action` are inference tensors: cheap, and of no use to autograd.
    """

    h: Float[Tensor, "batch hidden"]
    c: Float[Tensor, "batch hidden"]

    def for_training(self) -> "HiddenState":
        """A detached copy that methods which train accept.

        Raises:
            InferenceHiddenStateError: called in inference mode, where no such copy can be made.
        """
        if torch.is_inference_mode_enabled():
            raise InferenceHiddenStateError("`.for_training()` must be called outside torch.inference_mode()")
        return HiddenState(self.h.detach().clone(), self.c.detach().clone())

    @property
    def is_inference(self) -> bool:
        """Whether either tensor was made in inference mode."""
        return self.h.is_inference() or self.c.is_inference()

    def reset(self, rows: Bool[Tensor, " batch"]) -> "HiddenState":
        """This state with zeros in the rows that are True: what a fresh episode starts from."""
        return HiddenState(
            torch.where(rows[:, None], 0.0, self.h),
            torch.where(rows[:, None], 0.0, self.c),
        )
