"""Networks as users write them, a controller that follows a script, and a training loop around a `Grower`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import torch
from host_scripts import WIDE_OPEN, advance, germinate, together
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from kasmina_hosts import DigitsTask, Grower, GrowthStep, Split
from kasmina_hosts.diagnostics import DIAGNOSED_SAMPLES
from leyline_types import (
    AlphaSpeedAction,
    AlphaTargetAction,
    BlueprintAction,
    FactoredAction,
    FactoredActions,
    GerminationStyle,
    LifecycleOp,
    Observation,
    TempoAction,
    Topology,
    germinable_blueprints,
)


def plain_cnn() -> nn.Module:
    """With batch normalisation and dropout: training and evaluation differ."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, stride=2, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Conv2d(6, 8, 3, padding=1),
        nn.ReLU(),
        nn.Dropout(0.1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 10),
    )


@final
class Residual(nn.Module):
    """Two convolutions around a skip."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm = nn.BatchNorm2d(channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        inside: Tensor = self.second(self.norm(self.first(x)).relu())
        return (x + inside).relu()


@final
class SmallResNet(nn.Module):
    """A stem and two residual blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 6, 3, stride=2, padding=1)
        self.blocks = nn.ModuleList([Residual(6), Residual(6)])
        self.head = nn.Linear(6, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        for block in self.blocks:
            x = block(x)
        logits: Tensor = self.head(x.mean((-2, -1)))
        return logits


@final
class SmallTransformer(nn.Module):
    """Rows of pixels as tokens, through PyTorch's own encoder layers."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(8, 16)
        self.position = nn.Parameter(torch.randn(8, 16) / 4)
        self.layers = nn.ModuleList(
            [nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True) for _ in range(2)]
        )
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        tokens: Tensor = self.embed(x[:, 0]) + self.position
        for layer in self.layers:
            tokens = layer(tokens)
        logits: Tensor = self.head(tokens.mean(1))
        return logits


@final
class TorchTransformer(nn.Module):
    """PyTorch's own encoder, which in evaluation mode passes over its submodules if it can."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(8, 16)
        layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.encoder(self.embed(x[:, 0]))
        logits: Tensor = self.head(tokens.mean(1))
        return logits


NETWORKS: Mapping[str, tuple[Callable[[], nn.Module], dict[str, str], Topology]] = {
    "plain cnn": (plain_cnn, {"r0c0": "2", "r0c1": "4"}, Topology.CNN),
    "resnet": (SmallResNet, {"r0c0": "stem", "r0c1": "blocks.0", "r0c2": "blocks.1.first"}, Topology.CNN),
    "transformer": (SmallTransformer, {"r0c0": "layers.0", "r0c1": "layers.1"}, Topology.TRANSFORMER),
    "nn.TransformerEncoder": (
        TorchTransformer,
        {"r0c0": "encoder.layers.0", "r0c1": "encoder.layers.1.dropout1"},
        Topology.TRANSFORMER,
    ),
}
"""Name -> how it is built, its slots, their topology."""


@final
class Script:
    """A controller that takes the actions of a list, one per epoch, then waits."""

    def __init__(self, actions: Sequence[FactoredAction]) -> None:
        self.actions = list(actions)

    def initial_memory(self, num_envs: int) -> int:
        return 0

    def act(self, observation: Observation[Tensor], memory: int) -> tuple[FactoredActions[Tensor], int]:
        wait = FactoredAction(LifecycleOp.WAIT, "r0c0")
        return together([self.actions[memory] if memory < len(self.actions) else wait]), memory + 1


def life_of(slot_id: str, blueprint: BlueprintAction, style: GerminationStyle) -> list[FactoredAction]:
    """From germination to holding at alpha 0.7."""
    seed = FactoredAction(
        LifecycleOp.GERMINATE,
        slot_id,
        blueprint=blueprint,
        style=style,
        tempo=TempoAction.FAST,
        alpha_target=AlphaTargetAction.SEVENTY,
    )
    wait = FactoredAction(LifecycleOp.WAIT, slot_id)
    return [seed, advance(slot_id), advance(slot_id), wait, wait, advance(slot_id)]


def eventful(topology: Topology) -> list[FactoredAction]:
    """A seed that falls slowly until it is pruned, one behind a gate that is retargeted, and one in training."""
    first, second, *_ = germinable_blueprints(topology)
    return [
        *life_of("r0c0", first, GerminationStyle.GATED_GATE),
        germinate("r0c1", second),
        FactoredAction(LifecycleOp.PRUNE, "r0c0", alpha_speed=AlphaSpeedAction.FAST),
        advance("r0c1"),
        advance("r0c1"),
        FactoredAction(LifecycleOp.WAIT, "r0c0"),
        FactoredAction(LifecycleOp.WAIT, "r0c0"),
        FactoredAction(
            LifecycleOp.SET_ALPHA_TARGET,
            "r0c1",
            style=GerminationStyle.GATED_GATE,
            alpha_target=AlphaTargetAction.FULL,
            alpha_speed=AlphaSpeedAction.FAST,
        ),
        germinate("r0c0", second),
        advance("r0c0"),
    ]


@dataclass
class Loop:
    """A model, its optimiser and its grower, trained on a few digits."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    grower: Grower
    data: Split
    autocast: bool = False

    def step(self, batch: Tensor) -> None:
        self.optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=self.autocast):
            loss = cross_entropy(self.model(self.data.images[batch]).float(), self.data.labels[batch])
        loss.backward()
        self.optimizer.step()

    def epoch(self) -> GrowthStep:
        for batch in torch.arange(64).split(32):
            self.step(batch)
        loss, accuracy = self.score()
        return self.grower.end_epoch(
            train_loss=loss, val_loss=loss, train_accuracy=accuracy, val_accuracy=accuracy
        )

    @torch.no_grad()
    def score(self) -> tuple[float, float]:
        """On samples that it is not trained on."""
        training = self.model.training
        self.model.eval()
        logits, labels = self.model(self.data.images[64:]), self.data.labels[64:]
        self.model.train(training)
        return float(cross_entropy(logits, labels)), 100 * float((logits.argmax(-1) == labels).float().mean())

    def accuracy(self) -> float:
        return self.score()[1]

    def diagnose(self) -> Tensor:
        """The loss of a few samples that it is not trained on, with its graph."""
        logits = self.model(self.data.images[64 : 64 + DIAGNOSED_SAMPLES])
        return cross_entropy(logits.float(), self.data.labels[64 : 64 + DIAGNOSED_SAMPLES])


FIGURES = {"train_loss": 1.0, "val_loss": 1.0, "train_accuracy": 50.0, "val_accuracy": 50.0}
"""Of an epoch, where it does not matter which."""


def snapshot(run: Loop) -> dict[str, Tensor]:
    """What must not change where something is refused."""
    columns = run.grower.state_dict()["columns"]
    weights = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    return weights | {name: tensor.clone() for name, tensor in columns.items()}


def assert_as_before(run: Loop, before: dict[str, Tensor], epoch: int) -> None:
    after = snapshot(run)
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name].nan_to_num(-7), each.nan_to_num(-7)) for name, each in before.items())
    assert run.grower.epoch == epoch


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)


def loop(
    task: DigitsTask,
    network: str,
    actions: Sequence[FactoredAction],
    *,
    make_optimizer: Callable[[nn.Module], torch.optim.Optimizer] = sgd,
    validate: bool = False,
    diagnose: bool = False,
    **options: object,
) -> Loop:
    """A fresh network with wide open gates, 20 epochs at most, unless `options` say otherwise; the same every time."""
    build, slots, _ = NETWORKS[network]
    torch.manual_seed(0)
    model = build()
    optimizer = make_optimizer(model)
    made = Loop(model, optimizer, None, Split(task.train.images[:192], task.train.labels[:192]))  # type: ignore[arg-type]
    made.grower = Grower(
        model,
        slots=slots,
        controller=Script(actions),
        optimizer=optimizer,
        sample=task.train.images[:2],
        num_classes=10,
        validate=made.accuracy if validate else None,
        diagnose=made.diagnose if diagnose else None,
        **{"gates": WIDE_OPEN, "max_epochs": 20, **options},  # type: ignore[arg-type]
    )
    return made


def grow(
    model: nn.Module, slots: dict[str, str], actions: Sequence[FactoredAction], images: Tensor
) -> Grower:
    """Any model, one step per action towards small outputs."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    grower = Grower(
        model,
        slots=slots,
        controller=Script(actions),
        optimizer=optimizer,
        sample=images,
        max_epochs=len(actions) + 1,
        num_classes=10,
        gates=WIDE_OPEN,
    )
    for _ in actions:
        optimizer.zero_grad()
        model(images).square().mean().backward()
        optimizer.step()
        step = grower.end_epoch(train_loss=1.0, val_loss=1.0, train_accuracy=1.0, val_accuracy=1.0)
        assert step.took_effect
    return grower
