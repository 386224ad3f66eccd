"""A whole evaluation, small: a policy that has learnt nothing yet against everything."""

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from made_up import TINY

from leyline_types import BlueprintAction, LegalityRules
from simic_training.engines.local import LocalEngine
from simic_training.engines.unit import Done
from simic_training.evaluation.comparisons import CHOSEN, POLICY
from simic_training.evaluation.controllers import RANDOM
from simic_training.evaluation.options import EvaluationOptions
from simic_training.evaluation.play import play
from simic_training.evaluation.results import Evaluation, evaluation_from_json, evaluation_to_json
from simic_training.evaluation.run import evaluate_run, weights_in
from simic_training.evaluation.stages import controllers_of, paired_hosts, parts_of, stages_of
from simic_training.evaluation.sweep import sweep
from simic_training.evaluation.units import units_of
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


@pytest.fixture(scope="module")
def heard() -> list[tuple[Done, float]]:
    return []


OPTIONS = EvaluationOptions(schedules="first", transfer=True)


@pytest.fixture(scope="module")
def evaluation(checkpoint: Path, heard: list[tuple[Done, float]]) -> Evaluation:
    return evaluate_run(
        CONFIG, checkpoint, OPTIONS, on_progress=lambda done, part: heard.append((done, part))
    )


def test_all_tables_are_there(evaluation: Evaluation) -> None:
    assert [table.title for table in evaluation.tables] == [
        "Held-out hosts (16 hosts)",
        "By lack",
        "Equal final parameters (16 hosts)",
        "Fixed schedules (16 hosts)",
        "Unseen length: 1 epochs (16 hosts)",
        "Unseen length: 5 epochs (16 hosts)",
    ]
    first = {"norm xall @0", "norm x1 @0", "conv_light xall @0", "conv_light x1 @0"}
    assert set(evaluation.table("Fixed").rows) == first
    rivals = ["policy", "policy-greedy", "none", "random", "heuristic"]
    assert list(evaluation.table("Held-out hosts").rows) == [*rivals, CHOSEN]
    assert list(evaluation.table("Unseen length: 5").rows) == rivals
    assert list(evaluation.table("By lack").rows) == ["nothing", "squeeze"]


def test_every_table_names_prices_and_lengths(evaluation: Evaluation) -> None:
    family = [row for row in evaluation.hosts if row[:2] == ("family", "policy")]
    least, greatest = (f"{end(row.price for row in family):.2g}" for end in (min, max))
    for table in evaluation.tables[:4]:
        assert f"prices {least} to {greatest}, median" in table.note
        assert "episodes of 2 to 3 epochs" in table.note
    assert "episodes of 5 epochs" in evaluation.table("Unseen length: 5").note


def test_every_controller_met_the_same_hosts(evaluation: Evaluation) -> None:
    family = [row for row in evaluation.hosts if row.setting == "family"]
    by_controller = {
        name: [
            (row.task, row.lack, row.price, row.epochs, row.host_seed)
            for row in family
            if row.controller == name
        ]
        for name in dict.fromkeys(row.controller for row in family)
    }
    assert len(by_controller) == 5 + 4 + 2  # rivals, schedules, static networks
    assert len({tuple(hosts) for hosts in by_controller.values()}) == 1
    assert len(set(by_controller["policy"])) == 16


def test_tables_say_what_the_rows_say(evaluation: Evaluation) -> None:
    rows = [row for row in evaluation.hosts if (row.setting, row.controller) == ("family", "random")]
    accuracy, size, episode_return, *_ = evaluation.table("Held-out hosts").rows["random"]
    assert isinstance(accuracy, Estimate)
    assert isinstance(episode_return, Estimate)
    assert accuracy.mean == pytest.approx(sum(row.test_accuracy for row in rows) / 16, abs=1e-3)
    assert size == pytest.approx(sum(row.size for row in rows) / 16, abs=1e-3)
    assert episode_return.mean == pytest.approx(sum(row.episode_return for row in rows) / 16, abs=1e-3)


def test_returns_are_paid_at_each_hosts_own_price(evaluation: Evaluation) -> None:
    """What a host gained over its untrained self is the same however dear growing it was."""
    none = {row.host_seed: row for row in evaluation.hosts if row[:2] == ("family", "none")}
    grown = [row for row in evaluation.hosts if row[:2] == ("family", "norm xall @0")]
    assert all(row.size == 1 for row in none.values())
    assert all(row.size > 1 for row in grown)
    assert len({row.price for row in grown}) == 16
    for row in grown:
        paid = none[row.host_seed].episode_return - row.episode_return
        gained = (row.val_accuracy - none[row.host_seed].val_accuracy) / 10
        assert paid + gained == pytest.approx(row.price * (row.size - 1), abs=1e-3)


def test_how_long_the_policy_was_trained_is_noted(evaluation: Evaluation) -> None:
    assert evaluation.settings["trained_episodes"] == 64  # 60, rounded up to whole batches of 32


