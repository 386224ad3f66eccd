"""A grower is saved and goes on bit for bit, in the middle of growth, with any optimiser."""

import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from networks_to_grow import NETWORKS, Loop, eventful, loop, sgd
from torch import nn

from kasmina_hosts import DigitsTask, StateError
from leyline_types import AlphaMode


def adamw(model: nn.Module) -> torch.optim.Optimizer:
    first, *others = model.parameters()
    groups: list[dict[str, Any]] = [{"params": [first]}, {"params": others, "lr": 3e-3}]
    return torch.optim.AdamW(groups, lr=1e-2)


def fresh(
    task: DigitsTask, network: str, make_optimizer: Callable[[nn.Module], torch.optim.Optimizer]
) -> Loop:
    actions = eventful(NETWORKS[network][2])
    return loop(task, network, actions, make_optimizer=make_optimizer, validate=True, diagnose=True)


def through_a_file(state: Any) -> Any:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def go_on(run: Loop, epochs: int) -> list[torch.Tensor]:
    """Everything that can differ: columns of each observation, then all parameters."""
    found: list[torch.Tensor] = []
    for epoch in range(epochs):
        torch.manual_seed(epoch)
        signals, slots, _ = run.epoch().observation
        found += [*signals, *slots]
    return [*found, *run.model.state_dict().values()]


@pytest.mark.parametrize("network", list(NETWORKS))
@pytest.mark.parametrize("make_optimizer", [sgd, adamw])
@pytest.mark.parametrize("saved_after", [0, 4, 8, 14])
def test_it_goes_on_bit_for_bit(
    task: DigitsTask,
    network: str,
    make_optimizer: Callable[[nn.Module], torch.optim.Optimizer],
    saved_after: int,
) -> None:
    first = fresh(task, network, make_optimizer)
    go_on(first, saved_after)
    saved = through_a_file(
        {
            "grower": first.grower.state_dict(),
            "model": first.model.state_dict(),
            "optimizer": first.optimizer.state_dict(),
        }
    )
    second = fresh(task, network, make_optimizer)
    second.grower.load_state_dict(saved["grower"])
    second.model.load_state_dict(saved["model"])
    second.optimizer.load_state_dict(saved["optimizer"])
    assert second.grower.epoch == saved_after
    for ours, theirs in zip(go_on(second, 4), go_on(first, 4), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0, equal_nan=True)


def test_a_grower_that_has_grown_can_be_sent_back(task: DigitsTask) -> None:
    """Its present seeds leave model and optimiser."""
    run = fresh(task, "resnet", sgd)
    go_on(run, 2)
    saved = through_a_file([run.grower.state_dict(), run.model.state_dict(), run.optimizer.state_dict()])
    first = go_on(run, 6)
    run.grower.load_state_dict(saved[0])
    run.model.load_state_dict(saved[1])
    run.optimizer.load_state_dict(saved[2])
    held = [parameter for group in run.optimizer.param_groups for parameter in group["params"]]
    assert set(held) == set(run.model.parameters())
    assert len(held) == len(set(held))
    for ours, theirs in zip(go_on(run, 6), first, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0, equal_nan=True)


def test_a_seed_that_falls_stays_frozen_when_a_state_of_its_fall_is_loaded(task: DigitsTask) -> None:
    """Into a grower whose seed falls as well: that slot is frozen already, its new seed is not."""
    run = fresh(task, "plain cnn", sgd)
    go_on(run, 8)
    saved = through_a_file([run.grower.state_dict(), run.model.state_dict(), run.optimizer.state_dict()])
    first = go_on(run, 2)
    run.grower.load_state_dict(saved[0])
    run.model.load_state_dict(saved[1])
    run.optimizer.load_state_dict(saved[2])
    report = run.grower.reports()["r0c0"]
    assert report is not None
    assert report.alpha_mode is AlphaMode.DOWN
    run.grower.load_state_dict(saved[0])
    run.model.load_state_dict(saved[1])
    run.optimizer.load_state_dict(saved[2])
    for ours, theirs in zip(go_on(run, 2), first, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0, equal_nan=True)


