"""A running normaliser for feature vectors: pure functions on an immutable state.

The statistics are merged batch by batch and worker by worker by the parallel form of Welford's algorithm: Chan, Golub
and LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances",
http://i.stanford.edu/pub/cstr/reports/cs/tr/79/773/CS-TR-79-773.pdf. Other than there, each feature has a count of its
own: where the schema says that a value is unknown (validity bit 0, empty slot), it is no observation of that feature,
and stays 0 when normalised. One-hots and bits are left alone.
"""

from functools import lru_cache
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Float64, Int, UInt8
from torch import Tensor
from torch.nn.functional import pad

from leyline_types import Block, Encoding, ObservationSchema, SlotConfig, observation_schema
from tamiyo_features.errors import NormalizerError


class NormalizerState(NamedTuple):
    """What is known of each feature, and how it is used. Float64, so that millions of vectors add up.

    Args:
        num_known: vectors in which the feature was known.
        mean: of those.
        m2: sum of their squared deviations from the mean.
        gate: index of the feature that says whether this one is known; the number of features where it always is.
        rescaled: whether the feature is a quantity; others are left alone.
        clip: largest magnitude of a normalised feature.
        min_std: least standard deviation that is divided by, so that a feature that never changed does not explode.
        schema: the hash of the observation schema that it is for, as bytes.
    """

    num_known: Float64[Tensor, " feature"]
    mean: Float64[Tensor, " feature"]
    m2: Float64[Tensor, " feature"]
    gate: Int[Tensor, " feature"]
    rescaled: Bool[Tensor, " feature"]
    clip: Float64[Tensor, ""]
    min_std: Float64[Tensor, ""]
    schema: UInt8[Tensor, "32"]


class FrozenNormalizer(NamedTuple):
    """A normaliser that learns no more, since `update` and `merge` do not take it.

    Args:
        mean: 0 for features that are left alone.
        factor: 1 / standard deviation; 1 for features that are left alone or were never known.
        bound: largest magnitude; inf for features that are left alone.
        gate: as in `NormalizerState`, but features that are left alone count as known.
        schema: as in `NormalizerState`.
    """

    mean: Float64[Tensor, " feature"]
    factor: Float64[Tensor, " feature"]
    bound: Float64[Tensor, " feature"]
    gate: Int[Tensor, " feature"]
    schema: UInt8[Tensor, "32"]


def init_normalizer(
    slot_config: SlotConfig,
    *,
    telemetry: bool = False,
    clip: float = 10.0,
    min_std: float = 0.1,
    device: torch.device | str | None = None,
) -> NormalizerState:
    """A normaliser that has seen nothing yet.

    Args:
        slot_config, telemetry: which features it is for.
        clip: largest magnitude of a normalised feature, in standard deviations; above 0.
        min_std: least standard deviation that is divided by; above 0. The schema keeps most features near 1, so that
            the default enlarges none more than tenfold.
        device: of the features.

    Raises:
        NormalizerError: `clip` or `min_std` is not a finite number above 0.
    """
    for name, value in (("clip", clip), ("min_std", min_std)):
        if not 0.0 < value < torch.inf:
            raise NormalizerError(f"`{name}` is {value}, it must be a finite number above 0")
    schema = observation_schema(slot_config, telemetry=telemetry)
    gate, rescaled = _gates(schema)

    def number(value: float) -> Tensor:
        return torch.tensor(value, dtype=torch.float64, device=device)

    def nothing() -> Tensor:
        return torch.zeros(schema.dim, dtype=torch.float64, device=device)

    with torch.inference_mode(False):  # what a rollout makes in that mode, training must be able to use
        return NormalizerState(
            num_known=nothing(),
            mean=nothing(),
            m2=nothing(),
            gate=torch.tensor(gate, device=device),
            rescaled=torch.tensor(rescaled, device=device),
            clip=number(clip),
            min_std=number(min_std),
            schema=torch.tensor(list(bytes.fromhex(schema.hash)), dtype=torch.uint8, device=device),
        )


def fits_schema(normalizer: NormalizerState | FrozenNormalizer, schema: ObservationSchema) -> bool:
    """Whether a normaliser is for these features: the same slots in the same order, the same table."""
    return bytes(normalizer.schema.tolist()).hex() == schema.hash


def update(state: NormalizerState, features: Float[Tensor, "*batch feature"]) -> NormalizerState:
    """The state after these vectors too, whatever their batch shape. Synchronises with the device.

    Raises:
        NormalizerError: another number of features, a feature that is not finite, or a frozen normaliser.
    """
    check_learns(state)
    x = _check_width(state, features).detach().reshape(-1, features.shape[-1]).to(torch.float64)
    if not x.isfinite().all():
        env, feature = (~x.isfinite()).nonzero()[0].tolist()
        raise NormalizerError(f"`features`: vector {env} holds {x[env, feature].item()} as feature {feature}")
    known = (_gate_values(x, state.gate) != 0) & state.rescaled
    count = known.sum(0).to(torch.float64)
    mean = torch.where(known, x, 0.0).sum(0) / count.clamp(min=1.0)
    m2 = torch.where(known, x - mean, 0.0).square().sum(0)
    return merge(state, state._replace(num_known=count, mean=mean, m2=m2))


