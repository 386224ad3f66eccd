"""Shapes checked at every call, and small worlds to act in."""

import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint, EntryPoints
from math import nan
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import jaxtyping
import pytest
import torch
from beartype import BeartypeConf, FrozenDict, beartype
from hypothesis import HealthCheck, settings
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend

from leyline_types import (
    HISTORY_LENGTH,
    BlueprintAction,
    FactoredActions,
    LifecycleOp,
    Observation,
    SeedStage,
    SignalColumns,
    SlotColumns,
    SlotConfig,
    Topology,
    head_sizes,
)

sys.path.insert(0, str(Path(__file__).parent))  # for the modules that tests share

# beartype knows no generic NamedTuples and no Self outside decorated classes; those it may take as they come.
_CHECKER = ModuleType("leyline_beartype")
_GENERICS = (FactoredActions, FactoredActions[Tensor], Observation, Observation[Tensor], Self)
_CONF = BeartypeConf(hint_overrides=FrozenDict(dict.fromkeys(_GENERICS, object)))
vars(_CHECKER)["check"] = beartype(conf=_CONF)
sys.modules[_CHECKER.__name__] = _CHECKER
with jaxtyping.install_import_hook("tamiyo_policies", f"{_CHECKER.__name__}.check"):
    from tamiyo_masks import ActionMasks
    from tamiyo_policies import (
        PolicyBundle,
        PolicyConfig,
        clear_registry,
        create_policy,
        register_builtin_policies,
        registry,
    )

torch.set_num_threads(1)

