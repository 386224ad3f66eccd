"""The package imports nothing outside the standard library; the proof is shown to be able to fail."""

import subprocess
import sys
from pathlib import Path

import pytest

import leyline_types

SOURCE = Path(leyline_types.__file__).parent
PROBE = """
import pkgutil, sys
before = set(sys.modules)
sys.path.insert(0, sys.argv[1])
import {package}
for module in pkgutil.walk_packages({package}.__path__, "{package}."):
    __import__(module.name)
new = {{name.partition(".")[0] for name in set(sys.modules) - before}}
foreign = sorted(new - set(sys.stdlib_module_names) - {{"{package}"}})
sys.exit("imports " + ", ".join(foreign) if foreign else 0)
"""


def probe(package: str, folder: Path) -> subprocess.CompletedProcess[str]:
    # -S keeps site-packages out; -I ignores the environment. What the package needs must then be its own folder's.
    command = [sys.executable, "-I", "-S", "-c", PROBE.format(package=package), str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_every_module_imports_from_the_standard_library_alone() -> None:
    result = probe("leyline_types", SOURCE.parent)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("line", "message"),
    [("import outsider", "imports outsider"), ("import not_installed_anywhere", "No module named")],
)
def test_the_proof_can_fail(tmp_path: Path, line: str, message: str) -> None:
    package = tmp_path / "impure"
    package.mkdir()
    (package / "__init__.py").write_text(line + "\n")
    (tmp_path / "outsider.py").write_text("")
    result = probe("impure", tmp_path)
    assert result.returncode != 0
    assert message in result.stderr
