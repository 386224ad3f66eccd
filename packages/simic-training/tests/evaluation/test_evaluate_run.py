"""A whole evaluation, small: a policy that has learnt nothing yet against everything."""

import json
import shutil
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from made_up import TINY

from leyline_types import BlueprintAction, LegalityRules
from simic_training.engines.local import LocalEngine
from simic_training.evaluation.parts import PartsFolder, Progress
from simic_training.evaluation.play import play
from simic_training.evaluation.run import (
    Evaluation,
    HostRow,
    evaluate_run,
    evaluation_from_json,
    evaluation_to_json,
    weights_in,
)
from simic_training.evaluation.stages import EvaluationOptions, held_out_stage
from simic_training.evaluation.units import POLICY, RANDOM, Player, controller_of
from simic_training.growth.draws import slots_of
from simic_training.runs.config import TrainConfig
from simic_training.runs.rollout import actions_seed
from simic_training.statistics import Estimate
from tamiyo_features import init_normalizer, update
from tamiyo_policies import (
    CheckpointError,
    PolicyConfig,
    PolicyController,
    create_policy,
    load_checkpoint,
    register_builtin_policies,
    save_policy,
)

pytestmark = pytest.mark.slow

FEW = LegalityRules(enabled_blueprints=(BlueprintAction.NORM, BlueprintAction.CONV_LIGHT))
ENV = replace(TINY, family=replace(TINY.family, max_epochs=(2, 3)), rules=FEW)
"""Episodes of two lengths."""
CONFIG = TrainConfig(episodes=60, groups=4, hidden_dim=16, env=ENV)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    register_builtin_policies()
    path = tmp_path_factory.mktemp("run") / "policy.safetensors"
    slots = slots_of(ENV.host)
    policy = create_policy(PolicyConfig(policy="lstm", slot_config=slots, hidden_dim=16))
    with torch.no_grad():  # of strong opinions, so that it matters what it sees
        policy.network.get_parameter("action_head.weight").mul_(300)
    seen = torch.rand(64, policy.feature_dim, generator=torch.Generator().manual_seed(0))
    save_policy(policy, path, normalizer=update(init_normalizer(slots), seen))
    return path


OPTIONS = EvaluationOptions(members_per_lack=4, hosts_per_member=2, full=True)
SCHEDULES = [
    f"{blueprint} {place} @0"
    for blueprint in ("norm", "conv_light")
    for place in ("r0c0", "r0c1", "r0c2", "all")
]
RIVALS = ["policy", "policy-greedy", "none", "random", "heuristic", "best schedule"]


@pytest.fixture(scope="module")
def heard() -> list[Progress]:
    return []


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> PartsFolder:
    return PartsFolder(tmp_path_factory.mktemp("run") / "parts")


@pytest.fixture(scope="module")
def evaluation(checkpoint: Path, heard: list[Progress], folder: PartsFolder) -> Evaluation:
    return evaluate_run(CONFIG, checkpoint, OPTIONS, folder=folder, on_progress=heard.append)


@pytest.fixture(scope="module")
def default(evaluation: Evaluation, checkpoint: Path, folder: PartsFolder) -> Evaluation:
    """Read from the parts of the full one."""
    heard: list[Progress] = []
    copied = PartsFolder(folder.path.with_name("copied"))
    shutil.copytree(folder.path, copied.path)
    found = evaluate_run(CONFIG, checkpoint, trained_episodes=7, folder=copied, on_progress=heard.append)
    assert heard == []
    return found


def rows_of(evaluation: Evaluation, setting: str, controller: str) -> list[HostRow]:
    return [row for row in evaluation.hosts if (row.setting, row.controller) == (setting, controller)]


def test_all_tables_are_there(evaluation: Evaluation) -> None:
    assert [table.title for table in evaluation.tables] == [
        "Verdicts (16 hosts)",
        "By lack",
        "Equal size, equal time (16 hosts)",
        "Fixed schedules (16 hosts)",
        "Unseen length: 1 epochs (16 hosts)",
        "Unseen length: 5 epochs (16 hosts)",
    ]
    assert list(evaluation.table("Verdicts").rows) == [*RIVALS, "best single schedule"]
    assert set(evaluation.table("Fixed").rows) == {*SCHEDULES, "none"}
    assert list(evaluation.table("Unseen length: 5").rows) == RIVALS
    assert list(evaluation.table("By lack").rows) == ["nothing", "squeeze"]