def test_sizes_of_static_networks_are_told(evaluation: Evaluation) -> None:
    rows = evaluation.table("Equal final").rows
    assert list(rows) == ["policy", "static-seeds", "static-wide"]
    seeds, wide = rows["static-seeds"][2], rows["static-wide"][2]
    assert isinstance(seeds, float)
    assert isinstance(wide, float)
    assert seeds < 1  # this policy ends with seeds that alter nothing yet
    assert 0.8 < wide < 1.2


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
        for number, group in enumerate(paired_hosts(ENV, OPTIONS)):
            controller = PolicyController(
                policy,
                deterministic=name == "policy-greedy",
                seed=actions_seed(0, number),
                rules=FEW,
                normalizer=given,
            )
            played = play(controller, [group], rules=FEW)
            returns[given is not None] += played.episodes.episode_return.tolist()
    found = [row.episode_return for row in evaluation.hosts if row[:2] == ("family", name)]
    assert found == pytest.approx(returns[True], abs=1e-3)
    assert found != pytest.approx(returns[False], abs=1e-3)


def test_episodes_of_the_policy(evaluation: Evaluation) -> None:
    assert len(evaluation.episodes) == 16
    tested = [row.test_accuracy for row in evaluation.hosts if row[:2] == ("family", "policy")]
    assert [episode["test_accuracy"] for episode in evaluation.episodes] == tested


def test_progress_names_what_is_played(evaluation: Evaluation, heard: list[tuple[Done, float]]) -> None:
    assert list(dict.fromkeys(done.unit.partition(", ")[0] for done, _ in heard)) == [
        "family",
        "Unseen length: 1 epochs",
        "Unseen length: 5 epochs",
    ]
    assert [done.unit for done, _ in heard[:2]] == ["family, group 1", "family, group 2"]
    parts = [part for _, part in heard]
    assert parts == sorted(parts)
    assert parts[-1] == 1


def test_controllers_whose_hosts_are_more_than_a_population_come_in_parts(checkpoint: Path) -> None:
    options = EvaluationOptions(members_per_lack=2, hosts_per_member=16)
    units = units_of(weights_in(checkpoint), ENV, options)
    assert [unit.name for unit in units[:4]] == [
        "family, group 1, part 1",
        "family, group 1, part 2",
        "family, group 1, part 3",
        "family, group 2, part 1",
    ]
    (family,) = stages_of(ENV, options)
    names = list(controllers_of(family, ENV, options, weights_in(checkpoint), 0))
    assert parts_of(names, family.groups[0]) == [names[:4], names[4:8], names[8:]]


def test_the_same_evaluation_on_two_workers(evaluation: Evaluation, checkpoint: Path) -> None:
    with closing(LocalEngine(2)) as engine:
        assert evaluate_run(CONFIG, checkpoint, OPTIONS, engine=engine) == evaluation


def test_groups_are_sampled_apart(checkpoint: Path) -> None:
    """Equal draws in every group would make its hosts no proofs of their own."""
    weights = weights_in(checkpoint)
    family, *_ = stages_of(ENV, OPTIONS)
    twins = family._replace(groups=(family.groups[0],) * 2)
    for name in (POLICY, RANDOM):
        acted = []
        for group in range(2):
            controller = controllers_of(twins, ENV, OPTIONS, weights, group)[name]
            episodes = play(controller, twins.groups[:1], rules=FEW).episodes
            acted.append(torch.stack(list(episodes.actions)))
        assert not torch.equal(*acted)


def test_less_can_be_asked_for(checkpoint: Path) -> None:
    options = EvaluationOptions(schedules="none")
    evaluation = evaluate_run(CONFIG, checkpoint, options, trained_episodes=7)
    assert [table.title for table in evaluation.tables] == [
        "Held-out hosts (16 hosts)",
        "By lack",
        "Equal final parameters (16 hosts)",
    ]
    assert evaluation.settings["trained_episodes"] == 7
    assert CHOSEN not in evaluation.table("Held-out hosts").rows


def test_trouble_comes_before_any_playing(checkpoint: Path, tmp_path: Path) -> None:
    heard: list[str] = []
    for options, problem in (
        (EvaluationOptions(hosts_per_member=1), ValueError),
        (EvaluationOptions(transfer=True, data=(tmp_path / "none.npz",)), FileNotFoundError),
    ):
        with pytest.raises(problem):
            evaluate_run(CONFIG, checkpoint, options, on_progress=lambda done, part: heard.append(done.unit))
    with pytest.raises(CheckpointError):
        evaluate_run(CONFIG, tmp_path / "none.safetensors")
    assert heard == []


def test_sweep() -> None:
    heard: list[float] = []
    table = sweep(ENV, on_progress=lambda done, part: heard.append(part))
    assert set(table.rows) >= {"none", "random", "heuristic", "norm xall @0", "conv_light x1 @1"}
    returns = [cells[0].mean for cells in table.rows.values() if isinstance(cells[0], Estimate)]
    assert len(returns) == len(table.rows)
    assert returns == sorted(returns, reverse=True)
    assert heard[-1] == 1
