"""What users do to their networks besides training them: compile, freeze, move, nest, evaluate in inference mode."""

import warnings

import pytest
import torch
from host_scripts import advance, germinate
from networks_to_grow import NETWORKS, SmallResNet, eventful, grow, life_of, loop
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounter

from kasmina_hosts import DigitsTask, SlotError, blend
from leyline_types import (
    AlphaSpeedAction,
    BlueprintAction,
    FactoredAction,
    GerminationStyle,
    LifecycleOp,
    SeedStage,
    Topology,
)

LIGHT, NORM = BlueprintAction.CONV_LIGHT, BlueprintAction.NORM
LINEAR = GerminationStyle.LINEAR_ADD


@pytest.mark.parametrize("network", list(NETWORKS))
@pytest.mark.parametrize("style", GerminationStyle)
def test_a_slot_puts_out_what_the_formulas_say(
    task: DigitsTask, network: str, style: GerminationStyle
) -> None:
    """At alpha 0.7, from the layer's output, the seed's and the gate's, in training as in evaluation."""
    _, slots, topology = NETWORKS[network]
    blueprint = NORM if topology is Topology.CNN else BlueprintAction.MLP_SMALL
    run = loop(task, network, life_of("r0c0", blueprint, style))
    for _ in range(6):
        run.epoch()
    layer, slot = run.model.get_submodule(slots["r0c0"]), run.model.get_submodule("grown_slots.r0c0")
    seen: list[Tensor] = []
    layer.register_forward_hook(lambda _, __, h: seen.append(h), prepend=True)
    layer.register_forward_hook(lambda _, __, after: seen.append(after))
    for training in (True, False):
        seen.clear()
        run.model.train(training)
        run.model(task.test.images[:8])
        h, after = seen
        s, alpha = slot.seed(h), torch.tensor(0.7)  # type: ignore[operator]
        gate = slot.gate(h) if style is GerminationStyle.GATED_GATE else torch.ones(())  # type: ignore[operator]
        expected = blend(h, s, gate, alpha, style.alpha_algorithm)
        torch.testing.assert_close(after, expected)
        assert not torch.allclose(after, h)


@pytest.mark.slow
def test_a_compiled_model_grows_as_the_model_does(task: DigitsTask) -> None:
    """It is compiled anew when a seed comes, goes or changes its stage, and not when alpha moves."""
    counter = CompileCounter()
    eager, run = (loop(task, "resnet", eventful(Topology.CNN)) for _ in range(2))
    plain, compiled = run.model, torch.compile(run.model, backend=counter)
    run.model = compiled  # type: ignore[assignment]
    frames = []
    for _ in range(12):
        for each in (eager, run):
            assert each.epoch().took_effect
        frames.append(counter.frame_count)
        assert all(parameter.grad is not None for parameter in plain.parameters()) == (
            all(parameter.grad is not None for parameter in eager.model.parameters())
        )
    torch.testing.assert_close(compiled(task.test.images[:8]), eager.model(task.test.images[:8]))
    assert frames[0] < frames[3] == frames[4]  # in both epochs the seed blends, at another alpha


def test_a_model_compiled_before_its_grower_is_found_out(task: DigitsTask) -> None:
    """Its graph has no slots: seeds would never learn."""
    torch.manual_seed(0)
    model = SmallResNet()
    compiled = torch.compile(model, backend="eager")
    images = task.train.images[:16]
    compiled(images).sum().backward()
    with pytest.raises(SlotError, match="give the model itself, then compile it"):
        grow(compiled, {"r0c0": "_orig_mod.stem"}, [], images)  # type: ignore[arg-type]
    run = loop(task, "resnet", life_of("r0c0", LIGHT, LINEAR))
    run.epoch()
    run.epoch()
    slot = run.model.get_submodule("grown_slots.r0c0")
    slot.suppressed = True  # type: ignore[assignment]  # as a graph without it would
    with pytest.raises(RuntimeError, match="the seeds in r0c0 have had no gradient in this epoch"):
        run.epoch()
    assert run.grower.epoch == 2


