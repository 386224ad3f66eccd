"""Episodes that start inside a sequence, for an LSTM kernel that knows nothing of them.

Before each start a step is put in that empties the state, and shorter sequences are filled up by steps that hold it.
Two more inputs mark those steps; their weights open or shut the gates beyond anything that the rest adds up to. So one
call of the kernel does it all, where cutting the batch at each start would need a call for nearly every step.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


class Stretched(NamedTuple):
    """Sequences with those steps put in, and where in [batch * longer] each given step went."""

    inputs: Float[Tensor, "batch longer marked"]
    places: Int[Tensor, " steps"]


def stretch(
    inputs: Float[Tensor, "batch time width"], starts: Bool[Tensor, "batch time"], most: int
) -> Stretched:
    """Put in the steps.

    Args:
        inputs: of every step.
        starts: True where an episode starts inside: not at the first step.
        most: starts of the row that has most.
    """
    batch, time, width = inputs.shape
    before = starts.cumsum(1)
    longer = torch.arange(time + most, device=inputs.device)
    row = torch.arange(batch, device=inputs.device)[:, None] * len(longer)
    places = (row + before + longer[:time]).flatten()
    holds = (longer >= time + before[:, -1:]).flatten()
    resets = (~holds).index_fill(0, places, False)
    steps = inputs.new_zeros(len(holds), width).index_copy(0, places, inputs.flatten(0, 1))
    marked = torch.cat((steps, torch.stack((resets, holds), dim=1).to(inputs.dtype)), dim=1)
    return Stretched(marked.unflatten(0, (batch, -1)), places)


def mark_weights(weight: Float[Tensor, "gates width"]) -> Float[Tensor, "gates marked"]:
    """The input weights with those of the marks added: a reset shuts all gates, a hold opens the forget gate alone."""
    much = 1e4  # a sigmoid of it is exactly 0 or 1, in half precision too
    take_in, keep, new, give_out = (-much, -much), (-much, much), (0.0, 0.0), (-much, 0.0)
    marks = weight.new_tensor((take_in, keep, new, give_out))
    return torch.cat((weight, marks.repeat_interleave(len(weight) // len(marks), 0)), dim=1)