settings.register_profile("tensors", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tensors")

Observe = Callable[..., Observation[Tensor]]
MakeMasks = Callable[..., ActionMasks]


@pytest.fixture(autouse=True)
def _builtin_policies() -> Iterator[None]:
    """The registry as a program finds it after its first line."""
    clear_registry()
    register_builtin_policies()
    yield
    clear_registry()


@pytest.fixture
def unchecked() -> Iterator[None]:
    """No shape checks: for callers without types, and for torch.compile, which the checks would break up."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def counter(monkeypatch: pytest.MonkeyPatch) -> Iterator[CompileCounterWithBackend]:
    """Counts the graphs that are captured, and runs them as they are: the compiler's back end takes its time."""
    torch.compiler.reset()
    captured = CompileCounterWithBackend("eager")
    compile_whole = torch.compile

    def capture(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        made: Callable[..., Any] = compile_whole(function, backend=captured, **options)
        return made

    monkeypatch.setattr(torch, "compile", capture)
    yield captured
    torch.compiler.reset()


@pytest.fixture
def offer(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes these pairs of a name and what it stands for the entry points of installed packages."""

    def install(*pairs: tuple[str, str]) -> None:
        points = EntryPoints(EntryPoint(name, value, "tamiyo.policies") for name, value in pairs)
        monkeypatch.setattr(registry, "entry_points", lambda *, group: points.select(group=group))

    return install


@pytest.fixture
def generator() -> torch.Generator:
    """A source of randomness of the test's own."""
    return torch.Generator().manual_seed(0)


@pytest.fixture
def sharpened() -> Callable[[PolicyConfig], PolicyBundle]:
    """Makes policies whose logits are far enough apart to tell actions apart."""
    return lambda config: sharpen(create_policy(config))


@pytest.fixture
def policy() -> PolicyBundle:
    """A small LSTM policy for the three default slots, its logits far enough apart to tell actions apart."""
    return sharpen(create_policy(PolicyConfig(hidden_dim=16)))


@pytest.fixture
def make_masks() -> MakeMasks:
    """Random masks over a batch shape, of which WAIT and nothing else is sure to be legal."""

    def make(*batch: int, generator: torch.Generator, slots: int = 3) -> ActionMasks:
        slot_by_op = torch.rand(*batch, len(LifecycleOp), slots, generator=generator) < 0.6
        slot_by_op[..., LifecycleOp.WAIT, :] = False
        op = slot_by_op.any(-1)
        slot = slot_by_op.any(-2)
        slot[..., 0] |= ~slot.any(-1)
        slot_by_op[..., 0] |= ~op  # rows of illegal ops name slot 0, as `action_masks` has it
        op[..., LifecycleOp.WAIT] = True
        heads = [slot]
        for size in head_sizes(SlotConfig.for_grid(1, slots))[1:-1]:
            heads.append(torch.rand(*batch, size, generator=generator) < 0.6)
            heads[-1][..., -1] = True
        return ActionMasks(*[*heads, op, slot_by_op])

    return make


@pytest.fixture
def observe() -> Observe:
    """An observation of fresh hosts with empty slots, but for the columns given by name, which may broadcast."""

    def make(
        envs: int = 1, slots: int = 3, topology: Topology = Topology.CNN, **columns: Any
    ) -> Observation[Tensor]:
        signals = _signals(envs, slots, topology)
        per_slot = _slots(envs, slots)
        for name, value in columns.items():
            target = signals if name in signals else per_slot
            target[name] = (
                torch.as_tensor(value, dtype=target[name].dtype).broadcast_to(target[name].shape).clone()
            )
        if "stage" in columns:
            per_slot["occupied"] = per_slot["stage"] != int(SeedStage.DORMANT)
        return Observation(SignalColumns(**signals), SlotColumns(**per_slot))

    return make


def sharpen(policy: PolicyBundle) -> PolicyBundle:
    """The policy with the weights of its action heads scaled up from nearly nothing."""
    with torch.no_grad():
        for name, weight in policy.state_dict().items():
            if name.endswith("action_head.weight"):
                weight.mul_(200)
    return policy


_INTEGER = {"epoch", "global_step", "plateau_epochs", "live_seeds", "last_op", "last_op_took_effect"}


def _signals(envs: int, slots: int, topology: Topology) -> dict[str, Tensor]:
    columns = dict.fromkeys(SignalColumns._fields, torch.zeros(envs))
    columns |= dict.fromkeys(_INTEGER, torch.zeros(envs, dtype=torch.int64))
    columns |= {name: torch.zeros(envs, dtype=torch.bool) for name in ("host_stabilized", "rolled_back")}
    columns |= {
        name: torch.full((envs, HISTORY_LENGTH), nan) for name in ("loss_history", "accuracy_history")
    }
    counts = {
        "max_epochs": 20,
        "max_steps": 200,
        "seed_capacity": slots,
        "topology": topology.code,
        "total_params": 1000,
        "host_params": 1000,
    }
    columns |= {name: torch.full((envs,), value) for name, value in counts.items()}
    return columns | {"baseline_loss": torch.full((envs,), 2.3), "parameter_price": torch.full((envs,), 0.3)}


_UNKNOWN = (
    *("contribution", "contribution_velocity", "interaction_sum", "boost_received", "gradient_ratio"),
    *("host_gradient_share", "activation_rank", "within_map_variance"),
)
_FLOATING = ("alpha", "alpha_target", "alpha_velocity", "improvement_in_stage")


def _slots(envs: int, slots: int) -> dict[str, Tensor]:
    columns = dict.fromkeys(SlotColumns._fields, torch.zeros(envs, slots, dtype=torch.int64))
    columns |= dict.fromkeys(_UNKNOWN, torch.full((envs, slots), nan))
    columns |= dict.fromkeys(
        (*_FLOATING, "upstream_alpha_sum", "downstream_alpha_sum"), torch.zeros(envs, slots)
    )
    columns["occupied"] = torch.zeros(envs, slots, dtype=torch.bool)
    columns["stage"] = torch.full((envs, slots), int(SeedStage.DORMANT))
    columns["blueprint"] = torch.full((envs, slots), int(BlueprintAction.NOOP))
    return columns
