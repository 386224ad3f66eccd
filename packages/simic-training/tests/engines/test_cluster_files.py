"""The files that set up a cluster, as far as they can be looked at without one."""

from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "cluster"
pytestmark = pytest.mark.skipif(not FOLDER.exists(), reason="only in the workspace")


@pytest.fixture(scope="module")
def cluster() -> Any:
    return pytest.importorskip("yaml").safe_load((FOLDER / "cluster.yaml").read_text())


def test_ray_takes_the_cluster_file(cluster: Any) -> None:
    util = pytest.importorskip("ray.autoscaler._private.util")
    util.validate_config(util.prepare_config(cluster))
    with pytest.raises(Exception, match="max_wokers"):
        util.validate_config(util.prepare_config({**cluster, "max_wokers": 3}))


def test_all_that_is_copied_into_the_image_is_there_and_whole() -> None:
    """Links in it lead nowhere else: hatch builds some packages with a script outside them."""
    root = FOLDER.parents[2]
    lines = (FOLDER / "Containerfile").read_text().splitlines()
    copied = [root / line.split()[1] for line in lines if line.startswith("COPY")]
    assert all(path.exists() for path in copied)
    links = [path for top in copied for path in top.rglob("*") if path.is_symlink()]
    assert links
    assert all(any(path.resolve().is_relative_to(top) for top in copied) for path in links)


def test_it_starts_the_image_that_the_other_file_builds(cluster: Any) -> None:
    text = (FOLDER / "Containerfile").read_text()
    assert f"-t {cluster['docker']['image']} ." in text
    assert "--package simic-training --extra ray" in text
    assert "openssh-client rsync" in text  # what `ray up` needs inside
    assert "-e RAY_AUTH_MODE=token" in cluster["docker"]["run_options"]
    assert cluster["file_mounts"] == {"~/.ray/auth_token": "~/.ray/auth_token"}
    address = next(word for word in cluster["worker_start_ray_commands"][-1].split() if "address" in word)
    port = address.rpartition(":")[2]
    assert f"--port={port}" in cluster["head_start_ray_commands"][-1]
