"""The recurrent on-policy bundle: an LSTM that chooses the op first and the slot given the op."""

from collections.abc import Callable
from functools import partial
from typing import TypeVar, TypeVarTuple, final

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from leyline_types import HEAD_NAMES, FactoredActions, head_sizes
from tamiyo_masks import ActionMasks, FactoredMaskedCategorical
from tamiyo_policies.base import PolicyBundleBase
from tamiyo_policies.compiled import compiled
from tamiyo_policies.config import CompileMode, PolicyConfig
from tamiyo_policies.hidden import HiddenState
from tamiyo_policies.lstm_functions import Acted, Scored, act, score
from tamiyo_policies.lstm_network import LSTMNetwork
from tamiyo_policies.results import ActionResult, EvalResult, ForwardResult

_Ts = TypeVarTuple("_Ts")
_T = TypeVar("_T")


@final
class LSTMPolicy(PolicyBundleBase):
    """Registered as "lstm". `PolicyBundle` says what each member does.

    Acting is one function from features to actions. Evaluating is three: the encoder, the fused LSTM kernel, and
    everything after it. Compiling leaves the kernel out: that is faster than compiling around it.

    Args:
        config: its slots, telemetry and hidden width give the network's sizes.
    """

    def __init__(self, config: PolicyConfig) -> None:
        network = LSTMNetwork(config.schema.dim, config.hidden_dim, sum(head_sizes(config.slot_config)))
        super().__init__(config, network)
        self._lstm = network
        self._checkpointing = False
        self._act: Callable[[Tensor, ActionMasks, HiddenState, Tensor | None], Acted] = partial(act, network)
        self._encode: Callable[[Tensor], Tensor] = network.encode
        self._score: Callable[[Tensor, FactoredActions[Tensor], ActionMasks], Scored] = partial(
            score, network
        )

    @property
    def is_recurrent(self) -> bool:
        """True."""
        return True

    def enable_gradient_checkpointing(self, enabled: bool = True) -> None:
        """See `PolicyBundle`. All but the fused LSTM kernel, which keeps what it needs, is recomputed."""
        self._checkpointing = enabled

    def _on_compile(self, mode: CompileMode) -> None:
        self._act = compiled(self._act, mode, self.device)
        self._encode = compiled(self._encode, mode, self.device)
        self._score = compiled(self._score, mode, self.device)

    def _on_act(
        self,
        features: Float[Tensor, "batch feature"],
        masks: ActionMasks,
        hidden: HiddenState,
        deterministic: bool,
        generator: torch.Generator | None,
    ) -> ActionResult:
        uniform = None
        if not deterministic:
            # Drawn out here: a generator cannot enter a compiled graph.
            size = (features.shape[0], len(HEAD_NAMES))
            uniform = torch.rand(size, device=features.device, generator=generator)
        acted = self._act(features, masks, hidden, uniform)
        return ActionResult(
            actions=acted.actions,
            log_prob=acted.log_prob,
            head_log_probs=acted.head_log_probs,
            value=acted.value,
            hidden=acted.hidden,
            masks=masks,
            op_logits=acted.op_logits,
        )

    def _on_value(
        self, features: Float[Tensor, "batch feature"], hidden: HiddenState
    ) -> Float[Tensor, " batch"]:
        return self._lstm.forward(features, hidden)[0].value

    def _on_forward(
        self,
        features: Float[Tensor, "*batch feature"],
        masks: ActionMasks,
        hidden: HiddenState,
        episode_starts: Bool[Tensor, "*batch"] | None,
    ) -> ForwardResult:
        is_step = features.ndim == 2
        if is_step:
            features = features[:, None]
            episode_starts = None if episode_starts is None else episode_starts[:, None]
        core, hidden = self._lstm.unroll(self._lstm.encode(features), hidden, episode_starts)
        outputs = self._lstm.decode(core[:, 0] if is_step else core)
        distribution = FactoredMaskedCategorical(outputs.logits, masks)
        return ForwardResult(outputs.logits, distribution, outputs.value, hidden)

    def _on_evaluate(
        self,
        features: Float[Tensor, "batch time feature"],
        actions: FactoredActions[Tensor],
        masks: ActionMasks,
        hidden: HiddenState,
        episode_starts: Bool[Tensor, "batch time"] | None,
    ) -> EvalResult:
        steps = features.shape[:2]
        encoded = self._save(self._encode, self._rows(features)).reshape(*steps, -1)
        core, hidden = self._lstm.unroll(encoded, hidden, episode_starts)
        scored = self._save(
            self._score,
            self._rows(core),
            FactoredActions(*map(self._rows, actions)),
            ActionMasks(*map(self._rows, masks)),
        )
        return EvalResult(
            log_prob=scored.log_prob.reshape(steps),
            head_log_probs=scored.head_log_probs.reshape(*steps, -1),
            value=scored.value.reshape(steps),
            entropy=scored.entropy.reshape(steps),
            hidden=hidden,
        )

    def _rows(self, tensor: Tensor) -> Tensor:
        """[batch, time, ...] as [batch * time, ...]: compiled functions then see one size instead of pairs of sizes.

        For them it is copied, as dynamo would tell views apart by the shapes of what they are views of.
        """
        rows = tensor.flatten(0, 1)
        return rows.clone() if self.is_compiled else rows

    def _save(self, function: Callable[[*_Ts], _T], *args: *_Ts) -> _T:
        """The function's result; with checkpointing, its activations are recomputed in the backward pass."""
        if not self._checkpointing:
            return function(*args)
        result: _T = checkpoint(function, *args, use_reentrant=False)
        return result
