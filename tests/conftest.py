"""No deadlines: a machine may have other things to do. And a copy of the workspace that a test may spoil."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("tensors", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tensors")

WORKSPACE = Path(__file__).parents[1]


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    root = tmp_path / "workspace"
    for folder in ("packages", "tools"):
        # Without bytecode: an edit within the second that keeps the size would not be noticed.
        ignore = shutil.ignore_patterns("__pycache__", "tests", "dist")
        shutil.copytree(WORKSPACE / folder, root / folder, symlinks=True, ignore=ignore)
    shutil.copy(WORKSPACE / "pyproject.toml", root)
    return root


@pytest.fixture
def edit(workspace: Path) -> Callable[[str, str, str], None]:
    """Replaces the one occurrence of a text in a file of the copy."""

    def replace(path: str, old: str, new: str) -> None:
        text = (workspace / path).read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{old!r} occurs {text.count(old)} times in {path}"
        (workspace / path).write_text(text.replace(old, new), encoding="utf-8")

    return replace
