"""The recurrent network: one LSTM layer between encoder and trunk.

Hochreiter and Schmidhuber, Long Short-Term Memory, 1997, https://www.bioinf.jku.at/publications/older/2604.pdf; the
forget gate is biased to 1 at first as in Jozefowicz et al., An Empirical Exploration of Recurrent Network
Architectures, 2015, https://proceedings.mlr.press/v37/jozefowicz15.html.
"""

from typing import final

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import linear

from tamiyo_masks import ActionMasks
from tamiyo_policies.hidden import HiddenState
from tamiyo_policies.layers import ActorCriticLayers
from tamiyo_policies.policy_network import Outputs, PolicyNetwork
from tamiyo_policies.reset_steps import mark_weights, stretch


@final
class LSTMNetwork(ActorCriticLayers, PolicyNetwork):
    """Owns every weight, those of the LSTM as plain parameters: dynamo breaks the graph on attributes of nn.LSTM.

    Args:
        feature_dim, hidden_dim: widths of input and of every layer.
        num_choices: choices of all heads together.
    """

    def __init__(self, feature_dim: int, hidden_dim: int, num_choices: int) -> None:
        super().__init__(feature_dim, hidden_dim, num_choices)
        self.weight_ih = nn.Parameter(torch.empty(4 * hidden_dim, hidden_dim))
        self.weight_hh = nn.Parameter(torch.empty(4 * hidden_dim, hidden_dim))
        self.bias_ih = nn.Parameter(torch.zeros(4 * hidden_dim))
        self.bias_hh = nn.Parameter(torch.zeros(4 * hidden_dim))
        for weight in (self.weight_ih, self.weight_hh):
            for gate in weight.chunk(4):  # input, forget, cell, output: torch's order
                nn.init.orthogonal_(gate)
        nn.init.ones_(self.bias_ih[hidden_dim : 2 * hidden_dim])

    def advance(
        self, features: Float[Tensor, "batch feature"], hidden: HiddenState
    ) -> tuple[Float[Tensor, "batch hidden"], HiddenState]:
        """See `PolicyNetwork`."""
        hidden = self.step(self.encode(features), hidden)
        return hidden.h, hidden

    def unroll(
        self,
        features: Float[Tensor, "batch time feature"],
        hidden: HiddenState,
        episode_starts: Bool[Tensor, "batch time"] | None = None,
    ) -> tuple[Float[Tensor, "batch time hidden"], HiddenState]:
        """See `PolicyNetwork`."""
        return self.recur(self.encode(features), hidden, episode_starts)

    def read(self, core: Float[Tensor, "*batch hidden"], masks: ActionMasks | None) -> Outputs:
        """See `PolicyNetwork`. The masks make no difference."""
        return self.decode(core)

    def step(self, encoded: Float[Tensor, "batch hidden"], hidden: HiddenState) -> HiddenState:
        """One step of the cell, spelt out, as torch.func cannot map torch.lstm_cell. The output is the new `h`."""
        gates = linear(encoded, self.weight_ih, self.bias_ih) + linear(hidden.h, self.weight_hh, self.bias_hh)
        take_in, keep, new, give_out = gates.chunk(4, -1)
        c = torch.sigmoid(keep) * hidden.c + torch.sigmoid(take_in) * torch.tanh(new)
        return HiddenState(torch.sigmoid(give_out) * torch.tanh(c), c)

    def recur(
        self,
        encoded: Float[Tensor, "batch time hidden"],
        hidden: HiddenState,
        episode_starts: Bool[Tensor, "batch time"] | None = None,
    ) -> tuple[Float[Tensor, "batch time hidden"], HiddenState]:
        """Many steps by one call of the fused kernel.

        Args:
            encoded: from `encode`.
            hidden: the state before the first step.
            episode_starts: True resets the state before that step.

        Returns:
            `h` after every step, and the state after the last.
        """
        if episode_starts is None:
            return self._run(encoded, hidden, self.weight_ih)
        hidden = hidden.reset(episode_starts[:, 0])
        inside = torch.cat((torch.zeros_like(episode_starts[:, :1]), episode_starts[:, 1:]), dim=1)
        most = int(inside.sum(1).amax())
        if most == 0:
            return self._run(encoded, hidden, self.weight_ih)
        inputs, places = stretch(encoded, inside, most)
        output, last = self._run(inputs, hidden, mark_weights(self.weight_ih))
        output = output.flatten(0, 1).index_select(0, places).unflatten(0, encoded.shape[:2])
        return output, HiddenState(output[:, -1], last.c)  # what held the state gave out something else

    def _run(
        self,
        inputs: Float[Tensor, "batch time width"],
        hidden: HiddenState,
        weight_ih: Float[Tensor, "gates width"],
    ) -> tuple[Float[Tensor, "batch time hidden"], HiddenState]:
        if inputs.shape[1] == 1:  # the fused kernel's set-up costs more than the step
            hidden = self.step(inputs[:, 0], hidden)
            return hidden.h[:, None], hidden
        output, h, c = torch.lstm(
            inputs,
            (hidden.h[None], hidden.c[None]),
            (weight_ih, self.weight_hh, self.bias_ih, self.bias_hh),
            has_biases=True,
            num_layers=1,
            dropout=0.0,
            train=torch.is_grad_enabled(),
            bidirectional=False,
            batch_first=True,
        )
        return output, HiddenState(h[0], c[0])
