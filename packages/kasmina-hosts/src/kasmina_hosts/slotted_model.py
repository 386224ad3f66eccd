"""Slots in any network: behind which layers, what these put out, and the plain network that comes of them."""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from difflib import get_close_matches
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from kasmina_hosts.diagnostics import Diagnostics, gradient_effect, slot_diagnostics
from kasmina_hosts.seed_slot import Activation, GrownLayer, SeedSlot, SlotError
from leyline_types import Topology, brief

CONTAINER = "grown_slots"
"""Name under which a model holds its slots: their seeds are among its parameters and in its state_dict."""

Sample = Tensor | tuple[Any, ...] | Mapping[str, Any]


@final
class GrownSlots(nn.ModuleDict):
    """The slots of a model. Called, it changes nothing: a `nn.Sequential` calls all of its children."""

    def forward(self, x: Tensor, *args: object, **kwargs: object) -> Tensor:
        """The first input."""
        return x


def find_activations(model: nn.Module, slots: Mapping[str, str], sample: Sample) -> dict[str, Activation]:
    """What the layers put out, found by running the model once, in evaluation mode and without gradients.

    Args:
        model: any network; it is left as it was.
        slots: slot id -> name of the layer, as in `model.named_modules()`.
        sample: an input of the model; a tuple is its positional, a mapping its keyword arguments.

    Raises:
        SlotError: the model has slots already; a layer is unknown, named twice, not used by the model, or puts out
            something else than one tensor [B, C, H, W] or [B, T, D] of floating point; the layers' kinds differ.
    """
    if hasattr(model, "_orig_mod"):
        raise SlotError("the model is what torch.compile returned; give the model itself, then compile it")
    if hasattr(model, CONTAINER):
        raise SlotError(f"the model has slots already (in its attribute {CONTAINER!r})")
    layers = {slot_id: _find_layer(model, slot_id, name) for slot_id, name in slots.items()}
    _check_distinct(slots, layers)
    activations = _trace(model, slots, layers, sample)
    kinds = {slot_id: activation.topology for slot_id, activation in activations.items()}
    if len(set(kinds.values())) > 1:
        listed = ", ".join(f"{slot_id} ({slots[slot_id]}) is {kind}" for slot_id, kind in kinds.items())
        raise SlotError(f"all slots of a network must be of one topology: {listed}")
    return activations


def attach_slots(
    model: nn.Module, slots: Mapping[str, str], activations: Mapping[str, Activation], *, co_adapt: bool
) -> dict[str, SeedSlot]:
    """Give a model its empty slots, each with a hook on its layer.

    The hooks stay: a compiled model does not notice that one comes or goes.
    """
    with torch.inference_mode(False):
        made = {slot_id: SeedSlot(each, co_adapt=co_adapt) for slot_id, each in activations.items()}
        first = next((each for each in model.parameters() if each.is_floating_point()), None)
        container = GrownSlots(made).to(None if first is None else first.device)
    container.train(model.training)
    for slot_id, name in slots.items():
        model.get_submodule(name).register_forward_hook(made[slot_id].after_layer)
    model.add_module(CONTAINER, container)
    return made


def measure_slots(
    model: nn.Module, slots: Mapping[str, SeedSlot], layers: Mapping[str, str], diagnose: Callable[[], Tensor]
) -> Diagnostics:
    """The diagnostics of a slotted model, as of a population of one host.

    The model is left as it was: nothing is learnt, no gradient is kept, modes and torch's random state are put back.
    Hooks of the user's run as in any pass through the model.

    Args:
        model: one that has its slots.
        slots: all of them.
        layers: slot id -> name of the layer before the slot.
        diagnose: runs the model and returns its loss; see `Grower`. Called once, in evaluation mode, with gradients and
            without compilation: a compiled model is run as it is written.

    Returns:
        [1, slot], on the CPU. Of a layer that the model uses several times in a pass, the activation is that of the
        first time, the gradient that of all. The gradient's share of a layer without parameters that learn is unknown;
        the others' shares are among themselves. A layer that another slot's layer is part of counts without it.

    Raises:
        ValueError: `diagnose` did not return a finite scalar, did not run a layer, or returned what no gradient leads
            from to a layer that learns.
    """
    seeds = set(model.get_submodule(CONTAINER).parameters())
    learning = {
        slot_id: _own_parameters(model, name, layers.values(), seeds) for slot_id, name in layers.items()
    }
    with _undisturbed(model), _recording(slots) as recorded:
        loss = _check_loss(diagnose())
        for slot_id, name in layers.items():
            if not recorded[slot_id]:
                raise ValueError(
                    f"`diagnose` did not run layer {name!r} of slot {slot_id!r}: it must call the model that its "
                    "Grower was made of, and no copy of it"
                )
        gradients = _gradients(loss, [parameter for own in learning.values() for parameter in own])
    effects = [
        _effect(own, gradients, f"layer {layers[slot_id]!r} of slot {slot_id!r}")
        for slot_id, own in learning.items()
    ]
    activations = [each[0].unsqueeze(0) for each in recorded.values()]
    device = activations[0].device
    if device.type == "mps":  # which has no float64
        device = torch.device("cpu")
    found = slot_diagnostics(
        [each.to(device) for each in activations],
        [each.to(device) for each in effects],
        next(iter(slots.values())).activation.topology,
    )
    return Diagnostics(*(column.cpu() for column in found))


