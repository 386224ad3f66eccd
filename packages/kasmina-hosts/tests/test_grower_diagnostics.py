"""What a `Grower` measures at its slots is what a population measures, and measuring changes nothing else."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any, cast

import pytest
import torch
from networks_to_grow import (
    FIGURES,
    NETWORKS,
    Loop,
    Script,
    assert_as_before,
    eventful,
    grow,
    life_of,
    loop,
    snapshot,
)
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounter
from torch.utils.checkpoint import checkpoint

from kasmina_hosts import DigitsTask, Grower, HostConfig, Lifecycle, Split, build_host
from kasmina_hosts.diagnostics import Diagnostics, activation_shape
from kasmina_hosts.evaluation import diagnose
from kasmina_hosts.network import HostNetworks
from kasmina_hosts.seed_slot import SeedSlot
from kasmina_hosts.slotted_model import GrownSlots, attach_slots, find_activations, measure_slots
from leyline_types import BlueprintAction, GerminationStyle, Observation, SlotColumns, Topology

CNN = HostConfig()
VIT = HostConfig(topology=Topology.TRANSFORMER, width=16, patch_size=2)
CONFIGS = {
    "cnn": CNN,
    "lacking cnn": replace(CNN, kernels=(1, 3, 5), inner_widths=(0, 1, 2), norms=(True, False, True)),
    "transformer": VIT,
    "lacking transformer": replace(VIT, attention=(False, True, False), inner_widths=(0, 2, 0)),
}
SHAPE, CLASSES = (1, 8, 8), 10


def seen(observation: Observation[Tensor]) -> Diagnostics:
    return Diagnostics(*(getattr(observation.slots, name) for name in Diagnostics._fields))


def host_loop(task: DigitsTask, config: HostConfig, actions: list[Any]) -> Loop:
    """A host of a population as a user's network, its parts one after another."""
    torch.manual_seed(5)
    model = nn.Sequential(*build_host(config, SHAPE, CLASSES))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    data = Split(task.train.images[:192], task.train.labels[:192])
    made = Loop(model, optimizer, cast(Grower, None), data)
    made.grower = Grower(
        model,
        slots={f"r0c{index}": str(index) for index in range(3)},
        controller=Script(actions),
        optimizer=optimizer,
        sample=data.images[:2],
        max_epochs=20,
        num_classes=CLASSES,
        diagnose=made.diagnose,
        gates=loop(task, "resnet", []).grower._gates,
    )
    return made


def standing_still(task: DigitsTask) -> Loop:
    """A host that is trained at a rate of 0: what is measured of it differs for other reasons."""
    run = host_loop(task, CNN, [])
    run.optimizer.param_groups[0]["lr"] = 0.0
    return run


def networks_of(run: Loop, config: HostConfig, life: Lifecycle) -> HostNetworks:
    """A population of that host alone, with its weights and its seeds'."""
    networks = HostNetworks([0], config, SHAPE, CLASSES)
    for index, stack in enumerate(networks.parts):
        stack.put(0, run.model.get_submodule(str(index)))
    slots = run.model.get_submodule("grown_slots")
    assert isinstance(slots, GrownSlots)
    for index, slot in enumerate(slots.values()):
        assert isinstance(slot, SeedSlot)
        if slot.seed is not None:
            blueprint = BlueprintAction(int(life.blueprint[0, index]))
            networks.make_room(index, blueprint)
            networks.slots[index].seeds[blueprint].put(0, slot.seed)
        if slot.gate is not None:
            networks.slots[index].gate.put(0, slot.gate)
    return networks


@pytest.mark.parametrize("name", CONFIGS)
def test_it_measures_what_a_population_does(task: DigitsTask, name: str) -> None:
    """Before and while a seed blends into the second slot, through a gate, and at rest at alpha 0.7."""
    config = CONFIGS[name]
    blueprint = BlueprintAction.CONV_LIGHT if config.topology is Topology.CNN else BlueprintAction.MLP_SMALL
    run = host_loop(task, config, life_of("r0c1", blueprint, GerminationStyle.GATED_GATE))
    amplitudes = set()
    for _ in range(7):
        life = run.grower._growth.life
        amplitudes.add(round(float(life.alpha[0, 1]), 3))
        for batch in torch.arange(64).split(32):
            run.step(batch)
        expected = diagnose(networks_of(run, config, life), life, Split(*(part[64:] for part in run.data)))
        found = seen(run.grower.end_epoch(**FIGURES).observation)
        for column, other in zip(found, expected, strict=True):
            torch.testing.assert_close(column, other, rtol=0, atol=1e-5)
        assert found.host_gradient_share.sum().item() == pytest.approx(1, abs=1e-5)
    assert {0.0, 0.7} < amplitudes


