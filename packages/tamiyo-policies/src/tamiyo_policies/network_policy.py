"""The bundle of any `PolicyNetwork`: acts and evaluates by two functions, which are what gets compiled."""

from collections.abc import Callable
from functools import partial
from typing import TypeVar, TypeVarTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from leyline_types import HEAD_NAMES, FactoredActions
from tamiyo_masks import ActionMasks, FactoredMaskedCategorical
from tamiyo_policies.base import PolicyBundleBase
from tamiyo_policies.compiled import CompiledFunction
from tamiyo_policies.config import CompileMode, PolicyConfig
from tamiyo_policies.functions import Acted, Scored, act, score
from tamiyo_policies.hidden import HiddenState
from tamiyo_policies.policy_network import PolicyNetwork
from tamiyo_policies.results import ActionResult, EvalResult, ForwardResult

_Ts = TypeVarTuple("_Ts")
_T = TypeVar("_T")


class NetworkPolicy(PolicyBundleBase):
    """A `PolicyBundle` around a network. Subclasses make the network, and say what of it is compiled besides.

    Args:
        config: what the policy is made from.
        network: holds every parameter.
    """

    def __init__(self, config: PolicyConfig, network: PolicyNetwork) -> None:
        super().__init__(config, network)
        self._net = network
        self._checkpointing = False
        self._act: Callable[[Tensor, ActionMasks, HiddenState, Tensor | None, Tensor | None], Acted] = (
            partial(act, network)
        )
        self._score: Callable[[Tensor, FactoredActions[Tensor], ActionMasks, Tensor | None], Scored] = (
            partial(score, network)
        )

    def enable_gradient_checkpointing(self, enabled: bool = True) -> None:
        """See `PolicyBundle`."""
        self._checkpointing = enabled

    def _on_compile(self, mode: CompileMode) -> None:
        self._act = self._compiled(self._act, mode)
        self._score = self._compiled(self._score, mode)

    def _compiled(self, function: Callable[[*_Ts], _T], mode: CompileMode) -> Callable[[*_Ts], _T]:
        """A function of the network, compiled."""
        return CompiledFunction(function, list(self._net.parameters()), mode, self.device)

    def _on_act(
        self,
        features: Float[Tensor, "batch feature"],
        masks: ActionMasks,
        hidden: HiddenState,
        deterministic: bool,
        generator: torch.Generator | None,
        floors: Float[Tensor, " head"] | None,
    ) -> ActionResult:
        uniform = None
        if not deterministic:
            # Drawn out here: a generator cannot enter a compiled graph.
            size = (features.shape[0], len(HEAD_NAMES))
            uniform = torch.rand(size, device=features.device, generator=generator)
        acted = self._act(features.contiguous(), masks, hidden, uniform, floors)
        return ActionResult(
            actions=acted.actions,
            log_prob=acted.log_prob,
            head_log_probs=acted.head_log_probs,
            value=acted.value,
            hidden=acted.hidden,
            masks=masks,
            logits=acted.logits,
        )

    def _on_value(
        self, features: Float[Tensor, "batch feature"], hidden: HiddenState, masks: ActionMasks | None
    ) -> Float[Tensor, " batch"]:
        return self._net.read(self._net.advance(features.contiguous(), hidden)[0], masks).value

    def _on_forward(
        self,
        features: Float[Tensor, "*batch feature"],
        masks: ActionMasks,
        hidden: HiddenState,
        episode_starts: Bool[Tensor, "*batch"] | None,
    ) -> ForwardResult:
        is_step = features.ndim == 2
        features, episode_starts = as_sequence(features, episode_starts)
        core, hidden = self._net.unroll(features, hidden, episode_starts)
        outputs = self._net.read(core[:, 0] if is_step else core, masks)
        distribution = FactoredMaskedCategorical(outputs.logits, masks)
        return ForwardResult(outputs.logits, distribution, outputs.value, hidden)

    def _on_evaluate(
        self,
        features: Float[Tensor, "batch time feature"],
        actions: FactoredActions[Tensor],
        masks: ActionMasks,
        hidden: HiddenState,
        episode_starts: Bool[Tensor, "batch time"] | None,
        floors: Float[Tensor, " head"] | None,
    ) -> EvalResult:
        steps = features.shape[:2]
        core, hidden = self._unroll(features, hidden, episode_starts)
        scored = self._save(
            self._score,
            self._rows(core),
            FactoredActions(*map(self._rows, actions)),
            ActionMasks(*map(self._rows, masks)),
            floors,
        )
        return EvalResult(
            log_prob=scored.log_prob.reshape(steps),
            head_log_probs=scored.head_log_probs.reshape(*steps, -1),
            value=scored.value.reshape(steps),
            entropy=scored.entropy.reshape(steps),
            hidden=hidden,
        )

    def _unroll(
        self,
        features: Float[Tensor, "batch time feature"],
        hidden: HiddenState,
        episode_starts: Bool[Tensor, "batch time"] | None,
    ) -> tuple[Float[Tensor, "batch time core"], HiddenState]:
        """`PolicyNetwork.unroll`, with what of it is compiled."""
        return self._net.unroll(features, hidden, episode_starts)

    def _rows(self, tensor: Tensor) -> Tensor:
        """[batch, time, ...] as [batch * time, ...]: compiled functions then see one size instead of pairs of sizes.

        In one piece, as a product of rows that lie apart may differ in the last bit; for compiled functions copied, as
        dynamo would tell views apart by the shapes of what they are views of.
        """
        rows = tensor.flatten(0, 1)
        return rows.clone(memory_format=torch.contiguous_format) if self.is_compiled else rows.contiguous()

    def _save(self, function: Callable[[*_Ts], _T], *args: *_Ts) -> _T:
        """The function's result; with checkpointing, its activations are recomputed in the backward pass."""
        if not self._checkpointing:
            return function(*args)
        result: _T = checkpoint(function, *args, use_reentrant=False)
        return result


def as_sequence(features: Tensor, episode_starts: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Features and starts with a time axis, of length 1 where they are of one step."""
    if features.ndim == 3:
        return features, episode_starts
    return features[:, None], None if episode_starts is None else episode_starts[:, None]
