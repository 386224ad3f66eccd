"""Policies on disk: the same back, or one clear error and nothing at all."""

import json
import os
import socket
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from leyline_types import SlotConfig
from tamiyo_features import NormalizerState, freeze, init_normalizer, update
from tamiyo_policies import (
    CheckpointError,
    LSTMPolicy,
    PolicyBundle,
    PolicyConfig,
    UnknownPolicyError,
    checkpoint,
    checkpoint_from_bytes,
    clear_registry,
    create_policy,
    load_checkpoint,
    load_controller,
    load_policy,
    register_policy,
    save_policy,
)
from tamiyo_policies.checkpoint_metadata import digest, render
from tamiyo_policies.tensor_files import to_bytes

SMALL = PolicyConfig(hidden_dim=8)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """The checkpoint of a small policy."""
    path = tmp_path / "policy.safetensors"
    save_policy(create_policy(SMALL), path)
    return path


def same_weights(one: PolicyBundle, two: PolicyBundle) -> bool:
    pairs = zip(one.state_dict().items(), two.state_dict().items(), strict=True)
    return all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)


@pytest.mark.parametrize(
    "config",
    [
        PolicyConfig(hidden_dim=8, seed=5),
        PolicyConfig(hidden_dim=8, slot_config=SlotConfig(("r1c0", "r0c0")), telemetry=True),
        PolicyConfig(hidden_dim=8, dtype=torch.bfloat16),
        PolicyConfig(hidden_dim=8, dtype=torch.float64),
        PolicyConfig(policy="mlp", hidden_dim=8, frame_stack=4),
        PolicyConfig(policy="mlp-q", hidden_dim=8, frame_stack=2),
    ],
)
def test_round_trip(config: PolicyConfig, tmp_path: Path) -> None:
    policy = create_policy(config)
    save_policy(policy, tmp_path / "policy")
    back = load_policy(tmp_path / "policy")
    assert back.config == config
    assert same_weights(policy, back)
    assert [path.name for path in tmp_path.iterdir()] == ["policy"]