def test_a_seed_behind_a_layer_kept_in_evaluation_mode_learns(task: DigitsTask) -> None:
    run = loop(task, "plain cnn", [germinate("r0c0", LIGHT), advance("r0c0"), advance("r0c0")])
    for parameter in run.model[:3].parameters():  # type: ignore[index]
        parameter.requires_grad_(False)
    for _ in range(3):
        run.model[:3].eval()  # type: ignore[index]
        run.step(torch.arange(32))
        step = run.grower.end_epoch(train_loss=1.0, val_loss=1.0, train_accuracy=1.0, val_accuracy=1.0)
        assert step.took_effect
    seed = run.model.get_submodule("grown_slots.r0c0.seed")
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in seed.parameters())


def test_what_the_user_has_frozen_stays_frozen(task: DigitsTask) -> None:
    run = loop(task, "resnet", life_of("r0c0", LIGHT, LINEAR))
    for _ in range(4):
        run.epoch()
    weight = run.model.get_parameter("grown_slots.r0c0.seed.conv.weight")
    weight.requires_grad_(False)
    run.epoch()
    assert not weight.requires_grad


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_seed_is_planted_in_the_precision_that_the_model_has_by_then(
    task: DigitsTask, dtype: torch.dtype
) -> None:
    run = loop(task, "resnet", life_of("r0c0", LIGHT, LINEAR))
    run.epoch()
    run.model.to(dtype)
    run.data = run.data._replace(images=run.data.images.to(dtype))
    for _ in range(4):
        assert run.epoch().took_effect
    assert {parameter.dtype for parameter in run.model.parameters()} == {dtype}


