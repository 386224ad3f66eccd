"""What cannot grow is refused by name, and the network stays as it was."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from networks_to_grow import Script as ScriptController
from networks_to_grow import SmallResNet, SmallTransformer, eventful, loop, plain_cnn
from torch import Tensor, nn

from kasmina_hosts import DigitsTask, Grower, OptimizerError, SlotError
from leyline_types import BlueprintAction, FactoredActions, LegalityRules, Observation, Topology


class Odd(nn.Module):
    """Layers that no seed can follow."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.tokens = nn.Flatten(2)
        self.line = nn.Conv1d(4, 4, 1)
        self.recurrent = nn.GRU(64, 8, batch_first=True)
        self.pick = nn.Identity()
        self.unused = nn.Conv2d(4, 4, 1)
        self.twice = nn.Identity()
        self.head = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.line(self.tokens(self.twice(self.conv(x))))
        found, _ = self.recurrent(tokens)
        chosen = self.pick(found.argmax(-1)[..., None])
        logits: Tensor = self.head(self.twice(found + 0 * chosen).mean(1))
        return logits


def make(
    model: nn.Module,
    slots: dict[str, str],
    task: DigitsTask,
    optimizer: torch.optim.Optimizer | None = None,
    **options: object,
) -> Grower:
    arguments: dict[str, object] = {
        "controller": ScriptController([]),
        "optimizer": optimizer or torch.optim.SGD(model.parameters(), lr=0.1),
        "sample": task.train.images[:2],
        "max_epochs": 5,
        "num_classes": 10,
    }
    return Grower(model, slots=slots, **(arguments | options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("build", "slots", "message"),
    [
        (
            SmallResNet,
            {"r0c0": "block.0"},
            "slot 'r0c0': the model has no layer 'block.0'; near by are 'blocks.0'",
        ),
        (
            SmallResNet,
            {"r0c0": "head"},
            r"slot 'r0c0': layer 'head' puts out torch.float32 of shape \(2, 10\), exp",
        ),
        (
            SmallResNet,
            {"r0c0": "stem", "r0c1": "stem"},
            "slots 'r0c0' and 'r0c1' are both behind layer 'stem'",
        ),
        (
            SmallTransformer,
            {"r1c1": "layers.0", "r1c2": "head"},
            r"slot 'r1c2': layer 'head' puts out .* \(2, 10\)",
        ),
        (
            Odd,
            {"r0c0": "recurrent"},
            r"layer 'recurrent' puts out tuple, expected one tensor \[B, C, H, W\] or \[B, T",
        ),
        (Odd, {"r0c0": "pick"}, "layer 'pick' puts out torch.int64 of shape"),
        (Odd, {"r0c0": "unused"}, "layer 'unused' is not used when the model runs on the sample"),
        (Odd, {"r0c0": "line"}, r"layer 'line' puts out \[B, C, L\], expected tokens \[B, T, D\]"),
        (Odd, {"r0c0": "twice"}, "layer 'twice' is used several times, with differing outputs"),
        (
            Odd,
            {"r0c0": "conv", "r0c1": "tokens"},
            r"topology: r0c0 \(conv\) is cnn, r0c1 \(tokens\) is tr",
        ),
        (SmallResNet, {"stem": "stem"}, "'stem'"),
        (SmallResNet, {}, "at least one slot"),
    ],
)
def test_slots(task: DigitsTask, build: Callable[[], nn.Module], slots: dict[str, str], message: str) -> None:
    model = build()
    before = set(dict(model.named_modules())), list(model.state_dict())
    with pytest.raises(ValueError, match=message):
        make(model, slots, task)
    assert (set(dict(model.named_modules())), list(model.state_dict())) == before
    assert not any(module._forward_hooks for module in model.modules())
    assert model.training


def test_a_slot_that_no_blueprint_fits(task: DigitsTask) -> None:
    rules = LegalityRules(enabled_blueprints=(BlueprintAction.LORA,))
    with pytest.raises(ValueError, match=r"no blueprint fits slots r0c0: .* hold none for a cnn network"):
        make(SmallResNet(), {"r0c0": "stem"}, task, rules=rules)
    with pytest.raises(ValueError, match="'r4c4'"):
        make(SmallResNet(), {"r0c0": "stem"}, task, rules=LegalityRules(enabled_slots=("r4c4",)))


def test_optimisers(task: DigitsTask) -> None:
    model, other = SmallResNet(), SmallResNet()
    with pytest.raises(OptimizerError, match="the SGD optimiser holds none of the model's 16 parameters"):
        make(model, {"r0c0": "stem"}, task, torch.optim.SGD(other.parameters(), lr=0.1))
    matrices = [parameter for parameter in model.parameters() if parameter.dim() == 2]
    for optimizer, reason in (
        (torch.optim.LBFGS(model.parameters()), "seeds cannot join LBFGS: it ties"),
        (torch.optim.Muon(matrices), "seeds cannot join Muon: it takes matrices only"),
        (torch.optim.SparseAdam(list(model.parameters())), "seeds cannot join SparseAdam: it takes sparse"),
    ):
        with pytest.raises(OptimizerError, match=reason):
            make(model, {"r0c0": "stem"}, task, optimizer)
    assert not hasattr(model, "grown_slots")


def test_a_second_grower(task: DigitsTask) -> None:
    model = SmallResNet()
    make(model, {"r0c0": "stem"}, task)
    with pytest.raises(SlotError, match="the model has slots already"):
        make(model, {"r0c0": "blocks.0"}, task)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_epochs": 0}, "`max_epochs` must be at least 1, not 0"),
        ({"num_classes": 1}, "`num_classes` must be at least 2, not 1"),
        ({"max_seeds": -1}, "`max_seeds` must be at least 0, not -1"),
        ({"parameter_price": -0.1}, "`parameter_price` must be finite and at least 0, not -0.1"),
        ({"parameter_price": float("nan")}, "`parameter_price` must be finite and at least 0, not nan"),
        ({"parameter_price": 1e39}, "feature 'parameter_price' is inf, expected a finite number"),
    ],
)
def test_numbers(task: DigitsTask, options: dict[str, Any], message: str) -> None:
    model = SmallResNet()
    with pytest.raises(ValueError, match=message):
        make(model, {"r0c0": "stem"}, task, **options)
    assert not hasattr(model, "grown_slots")