def damage(state: dict[str, Any], name: str) -> dict[str, Any]:
    columns = dict(state["columns"])
    match name:
        case "other slots":
            return state | {"arguments": state["arguments"] | {"slots": {"r0c0": "head"}}}
        case "other length":
            return state | {"arguments": state["arguments"] | {"max_epochs": 7}}
        case "other channels":
            return state | {"arguments": state["arguments"] | {"channels": {"r0c0": 3}}}
        case "other seed":
            return state | {"arguments": state["arguments"] | {"seed": 7}}
        case "other price":
            return state | {"arguments": state["arguments"] | {"parameter_price": "1.0"}}
        case "no arguments":
            return state | {"arguments": None}
        case "odd list":
            return state | {"joined": 5}
        case "no pairs":
            return state | {"joined": [5]}
        case "before the first epoch":
            return state | {"epoch": -4}
        case "no stage":
            columns["life.stage"] = columns["life.stage"] + 90
        case "lora":
            columns["life.blueprint"] = torch.full_like(columns["life.blueprint"], 8)
        case "no column":
            del columns["life.alpha"]
        case "short column":
            columns["life.alpha"] = columns["life.alpha"][:, :1]
        case "seed too many":
            return state | {"joined": [*state["joined"], ["r0c2", "seed"]]}
        case "no memory":
            return {key: value for key, value in state.items() if key != "memory"}
        case "other memory":
            return state | {"memory": [torch.zeros(1), 2]}
        case "stage before":
            columns["life.previous_stage"] = torch.full_like(columns["life.previous_stage"], 100)
        case "no share":
            columns["diagnostics.host_gradient_share"] = columns["diagnostics.host_gradient_share"] + 1
        case "sparse":
            columns["life.alpha"] = columns["life.alpha"].to_sparse()
        case "no tensor":
            columns["hosts.best.loss"] = [1.0]
        case "no number":
            columns["hosts.validation.loss"] = columns["hosts.validation.loss"] * torch.nan
        case "too many steps":
            return state | {"steps": 2**62}
        case "fewer steps than epochs":
            return state | {"steps": 3}
        case "true":
            return state | {"epoch": True}
        case "too many planted":
            return state | {"planted": state["planted"] + 5}
        case "tensor for an argument":
            return state | {"arguments": state["arguments"] | {"seed": torch.zeros(2)}}
        case "other entry":
            return state | {"feathers": 1, "legs": 2}
        case "other column":
            columns["life.feathers"] = columns["life.alpha"]
        case "memory that is none":
            return state | {"memory": [-100]}
        case "no planted":
            return {key: value for key, value in state.items() if key != "planted"}
        case _:
            raise AssertionError(name)
    return state | {"columns": columns}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("other slots", "slots: {'r0c0': 'head'} in the state, {'r0c0': 'stem'"),
        ("other length", "max_epochs: 7 in the state, 20 here"),
        ("other channels", r"channels: {'r0c0': 3} in the state, {'r0c0': 6"),
        ("other seed", "seed: 7 in the state, 0 here"),
        ("other price", "parameter_price: 1.0 in the state, 0.3 here"),
        ("no arguments", "the state holds no dict 'arguments'"),
        ("odd list", "'joined' of the state is no list of pairs but 5"),
        ("no pairs", r"'joined' of the state is no list of pairs but \[5\]"),
        ("before the first epoch", "the state is of epoch -4 and step 8"),
        ("no stage", "'life.stage' of the state holds"),
        ("lora", r"'life.blueprint' of the state holds 8 at \[0, 0\], expected one of 0, 1, 2"),
        ("no column", "the state has no 'life.alpha'"),
        (
            "short column",
            r"'life.alpha' of the state is torch.float32 of shape \(1, 1\), expected .* of \(1, 3\)",
        ),
        ("seed too many", "'joined' of the state is .*, its lifecycle holds"),
        ("no memory", "the state holds no list 'memory'"),
        ("other memory", "another kind of controller"),
        ("no planted", "the state has no 'planted' or no 'joined'"),
        (
            "stage before",
            r"'life.previous_stage' of the state holds 100 at \[0, 0\], expected one of 1, 2, 3, 4, 6",
        ),
        (
            "no share",
            r"'diagnostics.host_gradient_share' of the state holds 1.* at \[0, 0\], expected 0 to 1",
        ),
        ("sparse", "'life.alpha' of the state is a tensor that is sparse, expected a dense one"),
        ("no tensor", "'hosts.best.loss' of the state is of type list, expected a tensor"),
        ("no number", r"'hosts.validation.loss' of the state holds nan at \[0\], expected a finite number"),
        ("too many steps", "the state is of epoch 4 and step 4611686018427387904"),
        ("fewer steps than epochs", "the state is of epoch 4 and step 3"),
        ("true", "the state holds no int 'epoch'"),
        ("too many planted", r"'planted' of the state holds 6 at \[0\], expected 1 to 5"),
        ("tensor for an argument", r"seed: tensor\(\[0., 0.\]\) in the state, 0 here"),
        ("other entry", "the state holds what this grower does not: feathers, legs"),
        ("other column", "the state holds what this grower does not: life.feathers"),
        ("memory that is none", "the controller cannot act on the state: IndexError"),
    ],
)
def test_a_damaged_state_is_refused_and_changes_nothing(task: DigitsTask, name: str, message: str) -> None:
    run, untouched = fresh(task, "resnet", sgd), fresh(task, "resnet", sgd)
    go_on(run, 4)
    go_on(untouched, 4)
    with pytest.raises(StateError, match=message):
        run.grower.load_state_dict(damage(run.grower.state_dict(), name))
    for ours, theirs in zip(go_on(run, 2), go_on(untouched, 2), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0, equal_nan=True)


def test_a_state_is_a_copy(task: DigitsTask) -> None:
    run = fresh(task, "resnet", sgd)
    go_on(run, 3)
    state = run.grower.state_dict()
    stage = state["columns"]["life.stage"].clone()
    go_on(run, 3)
    assert torch.equal(state["columns"]["life.stage"], stage)
