"""How the sources are written, where no run would show it: imports at the top, no helper made anew at each call."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = sorted(path.parent for path in ROOT.glob("packages/*/pyproject.toml"))
OURS = "|".join(path.name.replace("-", "_") for path in PACKAGES)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)

BY_PACKAGE = pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)


def late_imports(source: str) -> Iterator[str]:
    """Imports inside functions, but for other people's slow modules in functions that are cached and so run once."""
    for function in ast.walk(ast.parse(source)):
        if isinstance(function, FUNCTIONS):
            runs_once = any(
                re.search(r"\bcache\b|\blru_cache\b", ast.unparse(each)) for each in function.decorator_list
            )
            for node in ast.walk(function):
                if isinstance(node, ast.Import | ast.ImportFrom) and not (
                    runs_once and not re.search(OURS, ast.unparse(node))
                ):
                    yield f"line {node.lineno}: {function.name} imports"


def helpers_in_methods(source: str) -> Iterator[str]:
    """Functions defined inside methods, and so again at each call; constructors run once and may."""
    for owner in ast.walk(ast.parse(source)):
        if isinstance(owner, ast.ClassDef):
            for method in owner.body:
                if isinstance(method, FUNCTIONS) and method.name != "__init__":
                    for node in ast.walk(method):
                        if isinstance(node, FUNCTIONS) and node is not method:
                            yield f"line {node.lineno}: {owner.name}.{method.name} defines {node.name}"


def silenced_types(source: str) -> Iterator[str]:
    """Comments that silence the type checker, but for decorators of torch that carry no types."""
    for number, line in enumerate(source.splitlines(), start=1):
        if re.search(r"#\s*type:\s*ignore", line) and "ignore[untyped-decorator]" not in line:
            yield f"line {number}: {line.strip()}"


def found(package: Path, look: object) -> list[str]:
    assert callable(look)
    paths = sorted((package / "src").rglob("*.py"))
    assert paths
    return [f"{path.name}, {line}" for path in paths for line in look(path.read_text(encoding="utf-8"))]


@BY_PACKAGE
def test_imports_stand_at_the_top(package: Path) -> None:
    assert not found(package, late_imports)


@BY_PACKAGE
def test_no_method_defines_a_helper(package: Path) -> None:
    assert not found(package, helpers_in_methods)


def test_policies_do_not_silence_the_type_checker() -> None:
    assert not found(ROOT / "packages/tamiyo-policies", silenced_types)


def test_each_of_them_is_seen() -> None:
    source = """
import os
class Policy:
    def __init__(self):
        def once(): ...
    def forward(self):
        from os import path
        def expand_mask(mask): ...
        self.network = compile(self.network)  # type: ignore[assignment]
@lru_cache(maxsize=1)
def load():
    import sklearn
    from kasmina_hosts import digits
"""
    assert sorted(late_imports(source)) == ["line 13: load imports", "line 7: forward imports"]
    assert list(helpers_in_methods(source)) == ["line 8: Policy.forward defines expand_mask"]
    assert [line.partition(":")[0] for line in silenced_types(source)] == ["line 9"]