def test_by_default_there_is_one_table_and_it_says_the_same(
    evaluation: Evaluation, default: Evaluation
) -> None:
    (table,) = default.tables
    assert list(table.rows) == RIVALS
    assert dict(table.rows) == {name: evaluation.table("Verdicts").rows[name] for name in RIVALS}
    assert default.settings["trained_episodes"] == 7
    assert {row.setting for row in default.hosts} == {"training", "family"}


def test_every_table_names_prices_and_lengths(evaluation: Evaluation) -> None:
    family = rows_of(evaluation, "family", "policy")
    least, greatest = (f"{end(row.price for row in family):.2g}" for end in (min, max))
    for table in evaluation.tables[:4]:
        assert f"prices {least} to {greatest}, median" in table.note
        assert "episodes of 2 to 3 epochs" in table.note
    assert "episodes of 5 epochs" in evaluation.table("Unseen length: 5").note


def test_verdicts_say_where_schedules_were_chosen(evaluation: Evaluation) -> None:
    note = evaluation.table("Verdicts").note
    assert (
        "of 8 fixed schedules, or none, which is best at its price on 4 training hosts of 4 members" in note
    )
    single = note.partition('"best single schedule": ')[2].partition(",")[0]
    assert rows_of(evaluation, "family", single)


def test_every_controller_met_the_same_hosts(evaluation: Evaluation) -> None:
    family = [row for row in evaluation.hosts if row.setting == "family"]
    by_controller = {
        name: [(row.task, row.lack, row.price, row.host_seed) for row in family if row.controller == name]
        for name in dict.fromkeys(row.controller for row in family)
    }
    assert len(by_controller) == 6 + 8 + 3  # controllers, schedules, static networks
    assert len({tuple(hosts) for hosts in by_controller.values()}) == 1
    assert len(set(by_controller["policy"])) == 16
    training = {row.controller for row in evaluation.hosts if row.setting == "training"}
    assert training == {"none", *SCHEDULES}
    seeds = {row.host_seed for row in evaluation.hosts if row.setting == "training"}
    assert not seeds & {row.host_seed for row in family}


def test_tables_say_what_the_rows_say(evaluation: Evaluation) -> None:
    rows = rows_of(evaluation, "family", "random")
    policy = rows_of(evaluation, "family", "policy")
    episode_return, size, lead, *_, accuracy = evaluation.table("Verdicts").rows["random"]
    assert accuracy == pytest.approx(sum(row.test_accuracy for row in rows) / 16, abs=1e-3)
    assert size == pytest.approx(sum(row.size for row in rows) / 16, abs=1e-3)
    assert episode_return == pytest.approx(sum(row.episode_return for row in rows) / 16, abs=1e-3)
    assert isinstance(lead, Estimate)
    leads = [own.episode_return - other.episode_return for own, other in zip(policy, rows, strict=True)]
    assert lead.mean == pytest.approx(sum(leads) / 16, abs=1e-3)


def test_schedules_are_chosen_on_training_hosts_at_each_hosts_price(evaluation: Evaluation) -> None:
    """From the rows alone: the best mean return on the training hosts, had they had the price of a held-out one."""
    none = rows_of(evaluation, "training", "none")
    best = rows_of(evaluation, "family", "best schedule")
    played = {name: rows_of(evaluation, "family", name) for name in ("none", *SCHEDULES)}
    for place, host in enumerate(best):
        worth = {
            name: sum(
                (row.val_accuracy - bare.val_accuracy) / 10 - host.price * (row.size - 1)
                for row, bare in zip(rows_of(evaluation, "training", name), none, strict=True)
            )
            for name in ("none", *SCHEDULES)
        }
        chosen = max(worth, key=worth.__getitem__)
        if sorted(worth.values())[-1] - sorted(worth.values())[-2] > 1e-3:  # rows are rounded
            assert host.size == played[chosen][place].size
            assert host.episode_return == pytest.approx(played[chosen][place].episode_return, abs=1e-3)


