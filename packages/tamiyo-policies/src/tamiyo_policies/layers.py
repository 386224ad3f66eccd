"""The layers around whatever memory a network has: encoder, trunk, the logits of all heads, value.

    encode: relu(LayerNorm(W inputs))     decode: y = relu(W core), logits = W y, value = W y

Orthogonal first weights, small ones for the logits: Andrychowicz et al., What Matters in On-Policy Reinforcement
Learning?, 2021, https://arxiv.org/abs/2006.05990.
"""

from math import sqrt

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tamiyo_policies.policy_network import Outputs

_ACTION_GAIN = 0.01  # nearly equal logits: a fresh policy tries every legal choice


class ActorCriticLayers(nn.Module):
    """Two hidden layers with logits and a value on top.

    Args:
        input_dim: width of what is encoded.
        hidden_dim: width of every layer.
        num_choices: choices of all heads together.
    """

    def __init__(self, input_dim: int, hidden_dim: int, num_choices: int) -> None:
        super().__init__()
        self.encoder = nn.Linear(input_dim, hidden_dim)
        self.norm = nn.LayerNorm(hidden_dim)
        self.trunk = nn.Linear(hidden_dim, hidden_dim)
        self.action_head = nn.Linear(hidden_dim, num_choices)
        self.value_head = nn.Linear(hidden_dim, 1)
        gains = (
            (self.encoder, sqrt(2)),
            (self.trunk, sqrt(2)),
            (self.action_head, _ACTION_GAIN),
            (self.value_head, 1),
        )
        for layer, gain in gains:
            nn.init.orthogonal_(layer.weight, gain)
            nn.init.zeros_(layer.bias)

    def encode(self, inputs: Float[Tensor, "*batch input"]) -> Float[Tensor, "*batch hidden"]:
        """The first layer."""
        return _relu(self.norm(self.encoder(inputs)))

    def decode(self, core: Float[Tensor, "*batch hidden"]) -> Outputs:
        """The second layer and what stands on it, in float32 whatever the weights are."""
        trunk = _relu(self.trunk(core))
        return Outputs(self.action_head(trunk).float(), _to_one(self.value_head, trunk).float())


def _to_one(layer: nn.Linear, x: Tensor) -> Float[Tensor, "*batch"]:
    """The layer's only output; in compiled code as a sum, which fuses with what goes before, unlike a product."""
    if torch.compiler.is_compiling():
        return (x * layer.weight[0]).sum(-1) + layer.bias
    output: Tensor = layer(x)
    return output[..., 0]


def _relu(x: Tensor) -> Tensor:
    """torch.relu, whose mask of bools the compiler would keep: on a CPU ten times the rest to write and to read."""
    return x * x.detach().sign().clamp_min(0.0) if torch.compiler.is_compiling() else torch.relu(x)
