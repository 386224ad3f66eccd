"""All packages have one version, and pin each other to it."""

import tomllib
from pathlib import Path

PROJECTS = {
    path.parent.name: tomllib.loads(path.read_text(encoding="utf-8"))["project"]
    for path in Path(__file__).parents[1].glob("packages/*/pyproject.toml")
}


def test_all_packages_have_one_version() -> None:
    assert len(PROJECTS) == 6
    assert len({project["version"] for project in PROJECTS.values()}) == 1


def test_siblings_are_pinned_to_it() -> None:
    siblings = {f"{name}=={project['version']}" for name, project in PROJECTS.items()}
    for name, project in PROJECTS.items():
        named = {line for line in project["dependencies"] if line.startswith(tuple(PROJECTS))}
        assert named <= siblings, name
