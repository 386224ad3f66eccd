"""A normaliser as named tensors, for checkpoints."""

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

from leyline_types import SlotConfig
from tamiyo_features.errors import NormalizerError
from tamiyo_features.normalizer import NormalizerState, check_learns, init_normalizer

_SAVED: Final = ("num_known", "mean", "m2", "clip", "min_std", "schema")
_SMALLEST: Final = torch.finfo(torch.float64).tiny
_LEAST: Final = {"mean": -torch.inf, "clip": _SMALLEST, "min_std": _SMALLEST}


def normalizer_to_tensors(state: NormalizerState) -> dict[str, Tensor]:
    """The state as named tensors on the CPU, for a checkpoint.

    Raises:
        NormalizerError: it is frozen.
    """
    check_learns(state)
    return {name: getattr(state, name).detach().cpu().contiguous() for name in _SAVED}


def normalizer_from_tensors(
    tensors: Mapping[str, Tensor],
    slot_config: SlotConfig,
    *,
    telemetry: bool = False,
    device: torch.device | str | None = None,
) -> NormalizerState:
    """The state that `normalizer_to_tensors` wrote, bit for bit.

    Raises:
        NormalizerError: tensors missing or unknown, of another shape or dtype, for other features, or with impossible
            values.
    """
    due = init_normalizer(slot_config, telemetry=telemetry, device=device)
    if tensors.keys() != set(_SAVED):
        raise NormalizerError(
            f"a normaliser has {', '.join(_SAVED)}, found were {', '.join(sorted(tensors))}"
        )
    for name in _SAVED:
        found, expected = tensors[name], getattr(due, name)
        if (found.shape, found.dtype) != (expected.shape, expected.dtype):
            raise NormalizerError(
                f"normaliser's {name} is {found.dtype} {tuple(found.shape)}, features of slots "
                f"{', '.join(slot_config)} need {expected.dtype} {tuple(expected.shape)}"
            )
        if not (found.isfinite() & (found >= _LEAST.get(name, 0.0))).all():
            raise NormalizerError(f"normaliser's {name} holds values that no normaliser can have")
    if not torch.equal(tensors["schema"].cpu(), due.schema.cpu()):
        raise NormalizerError(
            f"normaliser is for schema {bytes(tensors['schema'].tolist()).hex()[:12]}, features of slots "
            f"{', '.join(slot_config)} have {bytes(due.schema.tolist()).hex()[:12]}"
        )
    with torch.inference_mode(False):
        return due._replace(**{name: tensors[name].to(due.gate.device, copy=True) for name in _SAVED})
