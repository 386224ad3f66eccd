"""The lock file and the generated page of leyline-types: checked against the code and written from it."""

import ast
import json
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any

LEYLINE = Path("packages/leyline-types")
LOCK = LEYLINE / "contracts.lock.json"
PAGE = LEYLINE / "OBSERVATION.md"
SOURCE = LEYLINE / "src" / "leyline_types"


def check(root: Path) -> list[str]:
    """A line for each difference between the code in `root` and its lock file and generated page."""
    missing = [f"{path}: missing" for path in (LOCK, PAGE) if not (root / path).exists()]
    if missing:
        return missing
    lock = _read_lock(root)
    try:
        import leyline_types  # noqa: F401
    except (
        Exception
    ) as error:  # whatever a changed contract breaks at import, the enums tell which one it was
        return [
            f"leyline_types: {error}",
            *differences(lock["enums"], _enums_as_written(root, lock["enums"])),
        ]
    lines = list(differences(lock, _snapshot()))
    page, generated = (root / PAGE).read_text(encoding="utf-8").splitlines(), _generate_page().splitlines()
    if page != generated:
        pairs = zip([*page, ""], [*generated, ""], strict=False)
        number = next((n for n, (old, new) in enumerate(pairs, start=1) if old != new), len(page) + 1)
        lines.append(f"{PAGE}: line {number} is not what the schema generates")
    return lines


def write(root: Path) -> list[str]:
    """Write lock file and page; where contracts changed and the version did not rise, say so and write nothing."""
    lock, code = _read_lock(root), _snapshot()
    locked_version = lock.get("version", 0)
    changes = list(differences(lock | {"version": None}, code | {"version": None}))
    if changes and code["version"] <= locked_version:
        return [*changes, f"CONTRACTS_VERSION is {code['version']}, the lock's {locked_version}: not written"]
    fields_changed = lock and lock["schema"]["fields"] != code["schema"]["fields"]
    if fields_changed and code["schema"]["version"] <= lock["schema"]["version"]:
        return [*changes, f"SCHEMA_VERSION is {code['schema']['version']}, as in the lock: not written"]
    (root / LOCK).write_text(json.dumps(code, indent=2) + "\n", encoding="utf-8")
    (root / PAGE).write_text(_generate_page(), encoding="utf-8")
    return []


def differences(lock: object, code: object, where: str = "") -> Iterator[str]:
    """A line for each difference, naming the member or field: "BlueprintAction.NORM: lock 3, code 4"."""
    locked, coded = _keyed(lock), _keyed(code)
    if locked is None or coded is None:
        if lock != code:
            yield f"{where}: lock {json.dumps(lock)}, code {json.dumps(code)}"
        return
    for name in locked | coded:
        path = f"{where}.{name}" if where not in ("", "enums") else name
        if name not in coded:
            yield f"{path}: in the lock, missing in the code"
        elif name not in locked:
            yield f"{path}: not in the lock"
        else:
            yield from differences(locked[name], coded[name], path)
    if isinstance(lock, list):
        shared = [name for name in locked if name in coded], [name for name in coded if name in locked]
        for old, new in zip(*shared, strict=True):
            if old != new:
                yield f"{where}: out of order, lock has {old} where code has {new}"
                break


def _keyed(value: object) -> dict[str, Any] | None:
    """A dict as it is, a list by the names of its items; None for a plain value."""
    if isinstance(value, dict):
        return value
    if isinstance(value, list):
        return {item["name"] if isinstance(item, dict) else str(item): item for item in value}
    return None


def _snapshot() -> dict[str, Any]:
    from leyline_types import contracts  # on sys.path only once the command line is read

    plain: dict[str, Any] = json.loads(json.dumps(contracts.snapshot()))
    return plain


def _generate_page() -> str:
    from leyline_types import schema_markdown

    return schema_markdown.observation_markdown()


def _read_lock(root: Path) -> dict[str, Any]:
    path = root / LOCK
    lock: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return lock


def _enums_as_written(root: Path, names: Container[str]) -> dict[str, dict[str, int]]:
    """The enums of these names, read from the source without running it."""
    enums: dict[str, dict[str, int]] = {}
    for path in sorted((root / SOURCE).glob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and node.name in names:
                enums[node.name] = dict(_members(node))
    return enums


def _members(enum: ast.ClassDef) -> Iterator[tuple[str, int]]:
    for node in enum.body:
        if isinstance(node, ast.Assign):
            yield ast.unparse(node.targets[0]), ast.literal_eval(node.value)
