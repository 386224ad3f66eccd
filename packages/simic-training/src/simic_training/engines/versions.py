"""What is installed of all that results may depend on."""

import platform
from functools import cache
from importlib.metadata import version
from typing import Final

PACKAGES: Final = (
    "leyline-types",
    "tamiyo-features",
    "tamiyo-masks",
    "tamiyo-policies",
    "kasmina-hosts",
    "simic-training",
)
"""The packages of this workspace."""

LIBRARIES: Final = ("torch", "numpy", "scipy", "scikit-learn", "safetensors")


@cache
def versions() -> dict[str, str]:
    """By name: Python, the packages and the libraries."""
    return {
        "Python": platform.python_version(),
        **{name: version(name) for name in (*PACKAGES, *LIBRARIES)},
    }
