"""How much memory a run is said to need: of the widest hosts and the longest episodes that the family draws."""

import re
from dataclasses import replace

import pytest
from run_settings import TINY

from kasmina_hosts import HostConfig, HostFamily, host_bytes
from leyline_types import Topology, observation_schema
from simic_training.growth.draws import GIB, slots_of
from simic_training.runs.config import TrainConfig
from simic_training.runs.size import TooLargeError, check_size
from tamiyo_policies import register_builtin_policies


@pytest.fixture(autouse=True, scope="module")
def policies() -> None:
    register_builtin_policies()


def drawing(family: HostFamily, host: HostConfig = TINY.env.host) -> TrainConfig:
    return replace(TINY, env=replace(TINY.env, host=host, family=family))


def needed(config: TrainConfig) -> tuple[float, str]:
    """Bytes, and what most of them are for."""
    with pytest.raises(TooLargeError) as raised:
        check_size(replace(config, memory_limit=1e-9))
    found = re.fullmatch(
        r"these settings need at least (\S+) GiB, .*; most of it for (.*)", str(raised.value)
    )
    assert found is not None
    return float(found[1]) * GIB, found[2]


@pytest.mark.parametrize(("topology", "width"), [(Topology.CNN, 3000), (Topology.TRANSFORMER, 6000)])
def test_the_widest_hosts_count(topology: Topology, width: int) -> None:
    host = HostConfig(topology=topology)
    found, most = needed(drawing(HostFamily(class_counts=(10, 10), widths=(4, 3000)), host))
    # Where only the stem of a convolutional host sees neighbours, one stage is led through as many channels at least.
    stem = {"kernels": (5, 1, 1), "inner_widths": (0, width, 0)} if topology is Topology.CNN else {}
    least = host_bytes(replace(host, width=width, **stem), (1, 8, 8), 10)  # type: ignore[arg-type]
    assert 0.98 * least < found / TINY.env.group_size < 1.25 * least
    assert most == "2 hosts at once (`env.group_size`, `env.family.widths` up to 3000)"


def test_the_longest_episodes_count() -> None:
    found, most = needed(drawing(HostFamily(max_epochs=(1, 100_000))))
    features = TINY.batch * 100_000 * observation_schema(slots_of(TINY.env.host)).dim * 4
    assert found == pytest.approx(features, rel=0.02)
    assert most == "what 4 hosts observe in an update (`env.family.max_epochs` up to 100000)"


def test_what_fits_is_not_refused() -> None:
    check_size(TINY)
