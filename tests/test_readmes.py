"""Every Python example in a README runs."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README_PATHS = [ROOT / "README.md", *sorted(ROOT.glob("packages/*/README.md"))]


@pytest.mark.slow
@pytest.mark.parametrize("path", README_PATHS, ids=lambda path: path.parent.name)
def test_examples_run(path: Path, tmp_path: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert blocks or path.parent == ROOT
    for block in blocks:
        result = subprocess.run(
            [sys.executable, "-W", "error", "-c", block],
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("path", README_PATHS[1:], ids=lambda path: path.parent.name)
def test_first_line_says_what_is_owned_and_never_imported(path: Path) -> None:
    first = path.read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith(f"**{path.parent.name} owns ")
    assert "never import" in first or "none of them ever imports it" in first


@pytest.mark.parametrize("path", README_PATHS[1:], ids=lambda path: path.parent.name)
def test_modules_named_in_the_map_exist(path: Path) -> None:
    source = next((path.parent / "src").iterdir())
    rows = re.findall(r"^\|[^|]+\|([^|]+)\|[^|]+\|$", path.read_text(encoding="utf-8"), re.MULTILINE)
    modules = {name for row in rows for name in re.findall(r"`([\w.]+)`", row) if name.islower()}
    missing = {name for name in modules if not (source / f"{name.replace('.', '/')}.py").exists()}
    assert modules
    assert not missing