@pytest.mark.parametrize("stage", range(3))
def test_the_scale_of_a_layer_in_front_of_a_norm_is_not_seen(task: DigitsTask, stage: int) -> None:
    measured = []
    for scale in (1.0, 10.0):
        run = standing_still(task)
        with torch.no_grad():
            for parameter in run.model.get_submodule(f"{stage}.conv").parameters():
                parameter.mul_(scale)
        measured.append(seen(run.epoch().observation))
    for column, scaled in zip(*measured, strict=True):
        torch.testing.assert_close(scaled, column, rtol=0, atol=1e-4)


def test_without_it_all_is_unknown(task: DigitsTask) -> None:
    run = loop(task, "resnet", [])
    for _ in range(2):
        assert all(column.isnan().all() for column in seen(run.epoch().observation))


@pytest.mark.parametrize("network", list(NETWORKS))
def test_nothing_else_changes(task: DigitsTask, network: str) -> None:
    """Weights, batch statistics, optimiser, gradients, modes and random numbers, all along growth, bit for bit."""
    actions = eventful(NETWORKS[network][2])
    plain, measured = (loop(task, network, actions, validate=True) for _ in range(2))

    def of_a_random_batch() -> Tensor:
        images, labels = (part[torch.randperm(len(part))] for part in measured.data)
        return Loop.diagnose(replace(measured, data=Split(images, labels)))

    measured.grower._diagnose = of_a_random_batch
    first = next(iter(NETWORKS[network][1].values()))
    after = []
    for run in (plain, measured):
        run.model.get_submodule(first).eval()
        torch.manual_seed(3)
        columns: list[Tensor] = []
        for epoch in range(len(actions)):
            step = run.epoch()
            assert step.action == actions[epoch]
            columns += [*step.observation.signals]
            columns += [
                column
                for name, column in zip(SlotColumns._fields, step.observation.slots, strict=True)
                if name not in Diagnostics._fields
            ]
        after.append(
            {
                "columns": columns,
                "weights": run.model.state_dict(),
                "optimizer": run.optimizer.state_dict(),
                "gradients": {name: each.grad for name, each in run.model.named_parameters()},
                "modes": [module.training for module in run.model.modules()],
                "random": torch.random.get_rng_state(),
            }
        )
        known = ~torch.stack(seen(step.observation)).isnan()
        assert known[1:].all() if run is measured else not known.any()
    torch.testing.assert_close(after[1], after[0], rtol=0, atol=0, equal_nan=True)


def test_hooks_and_modes_are_put_back_when_it_fails(task: DigitsTask) -> None:
    run = loop(task, "plain cnn", [])
    run.model.get_submodule("1").eval()
    modes = [module.training for module in run.model.modules()]

    def failing() -> Tensor:
        run.diagnose()
        raise OSError("the disk is gone")

    run.grower._diagnose = failing
    run.step(torch.arange(32))
    before = snapshot(run)
    with pytest.raises(OSError, match="the disk is gone"):
        run.grower.end_epoch(**FIGURES)
    assert_as_before(run, before, epoch=0)
    assert [module.training for module in run.model.modules()] == modes
    run.grower._diagnose = run.diagnose
    assert run.epoch().observation.slots.activation_rank.isfinite().all()


def test_layers_that_do_not_learn_have_no_share(task: DigitsTask) -> None:
    run = standing_still(task)
    stem = run.model.get_submodule("0")
    whole = seen(run.epoch().observation)
    stem.requires_grad_(False)
    frozen = seen(run.epoch().observation)
    assert frozen.host_gradient_share.isnan().tolist() == [[True, False, False]]
    others = whole.host_gradient_share[:, 1:]
    torch.testing.assert_close(frozen.host_gradient_share[:, 1:], others / others.sum())
    assert torch.equal(frozen.activation_rank, whole.activation_rank)
    run.model.get_parameter("0.conv.weight").requires_grad_(True)
    weight_alone = seen(run.epoch().observation).host_gradient_share[0, 0]
    assert 0 < weight_alone < whole.host_gradient_share[0, 0]


def test_where_nothing_learns_no_gradient_is_asked_for(task: DigitsTask) -> None:
    """Behind ReLUs; the spread of the activations is known."""
    run = loop(task, "plain cnn", [], diagnose=True)
    found = seen(run.epoch().observation)
    assert found.host_gradient_share.isnan().all()
    assert found.activation_rank.isfinite().all()
    assert found.within_map_variance.isfinite().all()