def normalizer_of(config: PolicyConfig) -> NormalizerState:
    state = init_normalizer(config.slot_config, telemetry=config.telemetry, clip=4.0)
    return update(state, torch.rand(5, config.schema.dim, generator=torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("telemetry", [False, True])
def test_a_normalizer_goes_with_the_policy(telemetry: bool, tmp_path: Path) -> None:
    config = PolicyConfig(hidden_dim=8, telemetry=telemetry)
    policy, state, path = create_policy(config), normalizer_of(config), tmp_path / "policy"
    save_policy(policy, path, normalizer=state)
    back, normalizer = load_checkpoint(path)
    assert same_weights(policy, back)
    assert normalizer is not None
    assert all(torch.equal(a, b) for a, b in zip(normalizer, state, strict=True))
    with pytest.raises(CheckpointError, match="holds a normaliser of the policy's features; load_checkpoint"):
        load_policy(path)


def test_no_normalizer(saved: Path) -> None:
    assert load_checkpoint(saved).normalizer is None


def test_a_normalizer_of_other_features_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "policy"
    other = normalizer_of(PolicyConfig(telemetry=True))
    with pytest.raises(
        CheckpointError, match=r"`normalizer` \(254 features\) is for other features than the policy's 230"
    ):
        save_policy(create_policy(SMALL), path, normalizer=other)
    turned = normalizer_of(PolicyConfig(slot_config=SlotConfig(("r0c2", "r0c1", "r0c0"))))
    with pytest.raises(CheckpointError, match=r"`normalizer` \(230 features\) is for other features"):
        save_policy(create_policy(SMALL), path, normalizer=turned)
    frozen: Any = freeze(
        normalizer_of(SMALL)
    )  # which the shape checker of the tests refuses before save_policy does
    with pytest.raises((CheckpointError, TypeError), match="NormalizerState"):
        save_policy(create_policy(SMALL), path, normalizer=frozen)
    assert not path.exists()
    save_policy(create_policy(SMALL), path, normalizer=normalizer_of(SMALL))
    tensors = load_file(path)
    tensors["normalizer:m2"] = tensors["normalizer:m2"] - 1e9
    path.write_bytes(to_bytes(tensors, {"tamiyo": render(SMALL, tensors)}))
    with pytest.raises(CheckpointError, match="cannot be used: normaliser's m2 holds values"):
        load_checkpoint(path)


def test_the_random_state_is_left_alone(saved: Path) -> None:
    before = torch.get_rng_state()
    load_policy(saved)
    assert torch.equal(before, torch.get_rng_state())


def test_the_file_is_plain_safetensors_with_one_json_string(saved: Path) -> None:
    assert load_file(saved).keys() == create_policy(SMALL).state_dict().keys()
    assert metadata(saved)["policy"] == "lstm"


def test_an_existing_file_is_replaced_whole_or_not_at_all(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = saved.read_bytes()

    def fail(descriptor: int) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="disk full"):
            save_policy(create_policy(PolicyConfig(hidden_dim=4)), saved)
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]
    with saved.open("rb") as reader:  # who has the old file open keeps the old file
        save_policy(create_policy(PolicyConfig(hidden_dim=4)), saved)
        assert reader.read() == before
    assert load_policy(saved).hidden_dim == 4


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nowhere cannot be used: it cannot be read: No such file"):
        load_policy(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match=r"^checkpoint .* is a folder, expected a regular file$"):
        load_policy(tmp_path)
    with pytest.raises(FileNotFoundError):
        save_policy(create_policy(SMALL), tmp_path / "no" / "folder")


def metadata(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    loaded: dict[str, Any] = json.loads(header["__metadata__"]["tamiyo"])
    return loaded


def forge(path: Path, change: Callable[[dict[str, Any]], None], *, sign: bool = True) -> None:
    """Rewrite the metadata, with a digest that fits unless told otherwise."""
    tensors, content = load_file(path), metadata(path)
    change(content)
    if sign:
        content["sha256"] = digest({k: v for k, v in content.items() if k != "sha256"}, tensors)
    path.write_bytes(to_bytes(tensors, {"tamiyo": json.dumps(content)}))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("format", 1, "it has format 1, this version reads format 2"),
        ("format", True, "its 'format' is True, not of type int"),
        ("policy", "gru", "policy 'gru' is unknown; policies are lstm"),
        ("policy", 7, "its 'policy' is 7, not of type str"),
        ("slot_ids", ["r0c0", "r0c0", "r0c1"], "its configuration is impossible: `slot_ids` must be unique"),
        (
            "hidden_dim",
            16,
            r"trunk.weight is torch.float32 \(8, 8\), the policy's is torch.float32 \(16, 16\)",
        ),
        ("hidden_dim", 8192, "its weights do not fit"),
        ("hidden_dim", 10**9, r"impossible: `hidden_dim` must lie in \[1, 8192\], not 1000000000"),
        ("frame_stack", 2, "its configuration is impossible: policy 'lstm'"),
        ("frame_stack", 10**9, r"impossible: `frame_stack` must lie in \[1, 64\], not 1000000000"),
        ("frame_stack", None, "its 'frame_stack' is None, not of type int"),
        ("dtype", "float64", r"norm.bias is torch.float32 \(8,\), the policy's is torch.float64 \(8,\)"),
        ("dtype", "int8", "its dtype is 'int8', policies have float32, float64, bfloat16, float16"),
        ("telemetry", True, "it was made for observation schema [0-9a-f]{12}, this version has [0-9a-f]{12}"),
        (
            "schema",
            "f" * 64,
            "it was made for observation schema ffffffffffff, this version has [0-9a-f]{12}",
        ),
        (
            "action_space",
            "f" * 64,
            "it was made for action space ffffffffffff, this version has [0-9a-f]{12}",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_both_sides(
    saved: Path, key: str, value: object, message: str
) -> None:
    forge(saved, lambda content: content.update({key: value}))
    with pytest.raises(CheckpointError, match=message):
        load_policy(saved)


@pytest.mark.parametrize("key", ["format", "sha256", "policy", "slot_ids", "seed", "schema"])
def test_a_missing_entry_is_named(saved: Path, key: str) -> None:
    forge(saved, lambda content: content.pop(key), sign=key != "sha256")
    with pytest.raises(CheckpointError, match=f"its metadata lacks '{key}'"):
        load_policy(saved)


def test_changed_metadata_or_weights_are_noticed(saved: Path) -> None:
    forge(saved, lambda content: content.update(seed=9), sign=False)
    with pytest.raises(CheckpointError, match="it is damaged: its SHA-256 is"):
        load_policy(saved)
    save_policy(create_policy(SMALL), saved)
    content = bytearray(saved.read_bytes())
    content[-1] ^= 1
    saved.write_bytes(content)
    with pytest.raises(CheckpointError, match="it is damaged: its SHA-256 is"):
        load_policy(saved)


def test_other_tensors_are_refused(saved: Path) -> None:
    tensors = load_file(saved)
    tensors["extra"] = tensors.pop("norm.bias")
    saved.write_bytes(to_bytes(tensors, {"tamiyo": render(SMALL, tensors)}))
    with pytest.raises(
        CheckpointError, match=r"its weights do not fit: extra is unknown; norm\.bias is missing"
    ):
        load_policy(saved)


@pytest.mark.parametrize("text", ["", "[1, 2]", "{", "[" * 100_000])
def test_metadata_that_is_no_object(saved: Path, text: str) -> None:
    saved.write_bytes(to_bytes(load_file(saved), {"tamiyo": text}))
    with pytest.raises(CheckpointError, match="its metadata is"):
        load_policy(saved)


def test_other_safetensors_files_are_refused(saved: Path) -> None:
    for given in ({}, {"format": "pt"}):
        saved.write_bytes(to_bytes(load_file(saved), given))
        with pytest.raises(CheckpointError, match="it is damaged or no policy"):
            load_policy(saved)


def header_without_metadata(saved: Path) -> bytes:
    content = saved.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8 : 8 + size]) | {"__metadata__": None}).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + content[8 + size :]


