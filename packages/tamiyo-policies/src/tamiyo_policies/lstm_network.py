"""The recurrent network: encoder, one LSTM layer, trunk, the logits of all heads, value.

    x = relu(LayerNorm(W features))     h, c = LSTM(x, h, c)     y = relu(W h)     logits, value = W y

Hochreiter and Schmidhuber, Long Short-Term Memory, 1997, https://www.bioinf.jku.at/publications/older/2604.pdf; the
forget gate is biased to 1 at first as in Jozefowicz et al., An Empirical Exploration of Recurrent Network
Architectures, 2015, https://proceedings.mlr.press/v37/jozefowicz15.html.
"""

from itertools import pairwise
from math import sqrt
from typing import NamedTuple, final

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from tamiyo_policies.hidden import HiddenState

_ACTION_GAIN = 0.01  # nearly equal logits: a fresh policy tries every legal choice


class Outputs(NamedTuple):
    """Unmasked logits of all heads in head order, and values."""

    logits: Float[Tensor, "*batch choices"]
    value: Float[Tensor, "*batch"]


@final
class LSTMNetwork(nn.Module):
    """Owns every weight, those of the LSTM as plain parameters: dynamo breaks the graph on attributes of nn.LSTM.

    Args:
        feature_dim, hidden_dim: widths of input and of every layer.
        num_choices: choices of all heads together.
    """

    def __init__(self, feature_dim: int, hidden_dim: int, num_choices: int) -> None:
        super().__init__()
        self.encoder = nn.Linear(feature_dim, hidden_dim)
        self.norm = nn.LayerNorm(hidden_dim)
        self.weight_ih = nn.Parameter(torch.empty(4 * hidden_dim, hidden_dim))
        self.weight_hh = nn.Parameter(torch.empty(4 * hidden_dim, hidden_dim))
        self.bias_ih = nn.Parameter(torch.zeros(4 * hidden_dim))
        self.bias_hh = nn.Parameter(torch.zeros(4 * hidden_dim))
        self.trunk = nn.Linear(hidden_dim, hidden_dim)
        self.action_head = nn.Linear(hidden_dim, num_choices)
        self.value_head = nn.Linear(hidden_dim, 1)
        self._initialise(hidden_dim)

    def _initialise(self, hidden_dim: int) -> None:
        gains = (
            (self.encoder, sqrt(2)),
            (self.trunk, sqrt(2)),
            (self.action_head, _ACTION_GAIN),
            (self.value_head, 1),
        )
        for layer, gain in gains:
            nn.init.orthogonal_(layer.weight, gain)
            nn.init.zeros_(layer.bias)
        for weight in (self.weight_ih, self.weight_hh):
            for gate in weight.chunk(4):  # input, forget, cell, output: torch's order
                nn.init.orthogonal_(gate)
        nn.init.ones_(self.bias_ih[hidden_dim : 2 * hidden_dim])

    def encode(self, features: Float[Tensor, "*batch feature"]) -> Float[Tensor, "*batch hidden"]:
        """What the LSTM takes in."""
        return _relu(self.norm(self.encoder(features)))

    def step(self, encoded: Float[Tensor, "batch hidden"], hidden: HiddenState) -> HiddenState:
        """One step of the cell. The output is the new `h`."""
        weights = (self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
        return HiddenState(*torch.lstm_cell(encoded, hidden, *weights))

    def unroll(
        self,
        encoded: Float[Tensor, "batch time hidden"],
        hidden: HiddenState,
        episode_starts: Bool[Tensor, "batch time"] | None = None,
    ) -> tuple[Float[Tensor, "batch time hidden"], HiddenState]:
        """Many steps by the fused kernel, in one piece between the times at which an episode starts anywhere.

        Args:
            encoded: from `encode`.
            hidden: the state before the first step.
            episode_starts: True resets the state before that step.

        Returns:
            `h` after every step, and the state after the last.
        """
        inner: list[int] = []
        if episode_starts is not None:
            inner = (episode_starts[:, 1:].any(0).nonzero().flatten() + 1).tolist()
        outputs = []
        for begin, end in pairwise([0, *inner, encoded.shape[1]]):
            if episode_starts is not None:
                hidden = hidden.reset(episode_starts[:, begin])
            output, hidden = self._advance(encoded[:, begin:end], hidden)
            outputs.append(output)
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=1), hidden

    def _advance(
        self, encoded: Float[Tensor, "batch time hidden"], hidden: HiddenState
    ) -> tuple[Float[Tensor, "batch time hidden"], HiddenState]:
        if encoded.shape[1] == 1:  # the fused kernel's set-up costs more than the step
            hidden = self.step(encoded[:, 0], hidden)
            return hidden.h[:, None], hidden
        output, h, c = torch.lstm(
            encoded,
            (hidden.h[None], hidden.c[None]),
            (self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh),
            has_biases=True,
            num_layers=1,
            dropout=0.0,
            train=torch.is_grad_enabled(),
            bidirectional=False,
            batch_first=True,
        )
        return output, HiddenState(h[0], c[0])

    def decode(self, core: Float[Tensor, "*batch hidden"]) -> Outputs:
        """Logits and values from the LSTM's output, in float32 whatever the weights are."""
        trunk = _relu(self.trunk(core))
        return Outputs(self.action_head(trunk).float(), self.value_head(trunk)[..., 0].float())

    def forward(
        self, features: Float[Tensor, "batch feature"], hidden: HiddenState
    ) -> tuple[Outputs, HiddenState]:
        """One step from features to outputs, of use to torch.func: all that depends on weights in one call."""
        hidden = self.step(self.encode(features), hidden)
        return self.decode(hidden.h), hidden


def _relu(x: Tensor) -> Tensor:
    """torch.relu, whose mask of bools the compiler would keep: on a CPU ten times the rest to write and to read."""
    return x * x.detach().sign().clamp_min(0.0) if torch.compiler.is_compiling() else torch.relu(x)