def test_a_sample_that_the_model_does_not_take_is_the_model_s_own_error(task: DigitsTask) -> None:
    model = plain_cnn()
    with pytest.raises(RuntimeError, match="channels"):
        make(model, {"r0c0": "2"}, task, sample=torch.zeros(2, 3, 8, 8))
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())


def test_samples_may_be_several_arguments(task: DigitsTask) -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 4, 3)

        def forward(self, x: Tensor, scale: Tensor) -> Tensor:
            result: Tensor = self.conv(x) * scale
            return result

    images = task.train.images[:2]
    for sample in ((images, torch.ones(())), {"x": images, "scale": torch.ones(())}):
        make(Two(), {"r0c0": "conv"}, task, sample=sample)


def test_tracing_leaves_batch_statistics_and_modes_as_they_are(task: DigitsTask) -> None:
    model = plain_cnn()
    model.get_submodule("5").eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    make(model, {"r0c0": "2"}, task)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert model.training
    assert not model.get_submodule("5").training


@pytest.mark.parametrize(
    ("figures", "message"),
    [
        ({"train_loss": float("nan")}, "`train_loss` must be finite, not nan; has the network diverged?"),
        ({"val_loss": float("inf")}, "`val_loss` must be finite, not inf"),
        ({"val_accuracy": 100.5}, "`val_accuracy` must lie in 0 to 100 percent, not 100.5"),
        ({"train_accuracy": float("nan")}, "`train_accuracy` must lie in 0 to 100 percent, not nan"),
    ],
)
def test_figures_of_an_epoch(task: DigitsTask, figures: dict[str, float], message: str) -> None:
    run = loop(task, "resnet", eventful(Topology.CNN))
    run.step(torch.arange(32))
    sound = {"train_loss": 1.0, "val_loss": 1.0, "train_accuracy": 50.0, "val_accuracy": 50.0}
    with pytest.raises(ValueError, match=message):
        run.grower.end_epoch(**(sound | figures))
    assert run.grower.epoch == 0
    run.grower.end_epoch(**sound)
    assert run.grower.epoch == 1


def test_what_validate_returns(task: DigitsTask) -> None:
    run = loop(task, "resnet", eventful(Topology.CNN))
    for _ in range(4):
        run.epoch()
    run.grower._validate = lambda: -1
    with pytest.raises(ValueError, match="what `validate` returns must lie in 0 to 100 percent, not -1"):
        run.epoch()
    assert run.grower.epoch == 4
    assert not run.model.get_submodule("grown_slots.r0c0").suppressed


def test_the_order_of_calls(task: DigitsTask) -> None:
    run = loop(task, "resnet", [], max_epochs=1)
    figures = {"train_loss": 1.0, "val_loss": 1.0, "train_accuracy": 50.0, "val_accuracy": 50.0}
    with pytest.raises(RuntimeError, match="the optimiser has taken no step since the last epoch"):
        run.grower.end_epoch(**figures)
    step = run.epoch()
    assert (step.action, step.took_effect) == (None, True)
    with pytest.raises(RuntimeError, match="growth ended after the 1 epochs of `max_epochs`"):
        run.epoch()


def test_a_controller_that_answers_nonsense(task: DigitsTask) -> None:
    class Nonsense(ScriptController):  # type: ignore[misc]
        def act(self, observation: Observation[Tensor], memory: int) -> tuple[FactoredActions[Tensor], int]:
            actions, memory = super().act(observation, memory)
            return actions._replace(op=torch.tensor([17])), memory

    model = SmallResNet()
    with pytest.raises(ValueError, match="head 'op' has 6 choices, got 17 to 17"):
        make(model, {"r0c0": "stem"}, task, controller=Nonsense([]))
    assert not hasattr(model, "grown_slots")
    run = loop(task, "resnet", [])
    run.grower._controller = Nonsense([])
    with pytest.raises(ValueError, match="head 'op' has 6 choices, got 17 to 17"):
        run.epoch()
    assert run.grower.epoch == 0