@pytest.mark.parametrize("grown", [False, True])
@pytest.mark.parametrize("inplace", [False, True])
def test_the_layer_s_own_output_is_looked_at(task: DigitsTask, inplace: bool, grown: bool) -> None:
    """Neither what a seed makes of it, nor what the next layer does to it in place."""
    torch.manual_seed(0)
    images = task.train.images[:16]
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(inplace), nn.Flatten(), nn.Linear(144, 10))
    actions = life_of("r0c0", BlueprintAction.NORM, GerminationStyle.LINEAR_ADD) if grown else []
    grower = grow(model, {"r0c0": "0"}, actions, images)
    grower._diagnose = lambda: model(images).square().mean()
    grower._tally.steps, grower._tally.learning = 1, [True]
    own = model[0].forward(images)
    assert torch.equal(model[0](images), own) is not grown
    expected = activation_shape(own, Topology.CNN)
    found = seen(grower.end_epoch(**FIGURES).observation)
    torch.testing.assert_close(found.activation_rank, expected.rank[None, None])
    torch.testing.assert_close(found.within_map_variance, expected.within_map[None, None])


class Repeated(nn.Module):
    """One layer three times, kept in memory or computed again on the way back."""

    def __init__(self, again: bool) -> None:
        super().__init__()
        self.layer, self.head, self.again = nn.Conv2d(1, 1, 3, padding=1), nn.Linear(64, 10), again

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(3):
            x = checkpoint(self.layer, x, use_reentrant=False) if self.again else self.layer(x)
        logits: Tensor = self.head(x.flatten(1))
        return logits


@pytest.mark.parametrize("again", [False, True])
def test_of_a_layer_used_several_times_the_first_output_counts(task: DigitsTask, again: bool) -> None:
    torch.manual_seed(0)
    model, images = Repeated(again), task.train.images[:16]
    grower = grow(model, {"r0c0": "layer"}, [], images)
    grower._diagnose = lambda: model(images).square().mean()
    grower._tally.steps = 1
    expected = activation_shape(model.layer(images), Topology.CNN)
    found = seen(grower.end_epoch(**FIGURES).observation)
    torch.testing.assert_close(found.within_map_variance, expected.within_map[None, None])
    assert found.host_gradient_share.item() == 1


def test_half_precision(task: DigitsTask) -> None:
    """Of the weights, or of the pass alone: the same figures, but for their rounding."""
    run = standing_still(task)
    expected = seen(run.epoch().observation)

    def cast_down() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return run.diagnose()

    run.grower._diagnose = cast_down
    found = [seen(run.epoch().observation)]
    run.model.bfloat16()
    run.optimizer.state.clear()
    run.data = run.data._replace(images=run.data.images.bfloat16())
    run.grower._diagnose = run.diagnose
    found.append(seen(run.epoch().observation))
    for each in found:
        for column, other in zip(each, expected, strict=True):
            assert column.dtype is torch.float32
            torch.testing.assert_close(column, other, rtol=0, atol=0.02)
            assert not torch.equal(column, other)


def test_it_is_called_with_gradients_in_evaluation_mode_wherever_the_epoch_ends(task: DigitsTask) -> None:
    run = loop(task, "plain cnn", [])
    calls: list[tuple[bool, bool]] = []

    def watching() -> Tensor:
        calls.append((torch.is_grad_enabled(), any(module.training for module in run.model.modules())))
        return run.diagnose()

    run.grower._diagnose = watching
    for context in (torch.enable_grad, torch.no_grad, torch.inference_mode):
        run.step(torch.arange(32))
        with context():
            step = run.grower.end_epoch(**FIGURES)
        assert step.observation.slots.activation_rank.isfinite().all()
    assert calls == [(True, False)] * 3