def test_the_choice_is_noted(evaluation: Evaluation) -> None:
    noted = evaluation.settings["schedules"]
    assert [row["schedule"] for row in noted] == SCHEDULES
    none, heavy = (rows_of(evaluation, "training", name) for name in ("none", SCHEDULES[-1]))
    gains = [row.val_accuracy - bare.val_accuracy for row, bare in zip(heavy, none, strict=True)]
    assert noted[-1]["gain"] == pytest.approx(sum(gains) / len(gains), abs=1e-3)
    assert noted[-1]["added"] == pytest.approx(sum(row.size - 1 for row in heavy) / len(heavy), abs=1e-3)


def test_returns_are_paid_at_each_hosts_own_price(evaluation: Evaluation) -> None:
    """What a host gained over its untrained self is the same however dear growing it was."""
    none = {row.host_seed: row for row in rows_of(evaluation, "family", "none")}
    grown = rows_of(evaluation, "family", "norm all @0")
    assert all(row.size == 1 for row in none.values())
    assert all(row.size > 1 for row in grown)
    assert len({row.price for row in grown}) == 16
    for row in grown:
        paid = none[row.host_seed].episode_return - row.episode_return
        gained = (row.val_accuracy - none[row.host_seed].val_accuracy) / 10
        assert paid + gained == pytest.approx(row.price * (row.size - 1), abs=1e-3)


def test_the_data_are_noted_though_the_settings_did_not_tell_of_them(evaluation: Evaluation) -> None:
    assert CONFIG.env.data_digest is None
    assert evaluation.settings["config"]["env"]["data_digest"].startswith("1797 samples of 1x8x8")


def test_how_long_the_policy_was_trained_is_noted(evaluation: Evaluation) -> None:
    assert evaluation.settings["trained_episodes"] == 64  # 60, rounded up to whole batches of 32


def test_sizes_and_lengths_of_static_networks_are_told(evaluation: Evaluation) -> None:
    rows = evaluation.table("Equal size").rows
    assert list(rows) == ["policy", "static-seeds", "static-wide", "static-long"]
    over = {name: cells[2] for name, cells in rows.items()}
    epochs = {name: cells[3] for name, cells in rows.items()}
    assert all(isinstance(value, float) for value in (*over.values(), *epochs.values()))
    assert over["static-seeds"] < 1  # type: ignore[operator]  # seeds that alter nothing yet are left out
    assert 0.8 < over["static-wide"] < 1.2  # type: ignore[operator]
    assert epochs["policy"] == epochs["static-seeds"] == epochs["static-wide"]
    assert epochs["static-long"] > epochs["policy"]  # type: ignore[operator]
    long = rows_of(evaluation, "family", "static-long")
    assert [row.epochs for row in long] != [row.epochs for row in rows_of(evaluation, "family", "policy")]


def test_goes_through_json(evaluation: Evaluation) -> None:
    text = json.dumps(evaluation_to_json(evaluation), allow_nan=False)
    assert evaluation_from_json(json.loads(text)) == evaluation


@pytest.mark.parametrize("name", ["policy", "policy-greedy"])
def test_the_policy_sees_what_it_was_trained_to_see(
    evaluation: Evaluation, checkpoint: Path, name: str
) -> None:
    policy, normalizer = load_checkpoint(checkpoint)
    assert normalizer is not None
    returns: dict[bool, list[float]] = {True: [], False: []}
    for given in (normalizer, None):
        for number, group in enumerate(held_out_stage(ENV, OPTIONS).groups):
            controller = PolicyController(
                policy,
                deterministic=name == "policy-greedy",
                seed=actions_seed(0, number),
                rules=FEW,
                normalizer=given,
            )
            played = play(controller, [group], rules=FEW)
            returns[given is not None] += played.episodes.episode_return.tolist()
    found = [row.episode_return for row in rows_of(evaluation, "family", name)]
    assert found == pytest.approx(returns[True], abs=1e-3)
    assert found != pytest.approx(returns[False], abs=1e-3)


