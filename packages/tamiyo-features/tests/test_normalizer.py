"""The normaliser: by hand, against the statistics of everything at once, and what it must leave alone."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from observation_maker import Maker
from torch import Tensor

from leyline_types import SlotConfig, observation_schema
from tamiyo_features import (
    NormalizerError,
    NormalizerState,
    batch_obs_to_features,
    feature_names,
    fits_schema,
    freeze,
    init_normalizer,
    merge,
    normalize,
    normalizer_from_tensors,
    normalizer_to_tensors,
    update,
)

SLOTS = SlotConfig.default()
NAMES = feature_names(SLOTS)


def features_of(make: Maker, seed: int, num_envs: int) -> Tensor:
    return batch_obs_to_features(*make.batch(seed, num_envs, SLOTS), SLOTS, task=make.task)


def learned(make: Maker, num_envs: int = 40, seed: int = 0) -> NormalizerState:
    return update(init_normalizer(SLOTS), features_of(make, seed, num_envs))


def at(name: str) -> int:
    return NAMES.index(name)


def test_by_hand() -> None:
    features = torch.zeros(4, len(NAMES))
    features[:, at("train_loss")] = torch.tensor([1.0, 2.0, 3.0, 2.0])
    features[:, at("loss_delta")] = torch.tensor([0.5, 0.0, 0.1, 0.0])
    features[:, at("loss_delta_known")] = torch.tensor([1.0, 0.0, 1.0, 0.0])
    state = update(init_normalizer(SLOTS), features)
    loss, delta = at("train_loss"), at("loss_delta")
    assert [each[loss].item() for each in state[:3]] == [4, 2, 2]
    assert state.num_known[delta] == 2
    torch.testing.assert_close(state.mean[delta].item(), 0.3)
    found = normalize(state, features)
    torch.testing.assert_close(found[:, loss], torch.tensor([-1.0, 0.0, 1.0, 0.0]) * 2**0.5)
    torch.testing.assert_close(found[:, delta], torch.tensor([1.0, 0.0, -1.0, 0.0]))


def test_bits_and_one_hots_are_left_alone(make: Maker) -> None:
    names = feature_names(SLOTS, telemetry=True)
    batches = [
        batch_obs_to_features(
            *make.batch(seed, 40, SLOTS, telemetry=True), SLOTS, task=make.task, telemetry=True
        )
        for seed in (0, 1)
    ]
    state = update(init_normalizer(SLOTS, telemetry=True), batches[0])
    found = normalize(state, batches[1])
    changed = {
        name.partition(".")[2] or name
        for name, before, after in zip(names, batches[1].T, found.T, strict=True)
        if not torch.equal(before, after)
    }
    curves = {f"{name}[-{age}]" for name in ("loss_history", "accuracy_history") for age in range(1, 6)}
    assert changed == curves | {
        *("epoch", "step", "train_loss", "val_loss", "loss_delta", "train_accuracy", "val_accuracy"),
        *("parameter_price", "host_gradient_share", "activation_rank", "within_map_variance"),
        *("accuracy_delta", "plateau_epochs", "best_val_accuracy", "best_val_loss", "total_params"),
        *("seed_utilisation", "grad_norm_host", "grad_norm_seed", "alpha", "contribution"),
        *("contribution_velocity", "blend_tempo", "alpha_target", "alpha_steps_done", "time_to_target"),
        *("alpha_velocity", "interaction_sum", "boost_received", "upstream_alpha_sum"),
        *("downstream_alpha_sum", "age", "epochs_in_stage", "improvement_in_stage", "gradient_ratio"),
        *("param_count", "gradient_norm", "gradient_health", "seed_accuracy", "seed_accuracy_delta"),
        *("blending_velocity", "alpha_steps_total"),
    }
    for name, count in zip(names, state.num_known.tolist(), strict=True):
        assert (count > 0) == ((name.partition(".")[2] or name) in changed), name


def test_telemetry_counts_where_it_was_given(make: Maker) -> None:
    names = feature_names(SLOTS, telemetry=True)
    signals, reports = make.batch(0, 40, SLOTS, telemetry=True)
    features = batch_obs_to_features(signals, reports, SLOTS, task=make.task, telemetry=True)
    state = update(init_normalizer(SLOTS, telemetry=True), features)
    given = sum(
        report is not None and report.telemetry is not None for each in reports for report in [each["r0c1"]]
    )
    assert 0 < given < 40
    assert state.num_known[names.index("r0c1.gradient_norm")] == given
    silent = features[:, names.index("r0c1.telemetry_known")] == 0
    assert not normalize(state, features)[silent][:, names.index("r0c1.gradient_norm")].any()


def test_unknown_stays_zero_and_is_not_counted(make: Maker) -> None:
    features = features_of(make, 0, 40)
    state = learned(make)
    found = normalize(state, features)
    active = features[:, at("r0c1.is_active")]
    known = features[:, at("r0c1.contribution_known")]
    assert 0 < known.sum() < active.sum() < 40
    assert state.num_known[at("r0c1.alpha")] == active.sum()
    assert state.num_known[at("r0c1.contribution")] == known.sum()
    assert not found[known == 0, at("r0c1.contribution")].any()
    assert not found[active == 0, at("r0c1.alpha")].any()


@given(st.integers(0, 2**31), st.lists(st.integers(1, 30), min_size=1, max_size=5), st.booleans())
def test_pieces_and_workers_equal_everything_at_once(
    make: Maker, seed: int, sizes: list[int], in_turn: bool
) -> None:
    features = features_of(make, seed, sum(sizes)).to(torch.float64)
    whole = update(init_normalizer(SLOTS), features)
    state = init_normalizer(SLOTS)
    for piece in features.split(sizes):
        state = update(state, piece) if in_turn else merge(state, update(init_normalizer(SLOTS), piece))
    for found, expected in zip(state, whole, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    always = at("train_loss")
    std, mean = torch.std_mean(features[:, always], correction=0)
    torch.testing.assert_close(state.mean[always], mean)
    torch.testing.assert_close((state.m2[always] / state.num_known[always]).sqrt(), std)


def test_any_batch_shape(make: Maker) -> None:
    features = features_of(make, 0, 6)
    shaped = update(init_normalizer(SLOTS), features.view(2, 3, -1))
    assert all(
        torch.equal(a, b) for a, b in zip(shaped, update(init_normalizer(SLOTS), features), strict=True)
    )
    assert torch.equal(normalize(shaped, features[0]), normalize(shaped, features)[0])
    assert torch.equal(
        torch.func.vmap(lambda x: normalize(freeze(shaped), x))(features), normalize(shaped, features)
    )


def test_small_spread_beside_a_large_mean_survives() -> None:
    """Sums of squares in float32 would lose this spread altogether."""
    generator = torch.Generator().manual_seed(0)
    state = init_normalizer(SLOTS)
    column, seen = at("train_loss"), []
    for _ in range(100):
        features = torch.zeros(50, len(NAMES), dtype=torch.float64)
        features[:, column] = 3.0 + 1e-6 * torch.randn(50, generator=generator, dtype=torch.float64)
        seen.append(features[:, column])
        state = update(state, features)
    expected = torch.cat(seen).std(correction=0)
    torch.testing.assert_close(
        (state.m2[column] / state.num_known[column]).sqrt(), expected, rtol=1e-6, atol=0
    )


def test_constant_and_unseen_features_do_not_explode() -> None:
    features = torch.full((8, len(NAMES)), 0.25)
    state = update(init_normalizer(SLOTS), features)
    assert normalize(state, features).abs().max() <= 1.0
    shifted = normalize(state, features + 1e-3)[:, at("epoch")]
    torch.testing.assert_close(shifted, torch.full((8,), 1e-2), rtol=1e-3, atol=0)
    fresh = normalize(init_normalizer(SLOTS), features)
    assert torch.equal(fresh[:, at("epoch")], features[:, at("epoch")])


def test_clip(make: Maker) -> None:
    state = update(init_normalizer(SLOTS, clip=0.5), features_of(make, 0, 40))
    found = normalize(state, features_of(make, 1, 40))
    assert found[:, at("train_loss")].abs().max() == 0.5
    assert found[:, at("loss_delta_known")].max() == 1.0


def test_frozen_gives_the_same_and_learns_no_more(make: Maker) -> None:
    state, features = learned(make), features_of(make, 1, 5)
    frozen: Any = freeze(state)
    assert torch.equal(normalize(frozen, features), normalize(state, features))
    for learn in (
        lambda: update(frozen, features),
        lambda: merge(state, frozen),
        lambda: freeze(frozen),
        lambda: normalizer_to_tensors(frozen),
    ):
        with pytest.raises(NormalizerError, match="a NormalizerState is needed, not a FrozenNormalizer"):
            learn()


def test_gradients_pass_through_also_after_inference_mode(make: Maker) -> None:
    features = features_of(make, 1, 5)
    with torch.inference_mode():
        frozen = freeze(update(init_normalizer(SLOTS), features_of(make, 0, 40)))
    x = features.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(normalize(frozen, x)[:, at("train_accuracy")].sum(), x)
    expected = frozen.factor[at("train_accuracy")].float().expand(5)
    torch.testing.assert_close(gradient[:, at("train_accuracy")], expected)
    state = update(init_normalizer(SLOTS), x)
    assert not any(each.requires_grad for each in state)


def test_float64_is_computed_in_float64(make: Maker) -> None:
    state = learned(make)
    features = features_of(make, 1, 5).to(torch.float64) + 1e-12
    column = at("train_accuracy")
    expected = (features[:, column] - state.mean[column]) / (state.m2[column] / 40).sqrt()
    torch.testing.assert_close(normalize(state, features)[:, column], expected, rtol=1e-14, atol=1e-14)


def test_the_order_of_slots_matters(make: Maker) -> None:
    turned_slots = SlotConfig(SLOTS.slot_ids[::-1])
    turned = init_normalizer(turned_slots)
    with pytest.raises(NormalizerError, match="different networks"):
        merge(learned(make), turned)
    assert fits_schema(turned, observation_schema(turned_slots))
    assert not fits_schema(freeze(turned), observation_schema(SLOTS))
    with pytest.raises(NormalizerError, match=r"is for schema [0-9a-f]{12}, features of slots r0c2, r0c1"):
        normalizer_from_tensors(normalizer_to_tensors(learned(make)), turned_slots)


def test_functions_are_pure(make: Maker) -> None:
    state, features = learned(make), features_of(make, 1, 5)
    before, kept = [each.clone() for each in state], features.clone()
    update(state, features)
    normalize(state, features)
    merge(state, state)
    assert all(torch.equal(a, b) for a, b in zip(state, before, strict=True))
    assert torch.equal(features, kept)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_the_features_dtype_stays(make: Maker, dtype: torch.dtype) -> None:
    state, features = learned(make), features_of(make, 1, 5)
    found = normalize(state, features.to(dtype))
    assert found.dtype == dtype
    torch.testing.assert_close(found.float(), normalize(state, features), atol=0.1, rtol=0.02)
    assert update(state, features.to(dtype)).mean.dtype == torch.float64


@pytest.mark.compile
def test_compiles_whole(make: Maker) -> None:
    frozen, features = freeze(learned(make)), features_of(make, 1, 5)
    compiled = torch.compile(normalize, fullgraph=True)
    torch.testing.assert_close(compiled(frozen, features), normalize(frozen, features))


def test_a_checkpoint_gives_it_back_bit_for_bit(make: Maker) -> None:
    state = update(init_normalizer(SLOTS, clip=5.0, min_std=0.2), features_of(make, 0, 9))
    found = normalizer_from_tensors(normalizer_to_tensors(state), SLOTS)
    assert all(torch.equal(a, b) for a, b in zip(found, state, strict=True))
    again = update(found, features_of(make, 1, 9))
    assert all(torch.equal(a, b) for a, b in zip(again, update(state, features_of(make, 1, 9)), strict=True))


def test_refusals(make: Maker) -> None:
    state = learned(make)
    with pytest.raises(NormalizerError, match=r"shape \(2, 7\), the normaliser is for 230 features"):
        update(state, torch.zeros(2, 7))
    with pytest.raises(NormalizerError, match="for 230 features"):
        normalize(state, torch.zeros(2, 7))
    broken = features_of(make, 0, 3)
    broken[1, 4] = torch.inf
    with pytest.raises(NormalizerError, match="vector 1 holds inf as feature 4"):
        update(state, broken)
    with pytest.raises(NormalizerError, match="of 230 features and one of 112 are for different networks"):
        merge(state, init_normalizer(SlotConfig(("r0c0",))))
    with pytest.raises(NormalizerError, match=r"`clip` is 0.0, it must be a finite number above 0"):
        init_normalizer(SLOTS, clip=0.0)
    with pytest.raises(NormalizerError, match=r"`min_std` is inf, it must be a finite number above 0"):
        init_normalizer(SLOTS, min_std=torch.inf)
    tensors = normalizer_to_tensors(state)
    for wrong, message in (
        ({name: tensor for name, tensor in tensors.items() if name != "m2"}, "a normaliser has"),
        ({**tensors, "mean": tensors["mean"][:-1]}, r"mean is torch.float64 \(229,\)"),
        ({**tensors, "m2": tensors["m2"].float()}, "m2 is torch.float32"),
        ({**tensors, "m2": -tensors["m2"] - 1}, "m2 holds values"),
        ({**tensors, "num_known": tensors["num_known"] * torch.nan}, "num_known holds values"),
        ({**tensors, "clip": torch.zeros((), dtype=torch.float64)}, "clip holds values"),
        ({**tensors, "min_std": torch.zeros((), dtype=torch.float64)}, "min_std holds values"),
    ):
        with pytest.raises(NormalizerError, match=message):
            normalizer_from_tensors(wrong, SLOTS)