def test_metadata_that_is_null(saved: Path) -> None:
    saved.write_bytes(header_without_metadata(saved))
    with pytest.raises(CheckpointError, match="it is damaged or no policy"):
        load_policy(saved)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CheckpointError, match=r"pipe is a named pipe, expected a regular file$"):
        load_policy(tmp_path / "pipe")


def test_what_is_endless_is_cut_short(saved: Path) -> None:
    for count, message in (
        (2_000, "it has 2000 slots, more than 1024"),
        (100_000, "its header has .* limit of"),
    ):
        many = [f"r0c{index}" for index in range(count)]
        forge(saved, lambda content, many=many: content.update(slot_ids=many))  # type: ignore[misc]
        with pytest.raises(CheckpointError, match=message):
            load_policy(saved)
    forge(saved, lambda content: content.update(slot_ids=["r0c0"], hidden_dim="9" * 1_000_000))
    with pytest.raises(CheckpointError, match=r"\.\.\. \(1000002 characters\)") as caught:
        load_policy(saved)
    assert len(str(caught.value)) < 1000


def test_a_class_under_another_name_is_not_saved(tmp_path: Path) -> None:
    class Mine(LSTMPolicy):  # type: ignore[misc]  # final for type checkers
        pass

    register_policy("mine")(Mine)
    with pytest.raises(CheckpointError, match="Mine'> whose config names policy 'lstm' would come back as"):
        save_policy(Mine(PolicyConfig(policy="lstm", hidden_dim=8)), tmp_path / "policy")
    assert not (tmp_path / "policy").exists()


