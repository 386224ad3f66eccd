"""The observation schema's one table: every feature, where it comes from and how it is scaled.

Dimensions, index ranges, names, normalising vectors and the documentation are derived from this table (`schema.py`).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Final

from leyline_types.actions import AlphaAlgorithm, AlphaMode, LifecycleOp
from leyline_types.blueprints import BlueprintAction
from leyline_types.columns import HISTORY_LENGTH
from leyline_types.stages import SeedStage


class Block(StrEnum):
    """Which columns a field reads, and how often it stands in the feature vector: once, or once per slot."""

    BASE = "base"
    SLOT = "slot"
    TELEMETRY = "telemetry"


class Encoding(StrEnum):
    """How a column becomes features."""

    VALUE = "value"
    """clamp(raw / relative_to * scale, low, high); of a `symlog` field

        clamp(symlog(raw / relative_to) * scale, low, high),  symlog(x) = sign(x) ln(1 + |x|).

    0 where the raw value is unknown, and in an empty slot unless the field is `of_slot`."""
    ONE_HOT = "one-hot"
    """One feature per category, 1 where the raw value is that category's; all 0 where unknown or empty."""
    KNOWN = "known"
    """1 where the raw value is known, 0 where it is not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldSpec:
    """One row of the table.

    Args:
        name: the feature's name, unique in its block.
        block: which columns it reads.
        source: the column.
        encoding: how the column becomes features.
        width: features it takes.
        unit: of the raw value.
        relative_to: the signal column that the raw value is divided by, if any.
        symlog: whether the quotient is compressed, for quantities that nothing bounds: small values keep their
            proportions, large ones differ by their ratio. D. Hafner et al., Mastering Diverse Domains through World
            Models, https://arxiv.org/abs/2301.04104. All fields that show the same column as a value agree on it.
        scale: factor after that.
        low, high: the range that the feature is clamped to.
        of_slot: whether it describes the slot and not the seed in it, so that an empty slot has it too.
        categories: for ONE_HOT, the enum members in order.
        description: one line for the documentation.
    """

    name: str
    block: Block
    source: str
    encoding: Encoding
    width: int = 1
    unit: str
    relative_to: str | None = None
    symlog: bool = False
    scale: float = 1.0
    low: float = 0.0
    high: float = 1.0
    of_slot: bool = False
    categories: tuple[IntEnum, ...] = ()
    description: str

    @property
    def is_quantity(self) -> bool:
        """Whether the feature is an amount, which a normaliser may rescale, and not a bit or the sign of a category."""
        return self.encoding is Encoding.VALUE and self.unit not in ("bit", "index")


_MOST: Final = 12.0
"""Greatest feature of a symlog field; e^12 is 163,000, so that only what has diverged is cut off."""


def _value(
    block: Block,
    name: str,
    unit: str,
    description: str,
    *,
    source: str | None = None,
    scale: float = 1.0,
    low: float = 0.0,
    high: float = 1.0,
    relative_to: str | None = None,
    symlog: bool = False,
    of_slot: bool = False,
    width: int = 1,
) -> FieldSpec:
    return FieldSpec(
        name=name,
        block=block,
        source=source or name,
        encoding=Encoding.VALUE,
        width=width,
        unit=unit,
        relative_to=relative_to,
        symlog=symlog,
        of_slot=of_slot,
        scale=scale,
        low=low,
        high=high,
        description=description,
    )


def _points(block: Block, name: str, unit: str, description: str, *, source: str | None = None) -> FieldSpec:
    """Points of accuracy, which may rise and fall by a hundred."""
    return _value(block, name, unit, description, source=source, symlog=True, low=-_MOST, high=_MOST)


def _with_known(field: FieldSpec) -> tuple[FieldSpec, FieldSpec]:
    """A field that may be unknown, and its validity bit right after it."""
    known = FieldSpec(
        name=f"{field.name}_known",
        block=field.block,
        source=field.source,
        encoding=Encoding.KNOWN,
        width=field.width,
        of_slot=field.of_slot,
        unit="bit",
        description=f"whether {field.name} is known",
    )
    return field, known


def _one_hot(
    block: Block, name: str, categories: Iterable[IntEnum], description: str, *, source: str | None = None
) -> FieldSpec:
    members = tuple(categories)
    return FieldSpec(
        name=name,
        block=block,
        source=source or name,
        encoding=Encoding.ONE_HOT,
        width=len(members),
        unit="category",
        categories=members,
        description=description,
    )


_B, _S, _T = Block.BASE, Block.SLOT, Block.TELEMETRY
_LONGEST_RAMP: Final = 1 / 8

BASE_FIELDS: Final[tuple[FieldSpec, ...]] = (
    _value(_B, "epoch", "epochs", "epochs trained, as a fraction of the episode", relative_to="max_epochs"),
    _value(
        _B,
        "step",
        "steps",
        "optimiser steps, as a fraction of the episode",
        source="global_step",
        relative_to="max_steps",
    ),
    _value(
        _B,
        "train_loss",
        "nats",
        "training loss over the loss of a guess",
        relative_to="baseline_loss",
        symlog=True,
        high=_MOST,
    ),
    _value(
        _B,
        "val_loss",
        "nats",
        "validation loss over the loss of a guess",
        relative_to="baseline_loss",
        symlog=True,
        high=_MOST,
    ),
    *_with_known(
        _value(
            _B,
            "loss_delta",
            "nats",
            "fall of the validation loss since the epoch before",
            relative_to="baseline_loss",
            symlog=True,
            low=-_MOST,
            high=_MOST,
        )
    ),
    _value(_B, "train_accuracy", "percent", "training accuracy", scale=0.01),
    _value(_B, "val_accuracy", "percent", "validation accuracy", scale=0.01),
    *_with_known(
        _points(_B, "accuracy_delta", "points", "rise of the validation accuracy since the epoch before")
    ),
    _value(_B, "plateau_epochs", "epochs", "epochs without improvement", scale=0.1),
    *_with_known(_value(_B, "best_val_accuracy", "percent", "best validation accuracy so far", scale=0.01)),
    *_with_known(
        _value(
            _B,
            "best_val_loss",
            "nats",
            "best validation loss so far",
            relative_to="baseline_loss",
            symlog=True,
            high=_MOST,
        )
    ),
    *_with_known(
        _value(
            _B,
            "loss_history",
            "nats",
            "last validation losses, newest last",
            relative_to="baseline_loss",
            symlog=True,
            high=_MOST,
            width=HISTORY_LENGTH,
        )
    ),
    *_with_known(
        _value(
            _B,
            "accuracy_history",
            "percent",
            "last validation accuracies, newest last",
            scale=0.01,
            width=HISTORY_LENGTH,
        )
    ),
    _value(
        _B,
        "total_params",
        "parameters",
        "parameters over the host's own",
        relative_to="host_params",
        symlog=True,
        high=_MOST,
    ),
    _value(
        _B,
        "seed_utilisation",
        "seeds",
        "live seeds over the seeds allowed",
        source="live_seeds",
        relative_to="seed_capacity",
    ),
    _one_hot(_B, "last_op", LifecycleOp, "op of the last action; all 0 before the first"),
    *_with_known(
        _value(
            _B,
            "last_op_took_effect",
            "bit",
            "whether the last action was neither refused nor stopped by its gate",
        )
    ),
    *_with_known(
        _value(
            _B, "grad_norm_host", "L2 norm", "last gradient of the host's parameters", symlog=True, high=_MOST
        )
    ),
    *_with_known(
        _value(
            _B, "grad_norm_seed", "L2 norm", "last gradient of the seeds' parameters", symlog=True, high=_MOST
        )
    ),
    _value(_B, "host_stabilized", "bit", "the host's first steep descent is over"),
    _value(_B, "rolled_back", "bit", "the governor restored the host's last snapshot in this epoch"),
    _value(_B, "topology", "index", "0 cnn, 1 transformer"),
    _value(
        _B,
        "parameter_price",
        "10 points",
        "accuracy that doubling the host's parameters must bring to be worth it",
        symlog=True,
        high=_MOST,
    ),
)

SLOT_FIELDS: Final[tuple[FieldSpec, ...]] = (
    _value(_S, "is_active", "bit", "the slot holds a seed or cools down after one", source="occupied"),
    _one_hot(_S, "stage", SeedStage, "stage of the seed"),
    _value(_S, "alpha", "fraction", "blend amplitude"),
    *_with_known(_points(_S, "contribution", "points", "accuracy with the seed minus without it")),
    *_with_known(_points(_S, "contribution_velocity", "points per epoch", "change of the contribution")),
    _value(
        _S,
        "blend_tempo",
        "epochs",
        "length of the first rise of alpha",
        source="blend_tempo_epochs",
        scale=_LONGEST_RAMP,
    ),
    _value(_S, "alpha_target", "fraction", "amplitude that alpha goes to"),
    _one_hot(_S, "alpha_mode", AlphaMode, "whether alpha rests, rises or falls"),
    _value(_S, "alpha_steps_total", "epochs", "length of the current change of alpha", scale=_LONGEST_RAMP),
    _value(_S, "alpha_steps_done", "epochs", "progress of the current change of alpha", scale=_LONGEST_RAMP),
    _value(_S, "time_to_target", "epochs", "rest of the current change of alpha", scale=_LONGEST_RAMP),
    _value(_S, "alpha_velocity", "fraction per epoch", "change of alpha in the last epoch", low=-1.0),
    _one_hot(_S, "alpha_algorithm", AlphaAlgorithm, "how the seed joins the host"),
    *_with_known(_points(_S, "interaction_sum", "points", "pairwise interactions with other seeds, summed")),
    *_with_known(_points(_S, "boost_received", "points", "largest gain from another seed")),
    _value(_S, "upstream_alpha_sum", "fraction", "alphas of live seeds nearer the input", scale=0.2),
    _value(_S, "downstream_alpha_sum", "fraction", "alphas of live seeds nearer the output", scale=0.2),
    _value(
        _S,
        "age",
        "epochs",
        "epochs since germination, as a fraction of the episode",
        source="age_epochs",
        relative_to="max_epochs",
    ),
    _value(
        _S,
        "epochs_in_stage",
        "epochs",
        "epochs in the stage, as a fraction of the episode",
        relative_to="max_epochs",
    ),
    _points(_S, "improvement_in_stage", "points", "rise of the validation accuracy since the stage began"),
    *_with_known(
        _value(
            _S,
            "gradient_ratio",
            "ratio",
            "seed's gradient over the host's, per root of size",
            symlog=True,
            high=_MOST,
        )
    ),
    _value(
        _S,
        "param_count",
        "parameters",
        "the seed's parameters over the host's own",
        relative_to="host_params",
        symlog=True,
        high=_MOST,
    ),
    _one_hot(_S, "blueprint", BlueprintAction, "what the seed is built from"),
    *_with_known(
        _value(
            _S,
            "host_gradient_share",
            "fraction",
            "how much the loss hangs on the layer before the slot, as a share of all layers before slots",
            of_slot=True,
        )
    ),
    *_with_known(
        _value(
            _S,
            "activation_rank",
            "fraction",
            "effective rank of the activation before the slot, as a fraction of its channels",
            of_slot=True,
        )
    ),
    *_with_known(
        _value(
            _S,
            "within_map_variance",
            "fraction",
            "share of that activation's variance between the positions of one sample's map",
            of_slot=True,
        )
    ),
)

TELEMETRY_FIELDS: Final[tuple[FieldSpec, ...]] = (
    _value(_T, "telemetry_known", "bit", "whether the slot gave telemetry", source="known"),
    _value(_T, "gradient_norm", "L2 norm", "gradient of the seed", symlog=True, high=_MOST),
    _value(_T, "gradient_health", "fraction", "0 dead or exploding, 1 healthy"),
    _value(_T, "has_vanishing", "bit", "the gradient vanishes"),
    _value(_T, "has_exploding", "bit", "the gradient explodes"),
    _value(_T, "seed_accuracy", "percent", "accuracy that the seed sees", source="accuracy", scale=0.01),
    _points(
        _T, "seed_accuracy_delta", "points", "its change since the epoch before", source="accuracy_delta"
    ),
    _value(_T, "blending_velocity", "fraction per epoch", "mean change of alpha over the blend", low=-1.0),
)