def without_slots(model: nn.Module, slots: Mapping[str, str]) -> nn.Module:
    """A copy of a slotted model as a plain network that computes the same in evaluation mode."""
    copy: nn.Module = deepcopy(model)
    container = copy.get_submodule(CONTAINER)
    layers = {slot_id: copy.get_submodule(name) for slot_id, name in slots.items()}
    delattr(copy, CONTAINER)
    plain = copy
    for slot_id, layer in layers.items():
        for key, hook in list(layer._forward_hooks.items()):
            if isinstance(getattr(hook, "__self__", None), SeedSlot):
                del layer._forward_hooks[key]
        slot = container.get_submodule(slot_id)
        assert isinstance(slot, SeedSlot)
        if slot.alters_output and slot.seed is not None:
            grown = GrownLayer(layer, slot.seed, slot.gate, float(slot.alpha), slot.algorithm)
            grown.training = layer.training
            _replace(copy, layer, grown)
            plain = grown if layer is copy else plain
    return plain


class ExportError(RuntimeError):
    """A network that cannot be exported."""


def check_same(model: nn.Module, plain: nn.Module, sample: Sample) -> None:
    """That two networks compute the same on a sample in evaluation mode.

    Raises:
        ExportError: they do not.
    """
    pairs = zip(*(tree_leaves(_evaluate(each, sample)) for each in (model, plain)), strict=True)
    for expected, found in pairs:
        if isinstance(expected, Tensor) and not torch.allclose(
            expected, found, rtol=1e-3, atol=1e-5, equal_nan=True
        ):
            difference = float((expected - found).abs().max())
            raise ExportError(
                f"the exported network differs from the model by {difference:.2g} on the sample: some module looks "
                "into a grown layer in a way that it cannot follow; move the slot to a layer of your own"
            )


@torch.no_grad()
def _evaluate(model: nn.Module, sample: Sample) -> object:
    """The output in evaluation mode; every module's mode is as before."""
    with _evaluating(model):
        if isinstance(sample, Mapping):
            return model(**sample)
        return model(*(sample if isinstance(sample, tuple) else (sample,)))


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode; afterwards every module's mode is as before."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


@contextmanager
def _undisturbed(model: nn.Module) -> Iterator[None]:
    """Evaluation mode with gradients, uncompiled; afterwards modes and random state are as before.

    A compiled graph would not record, or would keep recording if it were made now.
    """
    devices = {parameter.device for parameter in model.parameters()}
    cuda = [device.index for device in devices if device.type == "cuda"]
    with (
        _evaluating(model),
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.random.fork_rng(cuda),
        torch.compiler.set_stance("force_eager"),
    ):
        yield


@contextmanager
def _recording(slots: Mapping[str, SeedSlot]) -> Iterator[dict[str, list[Tensor]]]:
    """The first output of each slot's layer, by slot id; no output where the layer does not run."""
    recorded: dict[str, list[Tensor]] = {slot_id: [] for slot_id in slots}
    for slot_id, slot in slots.items():
        slot.recorded = recorded[slot_id]
    try:
        yield recorded
    finally:
        for slot in slots.values():
            slot.recorded = None


def _own_parameters(
    model: nn.Module, name: str, names: Collection[str], seeds: Collection[nn.Parameter]
) -> list[nn.Parameter]:
    """Those of a slot's layer that learn and belong neither to a seed nor to a slot's layer within it."""
    within = {
        parameter
        for other in names
        if other.startswith(f"{name}." if name else "") and other != name
        for parameter in model.get_submodule(other).parameters()
    }
    return [
        each
        for each in model.get_submodule(name).parameters()
        if each.requires_grad and each not in seeds and each not in within
    ]


def _check_loss(loss: object) -> Tensor:
    if not isinstance(loss, Tensor):
        raise ValueError(f"`diagnose` must return a scalar tensor, not {brief(repr(loss))}")
    if loss.dim() or not loss.is_floating_point():
        raise ValueError(
            f"`diagnose` must return a scalar tensor, not {loss.dtype} of shape {tuple(loss.shape)}"
        )
    if not loss.isfinite():
        raise ValueError(f"what `diagnose` returns must be finite, not {loss.item()}")
    return loss


