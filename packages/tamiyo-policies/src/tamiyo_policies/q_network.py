"""Twin critics of factored actions, and the policy that they imply.

Two critics, so that a target can take the lower of both: Fujimoto et al., Addressing Function Approximation Error in
Actor-Critic Methods, 2018, https://arxiv.org/abs/1802.09477. State value and head values apart: Wang et al., Dueling
Network Architectures, 2016, https://arxiv.org/abs/1511.06581.
"""

from typing import Final, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from leyline_types import FactoredActions
from tamiyo_masks import ActionMasks, FactoredMaskedCategorical
from tamiyo_policies.action_values import greedy_actions, soft_logits, soft_values
from tamiyo_policies.errors import PolicyInputError
from tamiyo_policies.framed_network import FramedNetwork
from tamiyo_policies.frames import FrameStack
from tamiyo_policies.layers import ActorCriticLayers
from tamiyo_policies.policy_network import Outputs

NUM_CRITICS: Final = 2


@final
class QNetwork(FramedNetwork):
    """Acts by the mean of its critics: softmax of Q / temperature over all legal actions, or the greatest Q.

    Args:
        frames: what each critic sees.
        hidden_dim: width of every layer.
        num_choices: choices of all heads together.
        num_ops: choices of the op head, the last.
    """

    temperature: Tensor

    def __init__(self, frames: FrameStack, hidden_dim: int, num_choices: int, num_ops: int) -> None:
        super().__init__()
        self.frames = frames
        self.critics = nn.ModuleList(
            ActorCriticLayers(frames.input_dim, hidden_dim, num_choices) for _ in range(NUM_CRITICS)
        )
        self.register_buffer("temperature", torch.ones(()))
        self._num_ops = num_ops

    def q_values(self, core: Float[Tensor, "*batch input"]) -> Float[Tensor, "critic *batch choices"]:
        """The value of every choice, legal or not; the state's value is part of the ops'."""
        values = []
        for critic in self.critics:
            assert isinstance(critic, ActorCriticLayers)
            logits, value = critic.decode(critic.encode(core))
            heads, ops = logits[..., : -self._num_ops], logits[..., -self._num_ops :]
            values.append(torch.cat((heads, ops + value[..., None]), -1))
        return torch.stack(values)

    def read(self, core: Float[Tensor, "*batch input"], masks: ActionMasks | None) -> Outputs:
        """See `PolicyNetwork`. The value is the softmax's, its entropy counted in.

        Raises:
            PolicyInputError: there are no masks.
        """
        if masks is None:
            raise PolicyInputError(
                "`masks` is missing: action values make a state's value only over legal actions"
            )
        values, temperature = self.q_values(core).mean(0), self.temperature.float()
        return Outputs(soft_logits(values, masks, temperature), soft_values(values, masks, temperature))

    def mode(
        self,
        core: Float[Tensor, "*batch input"],
        masks: ActionMasks,
        distribution: FactoredMaskedCategorical,
    ) -> FactoredActions[Tensor]:
        """The legal action of the greatest Q."""
        return greedy_actions(self.q_values(core).mean(0), masks)[0]
