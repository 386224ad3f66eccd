"""Slot ids, slot configurations and injection specs."""

import pytest

from leyline_types import InjectionSpec, SlotConfig


def test_default_and_grid() -> None:
    assert SlotConfig.default().slot_ids == ("r0c0", "r0c1", "r0c2")
    assert SlotConfig.for_grid(2, 2).slot_ids == ("r0c0", "r0c1", "r1c0", "r1c1")
    assert len(SlotConfig.for_grid(5, 5)) == 25
    assert list(SlotConfig.default()) == ["r0c0", "r0c1", "r0c2"]


def test_index() -> None:
    slots = SlotConfig(("r0c2", "r0c0"))
    assert slots.index("r0c0") == 1
    with pytest.raises(ValueError, match="'r0c1' is not one of r0c2, r0c0"):
        slots.index("r0c1")


@pytest.mark.parametrize("slot_id", ["", "r0", "r0c", "R0C0", "r00c0", "r0c0 ", "r-1c0", "r0c0\n"])
def test_malformed_id_is_refused(slot_id: str) -> None:
    with pytest.raises(ValueError, match="must have the form"):
        SlotConfig((slot_id,))
    with pytest.raises(ValueError, match="must have the form"):
        SlotConfig.default().index(slot_id)


@pytest.mark.parametrize(("old", "new"), [("early", "r0c0"), ("mid", "r0c1"), ("late", "r0c2")])
def test_old_names_say_what_to_write(old: str, new: str) -> None:
    with pytest.raises(ValueError, match=f"'{old}' is no longer used; write '{new}'"):
        SlotConfig.default().index(old)


def test_empty_and_repeated_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one slot id"):
        SlotConfig(())
    with pytest.raises(ValueError, match="repeated: r0c0"):
        SlotConfig(("r0c0", "r0c1", "r0c0"))
    with pytest.raises(ValueError, match="not 0 x 3"):
        SlotConfig.for_grid(0, 3)


def test_from_specs_runs_from_input_to_output() -> None:
    specs = [InjectionSpec("r0c1", 8, 0.9, (2, 4)), InjectionSpec("r0c0", 4, 0.3, (0, 2))]
    assert SlotConfig.from_specs(specs).slot_ids == ("r0c0", "r0c1")


@pytest.mark.parametrize(
    ("slot_id", "channels", "position", "layers", "reason"),
    [
        ("mid", 4, 0.5, (0, 1), "no longer used"),
        ("r0c0", 0, 0.5, (0, 1), "channels must be at least 1, not 0"),
        ("r0c0", 4, 1.5, (0, 1), r"position must lie in \[0, 1\], not 1.5"),
        ("r0c0", 4, float("nan"), (0, 1), "position must lie"),
        ("r0c0", 4, 0.5, (2, 1), "layer_range must rise"),
    ],
)
def test_bad_spec_is_refused(
    slot_id: str, channels: int, position: float, layers: tuple[int, int], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        InjectionSpec(slot_id, channels, position, layers)
