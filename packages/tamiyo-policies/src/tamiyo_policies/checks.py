"""The one place where inputs are held against what a policy takes: shapes, dtypes and devices, no tensor's values."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from leyline_types import HEAD_NAMES, FactoredActions, LifecycleOp, SlotConfig, head_sizes
from tamiyo_masks import ActionMasks, floors_by_head
from tamiyo_policies.errors import InferenceHiddenStateError, PolicyInputError
from tamiyo_policies.hidden import HiddenState


@dataclass(frozen=True)
class InputSpec:
    """What a policy takes. Each method raises `PolicyInputError`, naming what came and what was due.

    Args:
        slot_config: gives the width of every head.
        feature_dim: width of the features.
        state_dims: widths of `h` and `c`.
        device, dtype: of features and hidden state; masks and actions share the device.
    """

    slot_config: SlotConfig
    feature_dim: int
    state_dims: tuple[int, int]
    device: torch.device
    dtype: torch.dtype

    def step(self, features: Tensor, hidden: HiddenState) -> None:
        """Inputs of one step: features [batch, feature] or [batch, 1, feature], and the state before it."""
        if features.ndim == 3 and features.shape[1] != 1:
            raise PolicyInputError(
                f"one step takes features of shape [batch, feature] or [batch, 1, feature]; "
                f"`features` has shape {tuple(features.shape)}, {features.shape[1]} steps"
            )
        self.features(features, (2, 3))
        self.hidden(hidden, features.shape[0])

    def features(self, features: Tensor, ranks: tuple[int, ...]) -> None:
        """Features with one of these numbers of dimensions."""
        if features.ndim not in ranks:
            raise PolicyInputError(
                f"`features` has shape {tuple(features.shape)} but must have {' or '.join(map(str, ranks))} "
                "dimensions, the last of features"
            )
        if features.shape[-1] != self.feature_dim:
            raise PolicyInputError(
                f"`features` has {features.shape[-1]} features per step but the policy takes {self.feature_dim} "
                f"({len(self.slot_config)} slots)"
            )
        if features.ndim == 3 and 0 in features.shape:
            raise PolicyInputError(f"`features` has shape {tuple(features.shape)}: there is no step in it")
        self._placed("features", features, self.dtype)

    def masks(self, masks: ActionMasks, batch_shape: torch.Size) -> None:
        """Masks of every head with the batch shape of the features."""
        _need("masks", masks, ActionMasks)
        sizes = _mask_sizes(self.slot_config)
        if all(
            mask.shape == batch_shape + size and mask.dtype is torch.bool and mask.device == self.device
            for mask, size in zip(masks, sizes, strict=True)
        ):
            return  # at small batches it counts how soon
        try:
            masks.check(batch_shape, self.slot_config)
        except ValueError as error:
            raise PolicyInputError(f"masks do not fit features and slots: {error}") from None
        for name, mask in zip(masks._fields, masks, strict=True):
            self._placed(f"masks.{name}", mask, torch.bool)

    def actions(self, actions: FactoredActions[Tensor], batch_shape: torch.Size) -> None:
        """Integer indices of every head with the batch shape of the features."""
        _need("actions", actions, FactoredActions)
        for name, index in zip(HEAD_NAMES, actions, strict=True):
            if index.shape != batch_shape:
                raise PolicyInputError(
                    f"action `{name}` has shape {tuple(index.shape)} but the features have {tuple(batch_shape)}"
                )
            self._placed(f"actions.{name}", index, torch.int64)

    def hidden(self, hidden: HiddenState, batch: int) -> None:
        """A state for this many environments."""
        _need("hidden", hidden, HiddenState)
        for name, tensor, width in zip(hidden._fields, hidden, self.state_dims, strict=True):
            if tensor.shape != (batch, width):
                raise PolicyInputError(
                    f"hidden state `{name}` has shape {tuple(tensor.shape)} but features and policy make it "
                    f"{(batch, width)}"
                )
            self._placed(f"hidden.{name}", tensor, self.dtype)

    def episode_starts(self, starts: Tensor, batch_shape: torch.Size) -> None:
        """One flag per step."""
        if starts.shape != batch_shape:
            raise PolicyInputError(
                f"`episode_starts` has shape {tuple(starts.shape)} but the features have {tuple(batch_shape)}"
            )
        self._placed("episode_starts", starts, torch.bool)

    def floors(self, floors: Mapping[str, float] | None) -> Float[Tensor, " head"] | None:
        """Floors by head name, as a tensor in head order: compiled functions take other numbers as they are."""
        if floors is None:
            return None
        _need("floors", floors, Mapping)
        try:
            each = floors_by_head(floors)
        except ValueError as error:
            raise PolicyInputError(str(error)) from None
        return torch.tensor(each, dtype=torch.float32, device=self.device)

    def _placed(self, name: str, tensor: Tensor, dtype: torch.dtype) -> None:
        if tensor.dtype != dtype:
            raise PolicyInputError(f"`{name}` has dtype {tensor.dtype} but the policy takes {dtype}")
        if tensor.device != self.device:
            raise PolicyInputError(f"`{name}` is on {tensor.device} but the policy is on {self.device}")


def _need(name: str, value: object, kind: type) -> None:
    if not isinstance(value, kind):
        raise PolicyInputError(f"`{name}` is of type {type(value).__name__}, it must be {kind.__name__}")


@lru_cache
def _mask_sizes(slot_config: SlotConfig) -> tuple[tuple[int, ...], ...]:
    """The shape of each mask after the batch's."""
    return *((size,) for size in head_sizes(slot_config)), (len(LifecycleOp), len(slot_config))


def check_trainable(hidden: HiddenState) -> None:
    """Refuse a state that gradients cannot pass.

    Raises:
        InferenceHiddenStateError: it was made in inference mode.
        PolicyInputError: it is no `HiddenState`.
    """
    _need("hidden", hidden, HiddenState)
    if hidden.is_inference:
        raise InferenceHiddenStateError(
            "the hidden state was made in inference mode (initial_hidden, get_action) and carries no gradients; "
            "pass `hidden.for_training()`, or None to start from zeros"
        )
