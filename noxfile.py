"""`nox` runs what every change must pass; `nox -l` lists the sessions and `nox -s NAME` runs one."""

import shutil
import tempfile
from pathlib import Path

import nox

nox.needs_version = ">=2026.4"
nox.options.default_venv_backend = "uv"
nox.options.reuse_venv = "yes"
nox.options.error_on_external_run = True

ROOT = Path(__file__).parent
WORKSPACE = nox.project.load_toml(ROOT / "pyproject.toml")
PACKAGES = sorted(path.parent for path in ROOT.glob("packages/*/pyproject.toml"))
SUITES = {path.name: path / "tests" for path in PACKAGES} | {WORKSPACE["project"]["name"]: ROOT / "tests"}
BENCHMARKED = [path for path in PACKAGES if (path / "tests/benchmarks").exists()]
# Without kept bytecode every process takes twice as long to import torch, and the tests start hundreds.
TEST_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": None}
EVERY_CORE = ("-n", "auto", "--dist", "worksteal")  # of pytest-xdist; most files stay whole on one core
QUICK, SLOW = "not slow and not compile and not cluster", "slow or compile"


def sync(session: nox.Session, *options: str) -> None:
    """Make the session's environment hold exactly what the options select from the workspace."""
    environment = {"UV_PROJECT_ENVIRONMENT": session.virtualenv.location}
    session.run_install("uv", "sync", "--quiet", "--no-default-groups", *options, env=environment)


def run_suite(session: nox.Session, suite: str, marked: str) -> None:
    """Run the tests of a suite that are marked so, with nothing but its own closure installed."""
    sync(session, "--package", suite, "--group", "test")
    options = [*EVERY_CORE, "-m", marked, *session.posargs]
    session.run("pytest", str(SUITES[suite]), *options, env=TEST_ENVIRONMENT)


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff's rules and its format."""
    sync(session, "--only-group", "lint")
    session.run("ruff", "check", *session.posargs)
    session.run("ruff", "format", "--check")


@nox.session
def typecheck(session: nox.Session) -> None:
    """Strict mypy, package by package: sources, tests and examples."""
    sync(session, "--group", "typecheck")
    for package in PACKAGES:
        folders = [package / name for name in ("src", "tests", "examples")]
        session.run("mypy", *(str(folder) for folder in folders if folder.exists()))
    for path in ("noxfile.py", "tools", "tests"):
        session.run("mypy", path)


@nox.session
def imports(session: nox.Session) -> None:
    """Who may import whom, between packages and inside them; and nothing undeclared or unused."""
    sync(session, "--group", "imports")
    session.run("lint-imports", "--no-logo")
    for package in PACKAGES:
        with session.chdir(package):
            session.run("lint-imports", "--no-logo", "pyproject.toml")
            session.run("deptry", "src")


@nox.session
def contracts(session: nox.Session) -> None:
    """Enum values, schema and everything built on them against the committed lock file."""
    sync(session, "--group", "test")
    session.run("python", "tools/check_contracts.py", "--check")


@nox.session
@nox.parametrize("suite", [nox.param(name, id=name) for name in SUITES])
def tests(session: nox.Session, suite: str) -> None:
    """Each package's tests with only its own closure installed, then the workspace's; but see `slow`, `cluster`."""
    run_suite(session, suite, QUICK)


@nox.session
@nox.parametrize("suite", [nox.param(name, id=name) for name in SUITES if name != "leyline-types"])
def slow(session: nox.Session, suite: str) -> None:
    """Tests marked `slow` or `compile`, which take ten seconds and more; CONTRIBUTING.md lists what they are."""
    run_suite(session, suite, SLOW)


@nox.session
def cluster(session: nox.Session) -> None:
    """Tests that start Ray clusters, one after the other: a cluster is ten processes, and most tests share one."""
    sync(session, "--package", "simic-training", "--group", "test")
    folder = SUITES["simic-training"]
    session.run("pytest", str(folder), "-m", "cluster", *session.posargs, env=TEST_ENVIRONMENT)


@nox.session(default=False)
@nox.parametrize("package", [nox.param(path, id=path.name) for path in BENCHMARKED])
def bench(session: nox.Session, package: Path) -> None:
    """Each package's benchmarks as a table of ratios; `-- --write` keeps it in the package's README."""
    sync(session, "--package", package.name, "--group", "bench")
    raw = Path(session.virtualenv.location) / f"{package.name}.json"
    folder = package / "tests/benchmarks"
    # Without the tests' conftest, which may check every call, but with the modules beside it.
    options = [
        f"--confcutdir={folder}",
        "-o",
        f"pythonpath={package / 'tests'}",
        "-o",
        "python_files=bench_*.py",
    ]
    session.run("pytest", str(folder), *options, f"--benchmark-json={raw}", env=TEST_ENVIRONMENT)
    session.run("python", "tools/bench_table.py", str(package), str(raw), *session.posargs)


@nox.session(default=False)
def fuzz(session: nox.Session) -> None:
    """Damaged and forged files by the thousand into everything that reads files; see tools/fuzz.py."""
    sync(session, "--group", "test")
    session.run("python", "tools/fuzz.py", *session.posargs, env=TEST_ENVIRONMENT)


@nox.session(default=False)
def flips(session: nox.Session) -> None:
    """Thousands of flipped bits in a run's state, each of which must cost nothing but a warning."""
    sync(session, "--package", "simic-training", "--group", "test")
    with tempfile.TemporaryDirectory() as folder:
        session.run(
            "python", "packages/simic-training/tests/runs/flipped_states.py", folder, env=TEST_ENVIRONMENT
        )


@nox.session(default=False, reuse_venv=False)
@nox.parametrize("package", [nox.param(path, id=path.name) for path in PACKAGES])
def wheels(session: nox.Session, package: Path) -> None:
    """Each package installed alone from its built wheel, and its tests, away from the workspace."""
    test_group = nox.project.dependency_groups(nox.project.load_toml(package / "pyproject.toml"), "test")
    options = ["--quiet", "--find-links", "dist", "--exclude-newer", WORKSPACE["tool"]["uv"]["exclude-newer"]]
    # uv keeps wheels by version: without this an older build of the same version would be installed.
    options += [f"--refresh-package={path.name}" for path in PACKAGES]
    with tempfile.TemporaryDirectory() as away, session.chdir(away):
        session.run_install("uv", "build", "--quiet", "--all-packages", "-o", f"{away}/dist", str(ROOT))
        session.install(*options, package.name)
        session.run("python", "-c", f"import {package.name.replace('-', '_')}")
        session.install(*options, *test_group)
        shutil.copytree(package / "tests", "tests")
        shutil.copy(package / "README.md", ".")
        session.run(
            "pytest", "-c", str(ROOT / "pyproject.toml"), "--rootdir", away, "tests", env=TEST_ENVIRONMENT
        )
