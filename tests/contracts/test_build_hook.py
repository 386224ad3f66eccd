"""Nothing is built on drifted contracts; an sdist still builds away from the workspace."""

import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(shutil.which("uv") is None, reason="uv is not on PATH")

BLUEPRINTS = "packages/leyline-types/src/leyline_types/blueprints.py"


def build(project: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = ["uv", "build", "--no-progress", "--out-dir", "dist", *options]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("package", ["tamiyo-features", "tamiyo-masks", "tamiyo-policies"])
@pytest.mark.parametrize("kind", ["--sdist", "--wheel"])
def test_a_blueprint_without_its_lock_entry_stops_the_build(
    workspace: Path, edit: Callable[[str, str, str], None], package: str, kind: str
) -> None:
    edit(BLUEPRINTS, "    NORM = 3\n", "    NORM = 3\n    NEW = 13\n")
    result = build(workspace, "--package", package, kind)
    assert result.returncode != 0
    assert "BlueprintAction.NEW: not in the lock" in result.stderr
    assert not list((workspace / "dist").glob("tamiyo*"))


def test_an_sdist_builds_away_from_the_workspace(workspace: Path, tmp_path: Path) -> None:
    built = build(workspace, "--package", "tamiyo-masks")  # the sdist, and from it the wheel
    assert built.returncode == 0, built.stderr
    (archive,) = (workspace / "dist").glob("*.tar.gz")
    with tarfile.open(archive) as sdist:
        assert all(member.isfile() for member in sdist)
        sdist.extractall(tmp_path, filter="data")
    rebuilt = build(tmp_path / archive.name.removesuffix(".tar.gz"))
    assert rebuilt.returncode == 0, rebuilt.stderr
