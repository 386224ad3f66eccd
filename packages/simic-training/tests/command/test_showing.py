"""Progress, tables and names as they appear on consoles of any kind."""

import io
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from simic_training.command.parsing import nearest_option
from simic_training.command.progress import ProgressShown, duration, time_left
from simic_training.command.saying import say
from simic_training.command.shown import parts, show_table
from simic_training.command.units_shown import UnitsShown
from simic_training.command.workers_shown import show_workers
from simic_training.engines.load import Load, Share
from simic_training.engines.unit import Done
from simic_training.evaluation.parts import Progress
from simic_training.evaluation.tables import Column, Table
from simic_training.runs.interrupts import InterruptGuard
from simic_training.statistics import Estimate


def console(width: int = 80, *, terminal: bool = False) -> tuple[Console, io.StringIO]:
    file = io.StringIO()
    return Console(file=file, width=width, force_terminal=terminal, color_system=None), file


class Clock:
    """Stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_lines_come_now_and_then_and_the_last_always() -> None:
    output, file = console()
    clock = Clock()
    with ProgressShown(output, "update", clock=clock) as shown:
        for done in range(1, 11):
            clock.now += 2.0
            shown.update(done, 10, f"return {done}")
    assert file.getvalue().splitlines() == [
        "update 1/10, return 1, 0:18 left",
        "update 4/10, return 4, 0:12 left",
        "update 7/10, return 7, 0:06 left",
        "update 10/10, return 10",
    ]


def test_what_was_done_before_tells_nothing_about_the_speed() -> None:
    output, file = console()
    clock = Clock()
    with ProgressShown(output, "update", clock=clock) as shown:
        shown.begin(90)
        clock.now += 3.0
        shown.update(91, 100)
    assert file.getvalue() == "update 91/100, 0:27 left\n"


def test_units_are_told_with_the_time_left_and_then_who_did_them() -> None:
    output, file = console()
    with ProgressShown(output, "") as shown:
        units = UnitsShown(shown, output, InterruptGuard())
        units.tell(Progress(None, 0, 0, 2, 0.0, 0.0))
        units.tell(Progress(Done("family, group 1", "worker_0", 3.0, 0), 1, 0, 2, 0.5, 0.0))
        units.tell(Progress(Done("family, group 2", "worker_1", 9.0, 0), 2, 0, 2, 1.0, 0.0))
    units.tell_workers(output)
    first, last, *workers = file.getvalue().splitlines()
    assert first.startswith("50 %, family, group 1, 0:")
    assert last == "100 %, family, group 2"
    assert [line.split() for line in workers[3:5]] == [
        ["worker_0", "1", "3", "20.0"],
        ["worker_1", "1", "9", "6.7"],
    ]
    assert workers[5].endswith(" cores busy, slowest unit 1.5x (family, group 2 on worker_1)")


def test_units_that_are_there_are_told_of_and_say_nothing_about_the_speed() -> None:
    output, file = console()
    clock = Clock()
    with ProgressShown(output, "", clock=clock) as shown:
        units = UnitsShown(shown, output, InterruptGuard())
        units.tell(Progress(None, 12, 12, 40, 0.3, 0.3))
        clock.now += 6.0
        units.tell(Progress(Done("one", "here", 6.0, 0), 13, 12, 40, 0.4, 0.3))
        units.tell(Progress(None, 15, 14, 40, 0.6, 0.5))
        clock.now += 6.0
        units.tell(Progress(Done("two", "here", 6.0, 0), 16, 14, 40, 0.7, 0.5))
    units.tell_workers(output)
    assert file.getvalue().splitlines() == [
        "Going on: 12 of 40 parts are there",
        "40 %, one, 0:36 left",
        "Going on: 14 of 40 parts are there",
        "70 %, two, 0:18 left",
    ]


def test_nobody_did_what_was_there() -> None:
    output, file = console()
    with ProgressShown(output, "") as shown:
        UnitsShown(shown, output, InterruptGuard()).tell_workers(output)
    assert file.getvalue() == ""


def test_many_workers_are_shown_by_their_machines() -> None:
    output, file = console()
    workers = {f"node-{number % 2}:{number}": Share(1, 2.0) for number in range(20)}
    show_workers(output, Load(4.0, workers, 1.0, "group 1 on node-0:2", 3))
    *_, first, second, last = file.getvalue().splitlines()
    assert [first.split(), second.split()] == [["node-0", "10", "20", "30.0"], ["node-1", "10", "20", "30.0"]]
    assert last == "10.0 cores busy, slowest unit 1.0x (group 1 on node-0:2); begun again: 3"


def test_nothing_is_said_about_a_single_worker() -> None:
    output, file = console()
    show_workers(output, Load(4.0, {"here": Share(3, 3.9)}, 1.0, "group 1 on here", 0))
    assert file.getvalue() == ""


def test_a_terminal_shows_a_bar_in_80_columns() -> None:
    output, file = console(terminal=True)
    clock = Clock()
    with ProgressShown(output, "update", clock=clock) as shown:
        clock.now += 60.0
        shown.update(12, 128, "return 1.23, 61.2 %, size 1.42, 350 steps/s")
    drawn = file.getvalue()
    assert "━" in drawn
    assert "update 12/128, return 1.23, 61.2 %, size 1.42, 350 steps/s, 9:40" in drawn


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (125, "2:05"), (3599, "59:59"), (3725, "1:02:05")]
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_no_time_left_is_known_without_speed_or_end() -> None:
    assert time_left(3.0, 0, 5) == ""
    assert time_left(3.0, 5, 0) == ""


TABLE = Table(
    title="A title",
    note="A note.",
    columns=(
        Column(name="test accuracy %"),
        Column(name="size", decimals=2),
        Column(name="policy leads by, points"),
        Column(name="return", decimals=2),
    ),
    rows={
        "policy": (Estimate(84.2, 81.0, 87.1), 1.5, None, Estimate(-0.25, -1.0, 0.5)),
        "schedule of the best return, conv_light r0c1 @0": (
            Estimate(80.0, 79.0, 81.0),
            1.0,
            Estimate(4.2, -1.0, 9.9),
            1.0,
        ),
    },
)


@pytest.mark.parametrize("width", [24, 40, 60, 80, 120, 200])
def test_numbers_are_never_cut(width: int) -> None:
    output, file = console(width)
    show_table(output, TABLE)
    printed = file.getvalue()
    assert max(map(len, printed.splitlines())) <= width
    for text in ("A title", "84.2 [81.0, 87.1]", "1.50", "4.2 [-1.0, 9.9]", "-0.25 [-1.00, 0.50]", "A note."):
        if len(text) + width // 3 + 2 <= width:
            assert text in printed


def test_a_table_without_rows_is_shown() -> None:
    output, file = console()
    show_table(output, replace(TABLE, rows={}))
    assert {"test", "accuracy", "size", "return", "A"} <= set(file.getvalue().split())


@pytest.mark.parametrize("width", [60, 80, 100, 120])
def test_no_cell_of_a_wide_table_is_cut(width: int) -> None:
    interval = Estimate(-10.25, -22.75, 12.5)
    wide = Table(
        title="Wide",
        note="",
        columns=tuple(Column(name=f"policy leads by, points {index}") for index in range(7)),
        rows={f"a controller with a name {row}": (interval,) * 7 for row in range(20)},
    )
    output, file = console(width)
    show_table(output, wide)
    assert file.getvalue().count("-10.2 [-22.8, 12.5]") == 7 * 20


@given(st.lists(st.integers(1, 50), max_size=9), st.integers(1, 99))
def test_parts_hold_every_column_once_in_order(widths: list[int], room: int) -> None:
    found = list(parts(widths, room))
    assert [index for part in found for index in part] == list(range(len(widths)))
    for part in found:
        assert len(part) == 1 or sum(widths[index] + 2 for index in part) <= room


def test_text_is_printed_as_it_is() -> None:
    output, file = console(20)
    say(output, "[bold]runs/a folder[/bold] with a name that is long: {x}")
    assert file.getvalue() == "[bold]runs/a folder[/bold] with a name that is long: {x}\n"


def test_nearest_option() -> None:
    known = ["--ppo.learning-rate", "--env.host.learning-rate", "--run"]
    assert nearest_option("--learning_rate", known) == "--ppo.learning-rate"
    assert nearest_option("--rnu", known) == "--run"