def test_episodes_of_the_policy(evaluation: Evaluation) -> None:
    assert len(evaluation.episodes) == 16
    tested = [row.test_accuracy for row in rows_of(evaluation, "family", "policy")]
    assert [episode["test_accuracy"] for episode in evaluation.episodes] == tested


ORDER = ("schedules", "controllers", "static networks")


def test_progress_names_what_is_played(evaluation: Evaluation, heard: list[Progress]) -> None:
    units = [progress.done.unit for progress in heard if progress.done is not None]
    kinds = [(unit.split(", ")[0], unit.split(", ")[2]) for unit in units]
    assert set(kinds) == {
        ("training", "schedules"),
        ("family", "schedules"),
        ("family", "controllers"),
        ("Unseen length: 1 epochs", "controllers"),
        ("Unseen length: 5 epochs", "controllers"),
        ("family", "static networks"),
    }
    assert [kind[1] for kind in kinds] == sorted((kind[1] for kind in kinds), key=ORDER.index)
    shares = [progress.share for progress in heard]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, 1)
    assert heard[-1].finished == heard[-1].total == len(units)
    assert all(progress.kept == 0 for progress in heard)


def test_the_same_evaluation_on_two_workers_and_from_what_is_there(
    evaluation: Evaluation, checkpoint: Path, folder: PartsFolder, tmp_path: Path
) -> None:
    """A third of the parts is there, one of them damaged."""
    some = PartsFolder(tmp_path / "parts")
    some.path.mkdir()
    kept = sorted(folder.path.glob("*.part"))[::3]
    for path in kept:
        shutil.copy(path, some.path)
    (some.path / kept[0].name).write_bytes(b"")
    heard: list[Progress] = []
    with closing(LocalEngine(2)) as engine:
        found = evaluate_run(
            CONFIG, checkpoint, OPTIONS, engine=engine, folder=some, on_progress=heard.append
        )
    assert found == evaluation
    assert heard[-1].kept == len(kept) - 1
    assert {path.name for path in some.path.iterdir()} == {path.name for path in folder.path.iterdir()}
    assert all(
        (some.path / path.name).read_bytes() == path.read_bytes() for path in folder.path.glob("*.part")
    )


def test_members_are_sampled_apart(checkpoint: Path) -> None:
    """Equal draws in every group would make its hosts no proofs of their own."""
    weights = weights_in(checkpoint)
    group = held_out_stage(ENV, OPTIONS).draw.group(0)
    for name in (POLICY, RANDOM):
        acted = []
        for member in range(2):
            controller = controller_of(Player(name), ENV, weights, seed=actions_seed(0, member))
            episodes = play(controller, [group], rules=FEW).episodes
            acted.append(torch.stack(list(episodes.actions)))
        assert not torch.equal(*acted)


def test_own_data(checkpoint: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    np.savez(path, x=np.random.default_rng(0).normal(size=(60, 6, 6)), y=np.arange(60) % 3)
    evaluation = evaluate_run(
        CONFIG, checkpoint, EvaluationOptions(members_per_lack=2, hosts_per_member=4, data=(path,))
    )
    assert [table.title for table in evaluation.tables] == [
        "Verdicts (16 hosts)",
        "Unseen data: mine (16 hosts)",
    ]
    assert list(evaluation.tables[1].rows) == RIVALS


def test_trouble_comes_before_any_playing(checkpoint: Path, tmp_path: Path) -> None:
    heard: list[Progress] = []
    for options, problem in (
        (EvaluationOptions(hosts_per_member=1), ValueError),
        (replace(OPTIONS, data=(tmp_path / "none.npz",)), FileNotFoundError),
    ):
        with pytest.raises(problem):
            evaluate_run(CONFIG, checkpoint, options, on_progress=heard.append)
    with pytest.raises(CheckpointError):
        evaluate_run(CONFIG, tmp_path / "none.safetensors", on_progress=heard.append)
    assert heard == []