def _gradients(loss: Tensor, parameters: list[nn.Parameter]) -> dict[nn.Parameter, Tensor]:
    """Of the parameters that the loss depends on; what they have in `grad` stays as it is."""
    if not loss.requires_grad or not parameters:
        return {}
    wanted = list(dict.fromkeys(parameters))  # layers may share them
    found: tuple[Tensor | None, ...] = torch.autograd.grad(loss, wanted, allow_unused=True)
    return {
        parameter: gradient for parameter, gradient in zip(wanted, found, strict=True) if gradient is not None
    }


def _effect(
    parameters: list[nn.Parameter], gradients: Mapping[nn.Parameter, Tensor], layer: str
) -> Float[Tensor, " 1"]:
    """See `gradient_effect`; NaN of a layer that does not learn."""
    if not parameters:
        return torch.full((1,), torch.nan)
    reached = [parameter for parameter in parameters if parameter in gradients]
    if not reached:
        raise ValueError(
            f"the gradient of what `diagnose` returned does not reach {layer}: return the loss itself, computed with "
            "gradients, neither detached nor under `no_grad`; or freeze the layer if it is not to learn"
        )
    # In float32 at least: squares of what half precision holds are beyond it.
    pairs = [(each.detach(), gradients[each]) for each in reached]
    precise = [torch.promote_types(weight.dtype, torch.float32) for weight, _ in pairs]
    return gradient_effect(
        [
            (weight[None].to(dtype), gradient[None].to(dtype))
            for (weight, gradient), dtype in zip(pairs, precise, strict=True)
        ]
    ).float()


def _find_layer(model: nn.Module, slot_id: str, name: str) -> nn.Module:
    names: dict[str, nn.Module] = dict(model.named_modules())
    if name not in names:
        near = get_close_matches(name, names, n=3, cutoff=0.3)
        hint = f"; near by are {', '.join(map(repr, near))}" if near else ""
        raise SlotError(f"slot {slot_id!r}: the model has no layer {name!r}{hint}")
    return names[name]


def _check_distinct(slots: Mapping[str, str], layers: Mapping[str, nn.Module]) -> None:
    seen: dict[nn.Module, str] = {}
    for slot_id, layer in layers.items():
        if layer in seen:
            raise SlotError(f"slots {seen[layer]!r} and {slot_id!r} are both behind layer {slots[slot_id]!r}")
        seen[layer] = slot_id


def _trace(
    model: nn.Module, slots: Mapping[str, str], layers: Mapping[str, nn.Module], sample: Sample
) -> dict[str, Activation]:
    recorder = _Recorder()
    hooks = [layer.register_forward_hook(recorder.after_layer) for layer in layers.values()]
    try:
        _evaluate(model, sample)
    finally:
        for hook in hooks:
            hook.remove()
    return {
        slot_id: _activation(slot_id, slots[slot_id], layer, recorder.outputs.get(layer, []))
        for slot_id, layer in layers.items()
    }


@final
class _Recorder:
    def __init__(self) -> None:
        self.outputs: dict[nn.Module, list[object]] = {}

    def after_layer(self, layer: nn.Module, inputs: object, output: object) -> None:
        self.outputs.setdefault(layer, []).append(output)


def _activation(slot_id: str, name: str, layer: nn.Module, outputs: list[object]) -> Activation:
    where = f"slot {slot_id!r}: layer {name!r}"
    if not outputs:
        raise SlotError(f"{where} is not used when the model runs on the sample")
    found = set()
    for output in outputs:
        if not isinstance(output, Tensor):
            raise SlotError(
                f"{where} puts out {type(output).__name__}, expected one tensor [B, C, H, W] or [B, T, D]"
            )
        if output.is_nested:
            raise SlotError(
                f"{where} puts out a nested tensor; make the encoder with enable_nested_tensor=False"
            )
        if output.dim() == 3 and isinstance(layer, nn.Conv1d | nn.BatchNorm1d):
            raise SlotError(f"{where} puts out [B, C, L], expected tokens [B, T, D]")
        if output.dim() not in (3, 4) or not output.is_floating_point():
            raise SlotError(
                f"{where} puts out {output.dtype} of shape {tuple(output.shape)}, expected floating point "
                "[B, C, H, W] or [B, T, D]"
            )
        topology = Topology.CNN if output.dim() == 4 else Topology.TRANSFORMER
        channels = output.shape[1 if topology is Topology.CNN else -1]
        found.add(Activation(topology, channels))
    if len(found) > 1:
        raise SlotError(f"{where} is used several times, with differing outputs: {sorted(map(str, found))}")
    return found.pop()


def _replace(model: nn.Module, old: nn.Module, new: nn.Module) -> None:
    for parent in list(model.modules()):
        for name, child in list(parent._modules.items()):
            if child is old:
                setattr(parent, name, new)