def test_autocast_inside_the_model_makes_no_seed_half_precise(task: DigitsTask) -> None:
    class Autocast(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 4, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            with torch.autocast("cpu", torch.bfloat16):
                result: Tensor = self.conv(x)
                return result

    torch.manual_seed(0)
    model = Autocast()
    grow(model, {"r0c0": "conv"}, life_of("r0c0", LIGHT, GerminationStyle.GATED_GATE), task.train.images[:4])
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_validation_in_inference_mode_and_epochs_that_end_in_it(task: DigitsTask) -> None:
    run = loop(task, "plain cnn", eventful(Topology.CNN))
    for _ in range(8):
        run.step(torch.arange(32))
        with torch.inference_mode():
            loss, accuracy = run.score()
            step = run.grower.end_epoch(
                train_loss=loss, val_loss=loss, train_accuracy=accuracy, val_accuracy=accuracy
            )
        assert step.took_effect


def test_parameters_keep_their_names_in_the_optimiser(task: DigitsTask) -> None:
    def named(model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(model.named_parameters(), lr=0.01)

    run = loop(task, "resnet", eventful(Topology.CNN), make_optimizer=named)
    for _ in range(14):
        run.epoch()
        (group,) = run.optimizer.param_groups
        assert dict(zip(group["param_names"], group["params"], strict=True)) == dict(
            run.model.named_parameters()
        )


def test_gradients_set_to_zero_instead_of_none_do_not_move_a_falling_seed(task: DigitsTask) -> None:
    run = loop(task, "plain cnn", eventful(Topology.CNN))
    while not run.grower._growth.life.steps_done[0, 0] or stage(run, "r0c1") is None:
        run.epoch()
    run.epoch()
    slot = run.model.get_submodule("grown_slots.r0c0")
    assert slot.frozen
    before = [parameter.clone() for parameter in slot.parameters()]
    run.optimizer.zero_grad(set_to_none=False)
    run.model(task.train.images[:8]).sum().backward()
    run.optimizer.step()
    assert all(torch.equal(old, new) for old, new in zip(before, slot.parameters(), strict=True))


def stage(run: object, slot_id: str) -> SeedStage | None:
    report = run.grower.reports()[slot_id]  # type: ignore[attr-defined]
    return None if report is None else report.stage


def test_no_two_seeds_start_alike(task: DigitsTask) -> None:
    """Equal blueprints in two slots, and one after the other in one slot."""
    slots, images = {"r0c0": "0", "r0c1": "1"}, task.train.images[:4]
    wait = FactoredAction(LifecycleOp.WAIT, "r0c0")
    prune = FactoredAction(LifecycleOp.PRUNE, "r0c0", alpha_speed=AlphaSpeedAction.INSTANT)
    again = [prune, wait, wait, wait, germinate("r0c0", LIGHT)]
    weights = []
    for actions in ([], again):
        torch.manual_seed(0)
        model = nn.Sequential(*(nn.Conv2d(channels, 4, 3, padding=1) for channels in (1, 4)))
        grow(model, slots, [germinate("r0c0", LIGHT), germinate("r0c1", LIGHT), *actions], images)
        weights += [model.get_parameter(f"grown_slots.{slot_id}.seed.conv.weight") for slot_id in slots]
    first, other, second, _ = weights
    assert not torch.equal(first, other)
    assert not torch.equal(first, second)


def test_a_sequential_subclass_that_hands_more_than_one_argument_on(task: DigitsTask) -> None:
    class Conditioned(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            for layer in self:
                x = layer(x, 1.0)
            return x

    class Scaled(nn.Module):
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.conv = nn.Conv2d(channels, 4, 3, padding=1)

        def forward(self, x: Tensor, scale: float) -> Tensor:
            result: Tensor = self.conv(x) * scale
            return result

    torch.manual_seed(0)
    model, images = Conditioned(Scaled(1), Scaled(4)), task.train.images[:4]
    exported = grow(model, {"r0c0": "0"}, life_of("r0c0", LIGHT, LINEAR), images).export()
    torch.testing.assert_close(exported(images), model(images))


def test_nested_tensors_are_refused(task: DigitsTask) -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
            self.encoder = nn.TransformerEncoder(layer, 2)

        def forward(self, x: Tensor) -> Tensor:
            padded = torch.zeros(x.shape[:2], dtype=torch.bool)
            padded[:, -2:] = True
            result: Tensor = self.encoder(x, src_key_padding_mask=padded)
            return result

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nested tensors are a prototype
        with pytest.raises(
            SlotError, match="puts out a nested tensor; make the encoder with enable_nested_tensor=F"
        ):
            grow(Masked(), {"r0c0": "encoder.layers.0"}, [], task.train.images[:4, 0])


def test_no_co_adaptation(task: DigitsTask) -> None:
    """The network's gradients are then those of its own output: alpha 0.7 of the seed's goes to the seed alone."""
    runs = {
        co_adapt: loop(task, "resnet", life_of("r0c1", LIGHT, LINEAR), co_adapt=co_adapt)
        for co_adapt in (True, False)
    }
    gradients = {}
    for co_adapt, run in runs.items():
        for _ in range(3):
            run.epoch()
        run.model.eval()
        output = run.model(task.test.images[:8]).square().sum()
        seed = run.model.get_submodule("grown_slots.r0c1.seed")
        parameters = [*run.model.get_submodule("stem").parameters(), *seed.parameters()]
        gradients[co_adapt] = torch.autograd.grad(output, parameters)
    assert not torch.equal(gradients[True][0], gradients[False][0])
    for learnt, alone in zip(gradients[True][2:], gradients[False][2:], strict=True):
        torch.testing.assert_close(learnt, alone)


def test_a_rounded_mean_of_accuracies_is_taken(task: DigitsTask) -> None:
    run = loop(task, "resnet", [])
    run.step(torch.arange(32))
    step = run.grower.end_epoch(
        train_loss=1.0, val_loss=1.0, train_accuracy=-1e-9, val_accuracy=100.00000000000003
    )
    assert step.observation.signals.val_accuracy.item() == 100.0
    assert step.observation.signals.train_accuracy.item() == 0.0
