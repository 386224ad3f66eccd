"""Grow a network of your own: an ordinary training loop, and one call at the end of every epoch.

A small convolutional network learns scikit-learn's digits twice from the same start: as it is, and with a `Grower`
that plants seeds behind its three stages, keeps what pays and says why. Needs kasmina-hosts:

    python grow_your_own.py [--epochs 30] [--seed 0] [--price 0.3]
"""

import argparse
import math

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from kasmina_hosts import DigitsTask, Grower, Split

BATCH = 64


class SmallNet(nn.Module):
    """Three convolutions of four channels; nothing in it knows of growth."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            [
                nn.Sequential(nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.ReLU()),
                nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()),
                nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()),
            ]
        )
        self.head = nn.Linear(4, 10)

    def forward(self, x: Tensor) -> Tensor:
        """From images [batch, 1, 8, 8] to logits [batch, 10]."""
        for stage in self.stages:
            x = stage(x)
        logits: Tensor = self.head(x.mean(dim=(-2, -1)))
        return logits


@torch.no_grad()
def score(model: nn.Module, part: Split) -> tuple[float, float]:
    """Mean cross-entropy (nats) and accuracy (percent)."""
    model.eval()
    logits = model(part.images)
    model.train()
    correct = (logits.argmax(-1) == part.labels).float().mean()
    return float(cross_entropy(logits, part.labels)), 100 * float(correct)


def train(task: DigitsTask, epochs: int, seed: int, *, grow: bool, price: float) -> nn.Module:
    """An ordinary training loop. Everything about growth is under `if grow`."""
    torch.manual_seed(seed)
    model = SmallNet()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    if grow:
        few = Split(task.validation.images[:32], task.validation.labels[:32])
        grower = Grower(
            model,
            slots={"r0c0": "stages.0", "r0c1": "stages.1", "r0c2": "stages.2"},
            optimizer=optimizer,
            sample=task.train.images[:1],
            max_epochs=epochs,
            num_classes=task.num_classes,
            parameter_price=price,
            diagnose=lambda: cross_entropy(model(few.images), few.labels),
            validate=lambda: score(model, task.validation)[1],
        )
    for epoch in range(epochs):
        for batch in torch.randperm(len(task.train.labels)).split(BATCH):
            optimizer.zero_grad()
            cross_entropy(model(task.train.images[batch]), task.train.labels[batch]).backward()
            optimizer.step()
        schedule.step()
        if grow:
            train_loss, train_accuracy = score(model, task.train)
            val_loss, val_accuracy = score(model, task.validation)
            step = grower.end_epoch(
                train_loss=train_loss,
                val_loss=val_loss,
                train_accuracy=train_accuracy,
                val_accuracy=val_accuracy,
            )
            refused = "" if step.took_effect else "  (not yet)"
            print(
                f"epoch {epoch + 1:2d}  validation accuracy {val_accuracy:5.1f} %  {step.reason or ''}{refused}"
            )
    return grower.export() if grow else model


def main() -> None:
    """Train both networks and compare them on data that neither has seen."""
    parser = argparse.ArgumentParser(description="Grow a small network of your own on scikit-learn's digits.")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--price", type=float, default=0.3, help="tens of points that doubling the network must bring"
    )
    options = parser.parse_args()
    if options.epochs < 1:
        parser.error(f"--epochs must be at least 1, not {options.epochs}")
    if not 0 <= options.price < math.inf:
        parser.error(f"--price must be finite and at least 0, not {options.price}")
    torch.set_num_threads(1)
    task = DigitsTask()
    figures = []
    for name, grow in (("as it is", False), ("grown", True)):
        model = train(task, options.epochs, options.seed, grow=grow, price=options.price)
        size = sum(parameter.numel() for parameter in model.parameters())
        figures.append((name, score(model, task.test)[1], size))
    print()
    for name, accuracy, size in figures:
        print(f"{name:8s}  test accuracy {accuracy:5.1f} %  {size:4d} parameters")
    print(
        f"growth    {figures[1][1] - figures[0][1]:+.1f} points for {figures[1][2] - figures[0][2]:+d} parameters"
    )


if __name__ == "__main__":
    main()
