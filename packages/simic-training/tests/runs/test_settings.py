"""Settings come back from plain data as they were, and whatever is wrong with them is said by name, value and place."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kasmina_hosts import LACKS, HostConfig, HostFamily, Lack, OptimizerKind
from leyline_types import BlueprintAction, LegalityRules, Topology
from simic_training.growth.config import GrowthConfig
from simic_training.ppo.config import PPOConfig, Ratio
from simic_training.runs.config import TrainConfig
from simic_training.runs.presets import DEFAULT_PRESET, PRESETS, preset
from simic_training.runs.setting_names import argument_meanings, every_setting, every_table, nearest_setting
from simic_training.runs.settings import ConfigError, config_from_mapping, config_to_mapping
from simic_training.runs.sources import combine, from_flags, from_preset, from_toml, to_text

positive = st.floats(min_value=1e-300, max_value=1e30)
fractions = st.floats(min_value=0, max_value=1)
counts = st.integers(1, 10**6)
germinable = st.sampled_from([each for each in BlueprintAction if each is not BlueprintAction.NOOP])


def some(choices: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(choices, min_size=1, max_size=4).map(tuple)


def pairs(numbers: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Least and greatest."""
    return st.lists(numbers, min_size=2, max_size=2).map(sorted).map(tuple)


RULES = st.builds(
    LegalityRules,
    enabled_slots=st.none() | some(st.sampled_from(["r0c0", "r0c2", "r11c3"])),
    enabled_blueprints=st.none() | some(germinable),
    min_prune_age=st.integers(0, 99),
    allow_governor_override=st.booleans(),
    sequential_development=st.booleans(),
)
ENVS = st.builds(
    GrowthConfig,
    group_size=st.integers(2, 99),
    prices=pairs(st.floats(1e-9, 1e9)),
    family=st.builds(
        HostFamily,
        lacks=st.permutations([lack for lack in Lack if lack in LACKS[Topology.CNN]]).flatmap(
            lambda lacks: st.integers(1, len(lacks)).map(lambda count: tuple(lacks[:count]))
        ),
        class_counts=pairs(st.integers(2, 10)),
        widths=pairs(st.integers(4, 10**6)),
        max_label_noise=fractions,
        max_epochs=pairs(counts),
    ),
    host=st.builds(
        HostConfig,
        learning_rate=positive,
        optimizer=st.sampled_from(OptimizerKind),
        co_adapt=st.booleans(),
    ),
    rules=RULES,
)
CONFIGS = st.builds(
    TrainConfig,
    seed=st.integers(0, 999_999),
    policy=st.text(),
    episodes=counts,
    normalize=st.booleans(),
    prune_from=fractions,
    env=ENVS,
    ppo=st.builds(PPOConfig, ratio=st.sampled_from(Ratio), learning_rate=positive, gamma=fractions),
)


@given(CONFIGS)
def test_settings_come_back_from_json(config: TrainConfig) -> None:
    text = json.dumps(config_to_mapping(config), allow_nan=False)
    assert config_from_mapping(json.loads(text), complete=True) == config


@given(CONFIGS)
def test_settings_come_back_from_flags(config: TrainConfig) -> None:
    texts = {name: to_text(value) for name, value in leaves(config_to_mapping(config)).items()}
    assert combine([from_preset("full"), from_flags(texts)]) == config