def test_what_another_package_offers_may_be_broken(saved: Path, offer: Callable[..., None]) -> None:
    offer(("gone", "tamiyo_policies.no_such_module:Policy"), ("other", "tamiyo_policies:HiddenState"))
    for name, message in (("gone", "policy 'gone' cannot be imported"), ("other", "is no PolicyBundle")):
        save_policy(create_policy(SMALL), saved)
        forge(saved, lambda content, name=name: content.update(policy=name))  # type: ignore[misc]
        with pytest.raises(CheckpointError, match=message):
            load_policy(saved)


def test_a_policy_comes_back_where_it_is_wanted(saved: Path) -> None:
    with pytest.warns(UserWarning, match="meta parameter"):  # the one other device that every machine has
        assert load_policy(saved, device="meta").device == torch.device("meta")


def test_a_damaged_normalizer_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "policy"
    save_policy(create_policy(SMALL), path, normalizer=normalizer_of(SMALL))
    tensors, text = load_file(path), json.dumps(metadata(path))
    tensors["normalizer:mean"] = tensors["normalizer:mean"] + 1
    path.write_bytes(to_bytes(tensors, {"tamiyo": text}))
    with pytest.raises(CheckpointError, match="it is damaged: its SHA-256 is"):
        load_checkpoint(path)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_weights_that_are_not_finite_are_refused(value: float, dtype: torch.dtype, saved: Path) -> None:
    config = replace(SMALL, dtype=dtype)
    tensors = dict(create_policy(config).state_dict())
    for name, places in (("trunk.weight", [3, 7]), ("value_head.bias", [0])):
        tensors[name] = tensors[name].clone()
        tensors[name].view(-1)[places] = value
    saved.write_bytes(to_bytes(tensors, {"tamiyo": render(config, tensors)}))
    message = "its trunk.weight holds 2 values of 64 that are NaN or infinite$"
    for load in (load_policy, load_checkpoint):
        with pytest.raises(CheckpointError, match=message):
            load(saved)
    with pytest.raises(CheckpointError, match=message):
        checkpoint_from_bytes(saved.read_bytes())


def test_a_normalizer_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "policy"
    save_policy(create_policy(SMALL), path, normalizer=normalizer_of(SMALL))
    tensors = load_file(path)
    tensors["normalizer:mean"][5:8] = torch.nan
    path.write_bytes(to_bytes(tensors, {"tamiyo": render(SMALL, tensors)}))
    with pytest.raises(
        CheckpointError, match="its normalizer:mean holds 3 values of 230 that are NaN or inf"
    ):
        load_checkpoint(path)


def test_a_policy_that_no_loader_would_take_does_not_replace_a_good_one(saved: Path) -> None:
    before, policy = saved.read_bytes(), create_policy(SMALL)
    with torch.no_grad():
        next(policy.network.parameters())[0, 0] = torch.nan
    with pytest.raises(CheckpointError, match=r"holds 1 values of .* that are NaN or infinite"):
        save_policy(policy, saved)
    assert saved.read_bytes() == before


def sparse(path: Path, size: int, header: bytes = b"{}") -> Path:
    """A file of zeros that takes no room, perhaps with a header."""
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(size)
    return path


def peak_of(read: Callable[[], object], message: str) -> int:
    """Bytes that are taken by what is refused with this message."""
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match=message):
            read()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def declared_header(config: PolicyConfig, tensors: dict[str, Any]) -> bytes:
    """The header of a file of this configuration that declares such tensors, and a digest of none."""
    return json.dumps({"__metadata__": {"tamiyo": render(config, {})}} | tensors).encode()


