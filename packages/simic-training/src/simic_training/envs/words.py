"""A host in a few lines of text."""

from collections.abc import Iterator

from torch import Tensor

from leyline_types import BlueprintAction, LifecycleOp, Observation, SeedStage, SlotConfig


def host_in_words(observation: Observation[Tensor], host: int, slot_config: SlotConfig) -> str:
    """How far the host is, its last action, and what each slot holds.

    Args:
        observation: columns, [host] and [host, slot].
        host: its place.
        slot_config: the slots, in order.
    """
    return "\n".join([_progress(observation, host), *_slots(observation, host, slot_config)])


def _progress(observation: Observation[Tensor], host: int) -> str:
    signals = observation.signals
    size = float(signals.total_params[host] / signals.host_params[host])
    words = f"epoch {int(signals.epoch[host])} of {int(signals.max_epochs[host])}"
    words += f"  accuracy {float(signals.val_accuracy[host]):.1f} %  size {size:.2f}"
    if float(signals.last_op[host]) >= 0:
        effect = "" if float(signals.last_op_took_effect[host]) > 0 else " without effect"
        words += f"  after {LifecycleOp(int(signals.last_op[host])).name}{effect}"
    return words


def _slots(observation: Observation[Tensor], host: int, slot_config: SlotConfig) -> Iterator[str]:
    slots = observation.slots
    for place, slot_id in enumerate(slot_config):
        if not slots.occupied[host, place]:
            yield f"{slot_id}  empty"
            continue
        stage = SeedStage(int(slots.stage[host, place])).name
        blueprint = BlueprintAction(int(slots.blueprint[host, place])).blueprint_id
        alpha, target = float(slots.alpha[host, place]), float(slots.alpha_target[host, place])
        yield f"{slot_id}  {stage.lower()} {blueprint}  alpha {alpha:.2f} of {target:.2f}"
