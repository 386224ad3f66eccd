"""Checks of what callers of the environments may choose."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import numpy as np

RENDER_MODES: Final = ("ansi",)

RENDER_METADATA: Final = MappingProxyType({"render_modes": list(RENDER_MODES), "render_fps": 1})
"""What Gymnasium asks environments to tell about `render`; a frame per epoch."""

RESET_MASK: Final = "reset_mask"


def check_render_mode(render_mode: str | None) -> None:
    """Raise ValueError for a mode that there is not."""
    if render_mode not in (None, *RENDER_MODES):
        raise ValueError(f"`render_mode` must be 'ansi' or None, not {render_mode!r}")


def check_reset_options(options: Mapping[str, Any] | None, num_hosts: int) -> None:
    """Check that `options` of a reset holds nothing but a "reset_mask" that resets all hosts.

    Raises:
        ValueError: another option, or a mask that leaves hosts out or has another shape than [host].
        TypeError: a mask that is no array of bools.
    """
    unknown = sorted((options or {}).keys() - {RESET_MASK})
    if unknown:
        raise ValueError(f"`options` may hold {RESET_MASK!r}, not {', '.join(map(repr, unknown))}")
    if not options:
        return
    mask = options[RESET_MASK]
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
        raise TypeError(f"options['{RESET_MASK}'] must be a numpy array of bools, not {mask!r}")
    if mask.shape != (num_hosts,):
        raise ValueError(f"options['{RESET_MASK}'] must have shape ({num_hosts},), not {mask.shape}")
    if not mask.all():
        raise ValueError(
            f"options['{RESET_MASK}'] leaves out {int((~mask).sum())} of {num_hosts} hosts; hosts train in lockstep, "
            "so that all of their episodes begin at once: reset all, or use one GrowthEnv per host"
        )
