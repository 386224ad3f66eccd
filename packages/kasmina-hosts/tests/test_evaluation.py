"""Measured honestly: every score and counterfactual against ordinary modules from which seeds were taken out."""

import itertools
from typing import NamedTuple

import pytest
import torch
from host_scripts import first_samples, make, same_for_all, waiting
from plain_hosts import PlainHost, accuracy, plain_host
from torch.nn.functional import cross_entropy

from kasmina_hosts import DigitsTask, GrownSeed, HostConfig, HostPopulation, Lifecycle, Split, evaluation
from kasmina_hosts.evaluation import evaluate, score_hosts
from kasmina_hosts.network import HostNetworks
from leyline_types import AlphaAlgorithm, BlueprintAction, SeedStage, Topology

SHAPE, CLASSES = (1, 8, 8), 10
SLOTS = range(3)
CNN_SEEDS = {
    "r0c0": GrownSeed(BlueprintAction.CONV_LIGHT, AlphaAlgorithm.ADD, 1.0),
    "r0c1": GrownSeed(BlueprintAction.NORM, AlphaAlgorithm.GATE, 0.7),
    "r0c2": GrownSeed(BlueprintAction.CONV_HEAVY, AlphaAlgorithm.MULTIPLY, 0.5),
}
VIT_SEEDS = {
    "r0c0": GrownSeed(BlueprintAction.MLP_SMALL, AlphaAlgorithm.ADD, 1.0),
    "r0c1": GrownSeed(BlueprintAction.FLEX_ATTENTION, AlphaAlgorithm.GATE, 0.7),
    "r0c2": GrownSeed(BlueprintAction.LORA, AlphaAlgorithm.ADD, 1.0),
}


class Trained(NamedTuple):
    """Three hosts after some training, and what was measured on the held-out samples.

    Host 0 has three seeds at work, host 1 two and one at alpha 0, host 2 one and one in TRAINING.
    """

    config: HostConfig
    networks: HostNetworks
    life: Lifecycle
    held_out: Split

    def plain(self, host: int) -> PlainHost:
        return plain_host(self.networks, self.life, host, self.config, SHAPE, CLASSES)

    def accuracy_without(self, host: int, *slots: int) -> float:
        return accuracy(self.plain(host).without(*slots), self.held_out.images.double(), self.held_out.labels)


@pytest.fixture(scope="module", params=[CNN_SEEDS, VIT_SEEDS], ids=["cnn", "transformer"])
def trained(request: pytest.FixtureRequest, task: DigitsTask) -> Trained:
    seeds: dict[str, GrownSeed] = request.param
    config = HostConfig()
    if seeds is VIT_SEEDS:
        config = HostConfig(topology=Topology.TRANSFORMER, width=8, patch_size=4)
    small = first_samples(task, 256, 200)
    population = HostPopulation(small, config, dtype=torch.float64)
    without_last = {slot_id: seeds[slot_id] for slot_id in ("r0c0", "r0c1")}
    population.reset([1, 2, 3], [seeds, seeds, without_last])
    for _ in range(3):
        population.step(same_for_all(waiting(), 3))
    present = population._present
    off, learning = torch.zeros(3, 3, dtype=torch.bool), torch.zeros(3, 3, dtype=torch.bool)
    off[1, 1] = learning[2, 0] = True
    life = present.life.where(off | learning, alpha=0.0).where(learning, stage=float(SeedStage.TRAINING))
    return Trained(config, present.networks, life, small.validation)


def test_scores_are_those_of_ordinary_modules(trained: Trained) -> None:
    found = evaluate(trained.networks, trained.life, trained.held_out, interactions=False).score
    for host in range(3):
        logits = trained.plain(host)(trained.held_out.images.double())
        loss = cross_entropy(logits, trained.held_out.labels)
        torch.testing.assert_close(found.loss[host].double(), loss.detach(), rtol=1e-6, atol=0)
        assert found.accuracy[host].item() == pytest.approx(trained.accuracy_without(host), abs=1e-4)


def test_contribution_is_accuracy_with_minus_without(trained: Trained) -> None:
    found = evaluate(trained.networks, trained.life, trained.held_out, interactions=False).seeds.contribution
    measured = torch.tensor([[True] * 3, [True, False, True], [False, True, False]])
    assert torch.equal(~found.isnan(), measured)
    for host, slot in measured.nonzero().tolist():
        expected = trained.accuracy_without(host) - trained.accuracy_without(host, slot)
        assert found[host, slot].item() == pytest.approx(expected, abs=1e-4)
    assert found[measured].unique().numel() > 2  # there was something to measure