BAD: dict[str, tuple[Callable[[Loop], Any], str]] = {
    "a number": (lambda run: run.diagnose().item(), r"`diagnose` must return a scalar tensor, not 2\."),
    "nothing": (lambda run: None, "`diagnose` must return a scalar tensor, not None"),
    "one loss a sample": (
        lambda run: run.diagnose().expand(32),
        r"a scalar tensor, not torch.float32 of shape \(32,\)",
    ),
    "an integer": (lambda run: torch.tensor(1), r"a scalar tensor, not torch.int64 of shape \(\)"),
    "not finite": (
        lambda run: run.diagnose() * torch.nan,
        "what `diagnose` returns must be finite, not nan",
    ),
    "not of the model": (
        lambda run: torch.ones((), requires_grad=True),
        "did not run layer 'stem' of slot 'r0c0'",
    ),
    "of a copy": (
        lambda run: replace(run, model=deepcopy(run.model)).diagnose(),
        "`diagnose` did not run layer 'stem' of slot 'r0c0': it must call the model that its Grower was made of",
    ),
    "of a part of it": (
        lambda run: run.model.blocks[0](run.model.stem(run.data.images[:8])).mean(),  # type: ignore[index,operator]
        "did not run layer 'blocks.1.first' of slot 'r0c2'",
    ),
    "detached": (
        lambda run: run.diagnose().detach(),
        "the gradient of what `diagnose` returned does not reach layer 'stem' of slot 'r0c0': return the loss itself",
    ),
    "without gradients": (lambda run: torch.no_grad()(run.diagnose)(), "does not reach layer 'stem'"),
    "in inference mode": (lambda run: torch.inference_mode()(run.diagnose)(), "does not reach layer 'stem'"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_it_returns_is_checked(task: DigitsTask, name: str) -> None:
    run = loop(task, "resnet", eventful(Topology.CNN), diagnose=True)
    run.epoch()
    run.step(torch.arange(32))
    returned, message = BAD[name]
    run.grower._diagnose = lambda: returned(run)
    before = snapshot(run)
    with pytest.raises(ValueError, match=message) as caught:
        run.grower.end_epoch(**FIGURES)
    assert "\n" not in str(caught.value)
    assert_as_before(run, before, epoch=1)
    run.grower._diagnose = run.diagnose
    assert run.grower.end_epoch(**FIGURES).took_effect


def test_a_layer_that_no_gradient_reaches_is_named(task: DigitsTask) -> None:
    class Detached(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3)

        def forward(self, x: Tensor) -> Tensor:
            result: Tensor = self.second(self.first(x).detach())
            return result

    model, images = Detached(), task.train.images[:8]
    grower = grow(model, {"r0c0": "first", "r0c1": "second"}, [], images)
    grower._diagnose = lambda: model(images).square().mean()
    grower._tally.steps = 1
    with pytest.raises(
        ValueError, match=r"does not reach layer 'first' of slot 'r0c0': .* or freeze the layer"
    ):
        grower.end_epoch(**FIGURES)
    model.first.requires_grad_(False)
    share = grower.end_epoch(**FIGURES).observation.slots.host_gradient_share
    torch.testing.assert_close(share, torch.tensor([[torch.nan, 1.0]]), equal_nan=True)


@pytest.mark.slow
@pytest.mark.parametrize("in_place", [False, True])
def test_a_compiled_model_is_looked_at_uncompiled_and_not_compiled_anew(
    task: DigitsTask, in_place: bool
) -> None:
    eager = loop(task, "resnet", [], diagnose=True)
    frames, columns = [], []
    for diagnosed in (False, True):
        torch._dynamo.reset()
        counter = CompileCounter()
        run = loop(task, "resnet", [], diagnose=diagnosed)
        if in_place:
            run.model.compile(backend=counter)
        else:
            run.model = torch.compile(run.model, backend=counter)  # type: ignore[assignment]
        columns = [seen(run.epoch().observation) for _ in range(3)]
        frames.append(counter.frame_count)
    assert frames[0] == frames[1] > 0
    for found in columns:
        for column, expected in zip(found, seen(eager.epoch().observation), strict=True):
            torch.testing.assert_close(column, expected)


@pytest.mark.parametrize("price", [0, 0.3, 2.5])
def test_the_price_is_observed(task: DigitsTask, price: float) -> None:
    run = loop(task, "resnet", [], parameter_price=price)
    for _ in range(2):
        observed = run.epoch().observation.signals.parameter_price
        torch.testing.assert_close(observed, torch.tensor([float(price)]))
    assert loop(task, "resnet", []).epoch().observation.signals.parameter_price.item() == pytest.approx(0.3)


def test_a_layer_counts_without_the_slot_layer_within_it() -> None:
    """Blocks as slots, and another slot inside one of them: the shares are those of what each has for itself."""
    torch.manual_seed(0)
    inner = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU())
    outer = nn.Conv2d(4, 4, 3)
    model = nn.Sequential(nn.Sequential(inner, outer), nn.Flatten(), nn.Linear(64, 3))
    images, labels = torch.randn(8, 1, 8, 8), torch.arange(8) % 3

    def loss() -> Tensor:
        return nn.functional.cross_entropy(model(images), labels)

    activations = find_activations(model, {"r0c0": "0.0", "r0c1": "0"}, images)
    slots = attach_slots(model, {"r0c0": "0.0", "r0c1": "0"}, activations, co_adapt=True)
    found = measure_slots(model, slots, {"r0c0": "0.0", "r0c1": "0"}, loss).host_gradient_share
    own = [list(inner.parameters()), list(outer.parameters())]
    effects = []
    for part in own:
        pairs = zip(part, torch.autograd.grad(loss(), part), strict=True)
        effects.append(sum(float(w.detach().norm() * g.norm()) ** 2 for w, g in pairs))
    roots = torch.tensor(effects).sqrt()
    torch.testing.assert_close(found[0], roots / roots.sum(), rtol=1e-4, atol=1e-6)