def test_a_large_file_is_refused_unread(tmp_path: Path) -> None:
    path = sparse(tmp_path / "policy", 3 * 2**30)
    assert (
        peak_of(lambda: load_policy(path), "policy has 3221225472 bytes, more than the limit of 2147") < 2**20
    )
    size = 2**30
    header = declared_header(SMALL, {"trunk": {"dtype": "F32", "shape": [2**28], "data_offsets": [0, size]}})
    path = sparse(path, 8 + len(header) + size, header)
    assert peak_of(lambda: load_policy(path), "its weights do not fit: .*trunk is unknown") < 2**20
    assert peak_of(lambda: load_policy(path, max_bytes=1000), "more than the limit of 1000$") < 2**20
    shape = {"dtype": "F64", "shape": [2**27], "data_offsets": [0, size]}
    header = declared_header(SMALL, {"normalizer:mean": shape})
    path = sparse(path, 8 + len(header) + size, header)
    message = r"normalizer:mean is torch.float64 \(134217728,\), the policy's is torch.float64 \(230,\)"
    assert peak_of(lambda: load_policy(path), message) < 2**20
    path = sparse(path, 2**31 - 1, b" " * 2**21)
    assert peak_of(lambda: load_policy(path), "its header has 2097152 bytes, more than the limit of") < 2**20


def test_the_largest_configuration_is_compared_without_being_built(saved: Path) -> None:
    slots = [f"r{row}c{column}" for row in range(32) for column in range(32)]
    config = PolicyConfig("lstm", SlotConfig(tuple(slots)), hidden_dim=8192)
    saved.write_bytes(to_bytes(load_file(saved), {"tamiyo": render(config, load_file(saved))}))
    assert peak_of(lambda: load_policy(saved), "its weights do not fit") < 2**27


def test_limits_are_arguments(saved: Path) -> None:
    size = saved.stat().st_size
    assert load_policy(saved, max_bytes=size).hidden_dim == 8
    assert load_checkpoint(saved, max_bytes=size).normalizer is None
    assert checkpoint_from_bytes(saved.read_bytes(), max_bytes=size).normalizer is None
    message = f"has {size} bytes, more than the limit of {size - 1}"
    for read in (load_policy, load_checkpoint, load_controller):
        with pytest.raises(CheckpointError, match=message):
            read(saved, max_bytes=size - 1)
    with pytest.raises(CheckpointError, match=message):
        checkpoint_from_bytes(saved.read_bytes(), max_bytes=size - 1)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("pipe", "pipe is a named pipe, expected a regular file"),
        ("folder", "folder is a folder, expected a regular file"),
        ("/dev/zero", "/dev/zero is a character device, expected a regular file"),
        ("socket", "checkpoint socket cannot be used: it cannot be read: No such device or address"),
        ("a\0b", r"checkpoint a\\x00b is not a path: "),
        ("a\ud800b", r"checkpoint a\\ud800b is not a path: "),
        ("a\nb", r"checkpoint a\\nb cannot be used: it cannot be read: No such file or directory"),
        ("x" * 300, "x cannot be used: it cannot be read: File name too long"),
    ],
)
def test_only_regular_files_are_read(
    path: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    Path("folder").mkdir()
    with socket.socket(socket.AF_UNIX) as there:
        there.bind("socket")
        for load in (load_policy, load_checkpoint):
            with pytest.raises(CheckpointError, match=message) as caught:
                load(path)
            assert str(caught.value).isprintable()
        with pytest.raises((CheckpointError, UnknownPolicyError)) as also:
            load_controller(path)
        assert str(also.value).isprintable()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("slot_ids", ["r0c0", 1], "1 is no name of a policy or a slot"),
        ("slot_ids", ["r0c0", None], "None is no name of a policy or a slot"),
        ("slot_ids", [["r0c0"]], r"\['r0c0'\] is no name of a policy or a slot"),
        ("slot_ids", ["r0c" + "9" * 1000], r"\.\.\. \(1005 characters\) is no name of a policy or a slot"),
        ("slot_ids", ["r0c0", "r0c\ud800"], "its metadata is not JSON: 'utf-8' codec can't encode character"),
        ("policy", "x" * 1000, r"\.\.\. \(1002 characters\) is no name of a policy or a slot"),
        ("format", 10**4000, r"it has format 1000.* \(4001 characters\), this version reads format 2"),
        ("hidden_dim", 10**4000, r"its configuration is impossible: .* characters\)"),
        ("seed", -1, r"its configuration is impossible: `seed` must lie in \[0, 2\*\*63\), not -1"),
        ("seed", 2**63, "its configuration is impossible: `seed` must lie in"),
        ("sha256", "ä" * 1000, "it is damaged: its SHA-256 is .{12}, ää"),
        ("schema", "\n" * 1000, "it was made for observation schema"),
    ],
)
def test_names_and_numbers_of_any_length(saved: Path, key: str, value: object, message: str) -> None:
    forge(saved, lambda content: content.update({key: value}), sign=key != "sha256")
    with pytest.raises(CheckpointError, match=message) as caught:
        load_policy(saved)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"format": 2, "format": 2}', "its metadata is not JSON: key 'format' occurs twice"),
        ('{"format": ' + "2" * 5000 + "}", "its metadata is not JSON: Exceeds the limit"),
        ('{"format": Infinity}', "its metadata is not JSON: Infinity is no number of JSON"),
        ('{"format": ' + "[" * 900 + "]" * 900 + "}", "its 'format' is .*, not of type int|nested|recursion"),
    ],
)
def test_metadata_by_the_letter(saved: Path, text: str, message: str) -> None:
    saved.write_bytes(to_bytes(load_file(saved), {"tamiyo": text}))
    with pytest.raises(CheckpointError, match=message):
        load_policy(saved)