def test_interactions_of_three_seeds_from_all_eight_subsets(trained: Trained) -> None:
    found = evaluate(trained.networks, trained.life, trained.held_out, interactions=True).seeds
    without = {
        removed: trained.accuracy_without(0, *removed)
        for size in range(4)
        for removed in itertools.combinations(SLOTS, size)
    }
    assert len(set(without.values())) > 4
    pairs = {
        pair: without[()] - without[pair[:1]] - without[pair[1:]] + without[pair]
        for pair in itertools.combinations(SLOTS, 2)
    }
    for slot in SLOTS:
        own = [value for pair, value in pairs.items() if slot in pair]
        assert found.interaction_sum[0, slot].item() == pytest.approx(sum(own), abs=1e-4)
        assert found.boost_received[0, slot].item() == pytest.approx(max(own), abs=1e-4)


def test_interactions_of_two_seeds_and_of_one(trained: Trained) -> None:
    found = evaluate(trained.networks, trained.life, trained.held_out, interactions=True).seeds
    both = trained.accuracy_without(1, 0, 2)
    alone = trained.accuracy_without(1, 0) + trained.accuracy_without(1, 2)
    expected = trained.accuracy_without(1) - alone + both
    for column in (found.interaction_sum, found.boost_received):
        assert column[1, 0].item() == column[1, 2].item() == pytest.approx(expected, abs=1e-4)
        assert column[1:].isnan().tolist() == [[False, True, False], [True, True, True]]


def test_without_interactions_all_else_is_the_same(trained: Trained) -> None:
    full = evaluate(trained.networks, trained.life, trained.held_out, interactions=True)
    less = evaluate(trained.networks, trained.life, trained.held_out, interactions=False)
    for name in ("loss", "accuracy"):
        assert torch.equal(getattr(full.score, name), getattr(less.score, name))
    torch.testing.assert_close(
        full.seeds.contribution, less.seeds.contribution, rtol=0, atol=0, equal_nan=True
    )
    assert less.seeds.interaction_sum.isnan().all()
    assert less.seeds.boost_received.isnan().all()


def test_what_a_population_reports_is_what_is_measured(task: DigitsTask) -> None:
    seen = {}
    for interactions in (True, False):
        small = first_samples(task, 128, 200)
        population = HostPopulation(small, HostConfig(interactions=interactions), dtype=torch.float64)
        population.reset([1], [CNN_SEEDS])
        seen[interactions] = population.step(same_for_all(waiting(), 1)).observation.slots
    present = population._present
    hosts = Trained(HostConfig(), present.networks, present.life, small.validation)
    for slots in seen.values():
        for slot in SLOTS:
            expected = hosts.accuracy_without(0) - hosts.accuracy_without(0, slot)
            assert slots.contribution[0, slot].item() == pytest.approx(expected, abs=1e-4)
    assert seen[True].interaction_sum.isfinite().all()
    assert seen[False].interaction_sum.isnan().all()
    assert seen[False].boost_received.isnan().all()


def test_nothing_is_measured_of_seeds_without_effect(task: DigitsTask) -> None:
    observation = make(task).reset([1, 2], [CNN_SEEDS, {}])
    for name in ("contribution", "contribution_velocity", "interaction_sum", "boost_received"):
        assert getattr(observation.slots, name).isnan().all()


@pytest.mark.parametrize("chunk", [7, 100, 200])
def test_scores_in_chunks_equal_one_pass(
    trained: Trained, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "_CHUNK", 10_000)
    whole = evaluate(trained.networks, trained.life, trained.held_out, interactions=True)
    monkeypatch.setattr(evaluation, "_CHUNK", chunk)
    parts = evaluate(trained.networks, trained.life, trained.held_out, interactions=True)
    scores = score_hosts(trained.networks, trained.life, trained.held_out)
    for found in (parts.score, scores):
        torch.testing.assert_close(found.loss, whole.score.loss, rtol=1e-5, atol=0)
        torch.testing.assert_close(found.accuracy, whole.score.accuracy, rtol=1e-5, atol=0)
    torch.testing.assert_close(parts.seeds, whole.seeds, rtol=0, atol=1e-4, equal_nan=True)


def test_validation_samples_cut_the_validation_part(task: DigitsTask) -> None:
    scores = {}
    for samples in (50, 322, 10_000):
        population = HostPopulation(task, HostConfig(validation_samples=samples), dtype=torch.float64)
        scores[samples] = population.reset([4]).signals
        present = population._present
        plain = plain_host(present.networks, present.life, 0, HostConfig(), SHAPE, CLASSES)
        images, labels = (part[:samples] for part in task.validation)
        expected = accuracy(plain, images.double(), labels)
        assert scores[samples].val_accuracy.item() == pytest.approx(expected, abs=1e-4)
    assert scores[50].val_loss != scores[322].val_loss
    assert torch.equal(scores[322].val_loss, scores[10_000].val_loss)
    assert torch.equal(scores[50].train_loss, scores[322].train_loss)
