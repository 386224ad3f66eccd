"""`tools/check_contracts.py` passes on the workspace as it is and names whatever drifts in a copy of it."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from leyline_types import CONTRACTS_VERSION, SCHEMA_VERSION

LEYLINE = "packages/leyline-types/src/leyline_types"
FEATURES = "packages/tamiyo-features/src/tamiyo_features/__init__.py"


def run_tool(root: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(root / "tools" / "check_contracts.py"), "--root", str(root), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_untouched_workspace_passes(workspace: Path) -> None:
    result = run_tool(workspace)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("module", "old", "new", "named"),
    [
        ("blueprints", "    NORM = 3\n", "    NORM = 33\n", "BlueprintAction.NORM: lock 3, code 33"),
        ("blueprints", "    LORA = 8\n", "", "BlueprintAction.LORA: in the lock, missing in the code"),
        (
            "blueprints",
            "    NORM = 3\n",
            "    NORM = 3\n    NEW = 13\n",
            "BlueprintAction.NEW: not in the lock",
        ),
        ("stages", "    HOLDING = 6\n", "    HOLDING = 11\n", "SeedStage.HOLDING: lock 6, code 11"),
        ("stages", "    HOLDING = 6\n", "    HOLDING = 5\n", "SeedStage.HOLDING: lock 6, code 5"),
        ("legality", "MIN_PRUNE_AGE: Final = 1", "MIN_PRUNE_AGE: Final = 2", "min_prune_age: lock 1, code 2"),
        ("schema_fields", '"blend amplitude"', '"amplitude"', "packages/leyline-types/OBSERVATION.md: line"),
    ],
)
def test_drift_is_named(
    workspace: Path, edit: Callable[[str, str, str], None], module: str, old: str, new: str, named: str
) -> None:
    edit(f"{LEYLINE}/{module}.py", old, new)
    result = run_tool(workspace)
    assert result.returncode == 1
    assert named in result.stdout
    assert "raise CONTRACTS_VERSION" in result.stdout


def test_a_feature_moved_in_the_table_is_named(
    workspace: Path, edit: Callable[[str, str, str], None]
) -> None:
    edit(f"{LEYLINE}/schema_fields.py", '_value(_S, "alpha", "fraction", "blend amplitude"),', "")
    result = run_tool(workspace)
    assert result.returncode == 1
    assert "schema.fields.slot.alpha: in the lock, missing in the code" in result.stdout


def test_write_refuses_until_the_version_is_raised(
    workspace: Path, edit: Callable[[str, str, str], None]
) -> None:
    lock = workspace / "packages/leyline-types/contracts.lock.json"
    before = lock.read_text(encoding="utf-8")
    edit(f"{LEYLINE}/blueprints.py", "    NORM = 3\n", "    NORM = 3\n    NEW = 13\n")

    refused = run_tool(workspace, "--write")
    assert refused.returncode == 1
    assert "BlueprintAction.NEW: not in the lock" in refused.stdout
    assert lock.read_text(encoding="utf-8") == before

    raised = (f"Final = {CONTRACTS_VERSION}", f"Final = {CONTRACTS_VERSION + 1}")
    edit(f"{LEYLINE}/contracts.py", *(f"CONTRACTS_VERSION: {version}" for version in raised))
    half = run_tool(workspace, "--write")
    assert half.returncode == 1
    assert f"SCHEMA_VERSION is {SCHEMA_VERSION}, as in the lock: not written" in half.stdout
    assert lock.read_text(encoding="utf-8") == before

    raised = (f"Final = {SCHEMA_VERSION}", f"Final = {SCHEMA_VERSION + 1}")
    edit(f"{LEYLINE}/schema.py", *(f"SCHEMA_VERSION: {version}" for version in raised))
    assert run_tool(workspace, "--write").returncode == 0
    assert '"NEW": 13' in lock.read_text(encoding="utf-8")
    assert run_tool(workspace, "--pure").returncode == 0


@pytest.mark.parametrize("missing", ["contracts.lock.json", "OBSERVATION.md"])
def test_a_missing_record_is_drift(workspace: Path, missing: str) -> None:
    (workspace / "packages/leyline-types" / missing).unlink()
    result = run_tool(workspace, "--pure")
    assert result.returncode == 1
    assert f"{missing}: missing" in result.stdout


def test_wrong_usage_has_its_own_exit_code(workspace: Path, tmp_path: Path) -> None:
    assert run_tool(workspace, "--check", "--write").returncode == 2
    assert run_tool(workspace, "--root", str(tmp_path)).returncode == 2


def spoil(module: Path, function: str, change: str) -> None:
    """Make a function's result another one, without knowing how it comes about."""
    with module.open("a", encoding="utf-8") as source:
        source.write(f"_true_{function} = {function}\n")
        source.write(f"def {function}(*args, **options): return _true_{function}(*args, **options){change}\n")


def test_a_wrong_feature_dimension_is_named(workspace: Path) -> None:
    spoil(workspace / FEATURES, "extract_features", "[..., :-1]")
    spoil(workspace / FEATURES, "get_feature_size", " + 1")
    result = run_tool(workspace)
    assert result.returncode == 1
    assert "tamiyo_features.extract_features: " in result.stdout
    assert "tamiyo_features.get_feature_size: " in result.stdout


def test_misplaced_features_and_wrong_heads_are_named(
    workspace: Path, edit: Callable[[str, str, str], None]
) -> None:
    spoil(workspace / FEATURES, "extract_features", ".flip(-1)")
    network = "packages/tamiyo-policies/src/tamiyo_policies/layers.py"
    edit(network, "nn.Linear(hidden_dim, num_choices)", "nn.Linear(hidden_dim, num_choices - 1)")
    result = run_tool(workspace)
    assert result.returncode == 1
    assert "r0c0.stage=TRAINING: tamiyo_features.extract_features sets " in result.stdout
    assert "policy lstm: " in result.stdout