def leaves(content: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in content.items():
        found |= leaves(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return found


def test_every_field_is_a_setting_with_a_meaning() -> None:
    settings = every_setting()
    assert sorted(setting.name for setting in settings) == sorted(leaves(config_to_mapping(TrainConfig())))
    assert all(len(setting.meaning) > 3 for setting in settings)
    (rounds,) = (setting for setting in settings if setting.name == "ppo.epochs")
    assert rounds.meaning.startswith(
        "passes over each batch of trajectories; ended early when the KL divergence"
    )
    assert every_table() == ("env", "env.family", "env.host", "env.rules", "ppo")


@dataclass
class Told:
    """Settings that a docstring tells of in every way.

    Args:
        width, height: of the image. depth: of both,
            if any. Note: it is deep.
        colour: what it says.

    Raises:
        size: no setting.
    """

    width: int = 1
    height: int = 1
    depth: int = 1
    colour: str = ""


def test_meanings_are_read_off_docstrings() -> None:
    assert argument_meanings(Told) == {
        "width": "of the image.",
        "height": "of the image.",
        "depth": "of both, if any. Note: it is deep.",
        "colour": "what it says.",
    }


def test_a_missing_setting_is_no_default_where_all_are_due() -> None:
    content = config_to_mapping(TrainConfig())
    del content["env"]["family"]["max_epochs"]
    with pytest.raises(ConfigError, match=r"`env\.family\.max_epochs` is missing"):
        config_from_mapping(content, complete=True)
    del content["env"]
    with pytest.raises(ConfigError, match="`env` is missing"):
        config_from_mapping(content, complete=True)
    assert config_from_mapping(content) == TrainConfig()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"seed": True}, "`seed` must be an integer, not True"),
        ({"seed": 1.0}, "`seed` must be an integer, not 1.0"),
        ({"seed": "1"}, "`seed` must be an integer, not '1'"),
        ({"seed": None}, "`seed` must be an integer, not None"),
        ({"normalize": 1}, "`normalize` must be true or false, not 1"),
        ({"prune_from": True}, "`prune_from` must be a number, not True"),
        ({"policy": 3}, "`policy` must be text, not 3"),
        ({"env": 3}, "`env` must be a table, not 3"),
        ([], r"`the settings` must be a table, not \[\]"),
        (
            {"env": {"family": {"widths": 4}}},
            r"`env\.family\.widths` must be a list of 2, each an integer, not 4",
        ),
        (
            {"env": {"family": {"widths": "46"}}},
            r"`env\.family\.widths` must be a list of 2, each an integer, not '46'",
        ),
        (
            {"env": {"family": {"widths": [4]}}},
            r"`env\.family\.widths` must be a list of 2, each an integer, not \[4\]",
        ),
        (
            {"env": {"prices": [0.1, 0.3, 1]}},
            r"`env\.prices` must be a list of 2, each a number, not \[0.1, 0.3, 1\]",
        ),
        ({"env": {"prices": 0.3}}, r"`env\.prices` must be a list of 2, each a number, not 0.3"),
        (
            {"env": {"family": {"lacks": ["nothing", "width", "norms"]}}},
            r"`env\.family\.lacks\[2\]` must be one of nothing, kernels, squeeze, norm, attention, width, not 'norms'",
        ),
        (
            {"env": {"family": {"lacks": ["attention"]}}},
            r"`env\.family\.lacks` must hold some of nothing, kernels, squeeze, norm, width, ",
        ),
        (
            {"env": {"host": {"max_epochs": 9}}},
            r"`env\.host\.max_epochs` is drawn from `env\.family\.max_epochs`, which is what to set, and not to 9",
        ),
        ({"env": {"host": {"width": 5}}}, r"`env\.host\.width` is drawn from `env\.family\.widths`"),
        (
            {"env": {"family": {"widths": [4, 4.5]}}},
            r"`env\.family\.widths\[1\]` must be an integer, not 4.5",
        ),
        (
            {"env": {"rules": {"enabled_blueprints": ["nrom"]}}},
            r"enabled_blueprints\[0\]` must be one of noop, conv_",
        ),
        (
            {"env": {"rules": {"enabled_blueprints": [3]}}},
            r"enabled_blueprints\[0\]` must be one of noop, conv_",
        ),
        (
            {"env": {"rules": {"enabled_slots": ["7"]}}},
            r"`env\.rules\.enabled_slots`: slot id '7' must have the form",
        ),
        ({"env": {"host": {"topology": "rnn"}}}, "topology` must be one of cnn, transformer, not 'rnn'"),
        ({"ppo": {"clip": 10**400}}, "`ppo.clip` must be a number below 1.8e308, not 1000"),
        ({"ppo": {"clip": float("nan")}}, r"`ppo\.clip` must be above 0 and at most 1e\+30, not nan"),
        ({"env": {"prices": [0, 1]}}, r"`env\.prices` must be above 0 .*, the least first, not \(0.0, 1.0\)"),
        ({"env": {"prices": [0.1, float("inf")]}}, r"`env\.prices` must be above 0 .* not \(0.1, inf\)"),
        ({"env": {"rent_rate": 0.3}}, r"unknown key `env\.rent_rate`; the nearest is `env\."),
        ({"env": {"family": {"label_noises": [0]}}}, r"unknown key `env\.family\.label_noises`"),
        ({"env": {"replicas": 3}}, r"`env\.replicas` \(3\) must divide `env\.group_size` \(8\)"),
        ({"groups": 1, "env": {"group_size": 1}}, "must be at least 2"),
        ({"learning_rate": 1}, "unknown key `learning_rate`; the nearest is `ppo.learning_rate`"),
        (
            {"env": {"learning_rate": 1}},
            r"unknown key `env\.learning_rate`; the nearest is `env\.host\.learning_rate`",
        ),
        ({"epsiodes": 1}, "unknown key `epsiodes`; the nearest is `episodes`"),
        ({"pop": {}}, "unknown key `pop`; the nearest is `ppo`"),
        ({"env": {"hots": {"width": 3}}}, r"unknown key `env\.hots`; the nearest is `env\.host`"),
    ],
)
def test_wrong_settings_are_refused(content: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config_from_mapping(content)


def test_integers_stand_for_numbers() -> None:
    config = config_from_mapping({"prune_from": 1, "env": {"prices": [1, 2]}})
    assert type(config.prune_from) is float
    assert config.env.prices == (1.0, 2.0)
    assert all(type(price) is float for price in config.env.prices)


def test_names_of_enumerations_have_no_case() -> None:
    config = config_from_mapping({"env": {"rules": {"enabled_blueprints": ["NORM", "conv_light"]}}})
    assert config.env.rules.enabled_blueprints == (BlueprintAction.NORM, BlueprintAction.CONV_LIGHT)
    config = config_from_mapping({"env": {"family": {"lacks": ["Nothing", "KERNELS"]}}})
    assert config.env.family.lacks == (Lack.NOTHING, Lack.KERNELS)


TOML = """\
seed = 3
policy = "mlp"

[env]
group_size = 4
prices = [0.1, 1.0]

[env.family]
lacks = ["nothing", "kernels"]
class_counts = [
    2,
    5,
]

[ppo]
ratio = "joint"
"""


def test_file_wins_over_preset_and_flags_over_both(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text(TOML)
    config = combine(
        [from_preset("quick"), from_toml(path), from_flags({"seed": "4", "env.family.widths": "5,6"})]
    )
    assert (config.seed, config.policy, config.env.group_size, config.ppo.ratio) == (4, "mlp", 4, Ratio.JOINT)
    assert (config.env.prices, config.env.family.widths) == ((0.1, 1.0), (5, 6))
    assert config.env.family.lacks == (Lack.NOTHING, Lack.KERNELS)
    assert config.env.family.class_counts == (2, 5)
    assert config.episodes == preset("quick").episodes


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seed = 3", "seed = 3.5", "line 1: `seed` must be an integer, not 3.5"),
        ("seed = 3", "sed = 3", "line 1: unknown key `sed`; the nearest is `seed`"),
        (
            "prices = [0.1, 1.0]",
            "prices = [0.1, 0.0]",
            r"line 6: `env\.prices` must be above 0 .*, the least first, not \(0.1, 0.0\)",
        ),
        (
            "prices = [0.1, 1.0]",
            "host.max_epochs = 7",
            r"line 6: `env\.host\.max_epochs` is drawn from `env\.family\.max_epochs`",
        ),
        ("    5,", '    "5",', r"line 13: `env\.family\.class_counts\[1\]` must be an integer, not '5'"),
        ("    5,", "    1,", r"line 13: `env\.family\.class_counts` must be from 2 .* not \(2, 1\)"),
        ('"kernels"', '"kernel"', r"line 9: `env\.family\.lacks\[1\]` must be one of nothing, "),
        ('ratio = "joint"', "ratio = true", r"line 16: `ppo\.ratio` must be one of head, joint, not True"),
        ("[ppo]", "[pop]", "line 15: unknown key `pop`; the nearest is `ppo`"),
        ("[ppo]", "[ppo", "is not valid TOML: .*line 15"),
        ("group_size = 4", "group_size = 4\ngroup_size = 5", "is not valid TOML: .*line 6"),
    ],
)
def test_file_and_line_of_a_fault_are_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "settings.toml"
    path.write_text(TOML.replace(old, new))
    with pytest.raises(ConfigError, match=f"{path}.*{message}"):
        combine([from_preset("quick"), from_toml(path)])


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"cannot be read: {tmp_path} is a folder, expected a regular"):
        from_toml(tmp_path)
    with pytest.raises(ConfigError, match="cannot be read: No such file or directory"):
        from_toml(tmp_path / "nowhere.toml")
    (tmp_path / "latin.toml").write_bytes(b'policy = "\xe4"')
    with pytest.raises(ConfigError, match=r"latin\.toml is not UTF-8 text"):
        from_toml(tmp_path / "latin.toml")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("seed", "1e3", "--seed: `seed` must be an integer, not '1e3'"),
        ("seed", "", "--seed: `seed` must be an integer, not ''"),
        ("seed", "none", "--seed: `seed` must be an integer, not 'none'"),
        ("normalize", "yes", "--normalize: `normalize` must be true or false, not 'yes'"),
        (
            "ppo.learning_rate",
            "fast",
            r"--ppo\.learning-rate: `ppo\.learning_rate` must be a number, not 'fast'",
        ),
        (
            "ppo.learning_rate",
            "nan",
            r"--ppo\.learning-rate: `ppo\.learning_rate` must be above 0 and at most 1e\+30, not nan",
        ),
        (
            "env.family.widths",
            "4,,6",
            r"--env\.family\.widths: `env\.family\.widths` must be a list of 2, each an integer, not \[4, '', 6\]",
        ),
        (
            "env.family.widths",
            "4,",
            r"--env\.family\.widths: `env\.family\.widths\[1\]` must be an integer, not ''",
        ),
        (
            "env.family.widths",
            "[4, 6",
            r"--env\.family\.widths: .* must be a list of 2, each an integer, not '\[4, 6'",
        ),
        (
            "env.family.widths",
            "",
            r"--env\.family\.widths: `env\.family\.widths` must be a list of 2, each an integer, not \[\]",
        ),
        (
            "env.family.lacks",
            "",
            r"--env\.family\.lacks: `env\.family\.lacks` must hold at least one",
        ),
        (
            "env.rules.enabled_slots",
            "r0c0,x",
            r"--env\.rules\.enabled-slots: .*slot id 'x' must have the form",
        ),
    ],
)
def test_the_flag_at_fault_is_named(name: str, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        combine([from_preset("quick"), from_flags({name: text})])


@pytest.mark.parametrize("text", ["4,6", "4, 6", "[4, 6]", "[\n4,\n6,\n]"])
def test_lists_as_flags(text: str) -> None:
    config = combine([from_flags({"env.family.widths": text, "env.rules.enabled_slots": "none"})])
    assert config.env.family.widths == (4, 6)
    assert config.env.rules.enabled_slots is None


def test_pairs_and_names_as_flags() -> None:
    config = combine([from_flags({"env.prices": "0.1,1", "env.family.lacks": "nothing, kernels"})])
    assert config.env.prices == (0.1, 1.0)
    assert config.env.family.lacks == (Lack.NOTHING, Lack.KERNELS)


def test_the_last_that_set_it_is_to_blame(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text("[env]\nreplicas = 2\n")
    sources = [from_preset("quick"), from_toml(path), from_flags({"env.group_size": "3"})]
    with pytest.raises(ConfigError, match=r"--env\.group-size: `env\.replicas` \(2\) must divide"):
        combine(sources)
    with pytest.raises(ConfigError, match=r"line 2: `env\.replicas` \(2\) must divide"):
        combine([sources[0], sources[2], sources[1]])


def test_data_is_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "settings.toml").write_text('env.data = "mine.npz"\n')
    monkeypatch.chdir(tmp_path)
    expected = str(tmp_path.resolve() / "mine.npz")
    assert combine([from_flags({"env.data": "mine.npz"})]).env.data == expected
    monkeypatch.chdir("/")
    assert combine([from_toml(tmp_path / "settings.toml")]).env.data == expected
    assert combine([from_flags({"env.data": "digits"})]).env.data == "digits"


def test_presets() -> None:
    assert DEFAULT_PRESET in PRESETS
    for name in PRESETS:
        assert preset(name) == combine([from_preset(name)])
    with pytest.raises(ConfigError, match="no preset 'slow'; choose from quick, full"):
        preset("slow")


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("learning-rate", "ppo.learning_rate"),
        ("widths", "env.family.widths"),
        ("family.max_epochs", "env.family.max_epochs"),
        ("price", "env.prices"),
        ("lack", "env.family.lacks"),
        ("ppo.entropy", "ppo.entropy_end"),
        ("hidden", "hidden_dim"),
        ("enabled_slot", "env.rules.enabled_slots"),
    ],
)
def test_nearest(wrong: str, right: str) -> None:
    assert nearest_setting(wrong) == right