def merge(state: NormalizerState, other: NormalizerState) -> NormalizerState:
    """The state that has seen what either has, as if one had seen it all; clip and min_std are those of `state`.

    Raises:
        NormalizerError: they are for other features, or one is frozen.
    """
    check_learns(state)
    check_learns(other)
    if not torch.equal(state.schema, other.schema):
        raise NormalizerError(
            f"a normaliser of {len(state.gate)} features and one of {len(other.gate)} are for different networks: "
            "they cannot be merged"
        )
    with torch.inference_mode(False), torch.no_grad():
        count = state.num_known + other.num_known
        share = other.num_known / count.clamp(min=1.0)
        delta = other.mean - state.mean
        return state._replace(
            num_known=count,
            mean=state.mean + delta * share,
            m2=state.m2 + other.m2 + delta.square() * state.num_known * share,
        )


def freeze(state: NormalizerState) -> FrozenNormalizer:
    """The normaliser as it is now, for all steps of a rollout or for a trained policy.

    Raises:
        NormalizerError: it is frozen already.
    """
    check_learns(state)
    with torch.inference_mode(False), torch.no_grad():
        std = (state.m2 / state.num_known.clamp(min=1.0)).sqrt()
        seen = state.rescaled & (state.num_known > 0)
        return FrozenNormalizer(
            mean=torch.where(seen, state.mean, 0.0),
            factor=torch.where(seen, 1.0 / torch.maximum(std, state.min_std), 1.0),
            bound=torch.where(state.rescaled, state.clip, torch.inf),
            gate=torch.where(state.rescaled, state.gate, len(state.gate)),
            schema=state.schema,
        )


def normalize(
    normalizer: NormalizerState | FrozenNormalizer, features: Float[Tensor, "*batch feature"]
) -> Float[Tensor, "*batch feature"]:
    """clamp((features - mean) / max(std, min_std), -clip, clip), in the features' own dtype.

    Unknown values stay 0, the mean of the known ones; bits and one-hots stay as they are. Maps, compiles and
    differentiates with respect to `features`. Given a `NormalizerState` each call freezes it anew.

    Raises:
        NormalizerError: another number of features.
    """
    frozen = freeze(normalizer) if isinstance(normalizer, NormalizerState) else normalizer
    precise = torch.float64 if features.dtype is torch.float64 else torch.float32
    x = _check_width(frozen, features).to(precise)
    mean, factor, bound = (each.to(precise) for each in frozen[:3])
    scaled = torch.clamp((x - mean) * factor, -bound, bound)
    return (scaled * _gate_values(x, frozen.gate)).to(features.dtype)


@lru_cache(maxsize=64)
def _gates(schema: ObservationSchema) -> tuple[tuple[int, ...], tuple[bool, ...]]:
    """For each feature of a schema its gate and whether it is a quantity; see `NormalizerState`."""
    bits = {
        (field.slot_id, field.spec.block, field.spec.source): field.start
        for field in schema.fields
        if field.spec.encoding is Encoding.KNOWN
    }
    presence = {
        (field.slot_id, field.spec.block): field.start
        for field in schema.fields
        if (field.spec.block, field.spec.source) in ((Block.SLOT, "occupied"), (Block.TELEMETRY, "known"))
    }
    gates: list[int] = []
    for field in schema.fields:
        where = (field.slot_id, field.spec.block)
        own = bits.get((*where, field.spec.source))
        if own is None:
            gates += [presence.get(where, schema.dim)] * field.spec.width
        else:
            gates += range(own, own + field.spec.width)
    quantities = [field.spec.is_quantity for field in schema.fields for _ in range(field.spec.width)]
    return tuple(gates), tuple(quantities)


def _gate_values(x: Float[Tensor, "*batch feature"], gate: Tensor) -> Float[Tensor, "*batch feature"]:
    """For each feature the bit that says whether it is known."""
    return pad(x, (0, 1), value=1.0).index_select(-1, gate)


def check_learns(state: NormalizerState) -> None:
    """Refuse a frozen normaliser.

    Raises:
        NormalizerError: it is one.
    """
    if not isinstance(state, NormalizerState):
        raise NormalizerError(
            f"a NormalizerState is needed, not a {type(state).__name__}: keep the one that was frozen"
        )


def _check_width(normalizer: NormalizerState | FrozenNormalizer, features: Tensor) -> Tensor:
    if features.shape[-1:] != normalizer.gate.shape:
        raise NormalizerError(
            f"`features` has shape {tuple(features.shape)}, the normaliser is for {len(normalizer.gate)} features"
        )
    return features