def test_truncated_files(saved: Path) -> None:
    content = saved.read_bytes()
    for length in (0, 1, 7, 8, 9, 100, 1000, len(content) // 2, len(content) - 1):
        saved.write_bytes(content[:length])
        with pytest.raises(CheckpointError):
            load_policy(saved)


def damage(content: bytes, random: Random) -> bytes:
    """The file with bytes changed, cut out, repeated, put in or put elsewhere; half the time in its header."""
    header = 8 + int.from_bytes(content[:8], "little")
    damaged = bytearray(content)
    for _ in range(random.randint(1, 3)):
        reach = header if random.random() < 0.5 else len(damaged)
        begin = random.randrange(reach)
        end = min(begin + random.choice((1, 2, 8, 100)), len(damaged))
        piece = damaged[begin:end]
        kind = random.randrange(6)
        if kind == 0:
            damaged[begin] ^= random.randint(1, 255)
        elif kind == 1:
            del damaged[begin:end]
        elif kind == 2:
            damaged[begin:begin] = piece
        elif kind == 3:
            damaged[begin:begin] = random.randbytes(len(piece))
        elif kind == 4:
            damaged[begin:end] = random.randbytes(len(piece))
        else:
            damaged[begin:begin] = b"%d" % random.choice((0, -1, 2**31, 2**63, 2**64, 10**30))
    return bytes(damaged)


def test_a_thousand_damaged_files(saved: Path) -> None:
    content, random = saved.read_bytes(), Random(0)
    for _ in range(1000):
        saved.write_bytes(damage(content, random))
        try:
            survivor = load_policy(saved)
        except CheckpointError:
            continue
        assert same_weights(survivor, create_policy(SMALL))  # the damage hit white space


def test_unregistered_policy_is_named(saved: Path) -> None:
    clear_registry()
    with pytest.raises(CheckpointError, match="register_builtin_policies"):
        load_policy(saved)


def test_nothing_in_the_module_unpickles() -> None:
    source = Path(checkpoint.__file__).read_text()
    assert "pickle" not in source
    assert "torch.load" not in source
