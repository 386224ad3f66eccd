"""Drawings: where lines and areas go, and what happens to values that are missing or all the same."""

from collections.abc import Sequence
from math import nan
from xml.etree import ElementTree

import pytest

from simic_training.report.charts import Line, Places, line_chart
from simic_training.report.choices import shares
from simic_training.report.drawing import WIDTH
from simic_training.report.intervals import Interval, interval_chart
from simic_training.report.markup import Html, clean, decimal, join, table, tag
from simic_training.report.scales import MINUS
from simic_training.report.small_lines import small_lines
from simic_training.report.stacked_chart import stacked_chart


def make_places(count: int) -> Places:
    return Places(
        label="episodes",
        edges=[8.0 * index for index in range(count + 1)] if count else [],
        names=[f"update {index + 1}" for index in range(count)],
    )


def parse(drawing: Html) -> ElementTree.Element:
    return ElementTree.fromstring(drawing)


def paths(drawing: Html, class_: str) -> list[str]:
    return [
        path.get("d", "") for path in parse(drawing).iter("path") if class_ in path.get("class", "").split()
    ]


def numbers(path: str) -> list[float]:
    for letter in "MLVHZ":
        path = path.replace(letter, " ")
    return [float(word) for word in path.split()]


def draw(values: Sequence[float | None], **options: Sequence[float | None]) -> Html:
    line = Line(name="return", values=values, low=options.get("low"), high=options.get("high"))
    return line_chart(make_places(len(values)), [line], title="Return")


def test_line_goes_through_the_middles_of_its_places() -> None:
    drawing = line_chart(
        make_places(2), [Line(name="return", values=[0.0, 10.0])], title="Return", include=[0.0, 10.0]
    )
    [path] = paths(drawing, "line")
    first_x, first_y, last_x, last_y = numbers(path)
    axis = next(line for line in parse(drawing).iter("line") if line.get("class") == "axis")
    left, right = float(axis.get("x1", "")), float(axis.get("x2", ""))
    assert first_x == pytest.approx(left + (right - left) / 4, abs=0.1)
    assert last_x == pytest.approx(left + 3 * (right - left) / 4, abs=0.1)
    assert first_y == pytest.approx(float(axis.get("y1", "")), abs=0.1)
    assert last_y < first_y  # more is higher


def test_one_point_is_a_dot_with_a_whisker() -> None:
    drawing = draw([5.0], low=[4.0], high=[6.0])
    assert not paths(drawing, "line")
    assert not paths(drawing, "band")
    assert len(list(parse(drawing).iter("circle"))) == 1
    assert [line for line in parse(drawing).iter("line") if "whisker" in line.get("class", "")]


def test_constant_values_are_a_level_line_inside_the_drawing() -> None:
    [path] = paths(draw([3.0, 3.0, 3.0]), "line")
    heights = set(numbers(path)[1::2])
    assert len(heights) == 1
    assert 10 < heights.pop() < 180


@pytest.mark.parametrize("missing", [None, nan])
def test_missing_values_leave_a_gap_and_no_nan_in_the_drawing(missing: float | None) -> None:
    drawing = draw([1.0, 2.0, missing, 4.0, missing, 6.0, 7.0])
    [path] = paths(drawing, "line")
    assert path.count("M") == 2  # the value between two gaps is a dot
    assert len(list(parse(drawing).iter("circle"))) == 1
    assert "nan" not in drawing
    assert "return: none" in drawing


@pytest.mark.parametrize("values", [[], [None], [None, nan]])
def test_nothing_to_draw_is_an_empty_frame(values: list[float | None]) -> None:
    drawing = draw(values)
    assert not paths(drawing, "line")
    assert list(parse(drawing).iter("line"))


def test_values_outside_the_bounds_are_drawn_on_them() -> None:
    line = Line(name="explained", values=[-30.0, 1.0])
    drawing = line_chart(make_places(2), [line], title="Explained", bounds=(-1.0, 1.0))
    [path] = paths(drawing, "line")
    bottom = max(
        float(line.get("y1", "")) for line in parse(drawing).iter("line") if line.get("class") == "axis"
    )
    assert numbers(path)[1] <= bottom
    assert f"explained: {MINUS}30.00" in drawing  # the true value is told


def test_layers_lie_on_each_other_and_fill_the_chart() -> None:
    drawing = stacked_chart(
        make_places(2), {"a": [25.0, 50.0], "b": [75.0, 50.0]}, title="Shares", unit="%", top=100.0
    )
    lower, upper = paths(drawing, "area")
    bottom, top = float(lower.removeprefix("M").split("V")[0].split()[1]), 10.0
    quarter = bottom - (bottom - top) / 4
    middle = (bottom + top) / 2
    assert f"V{decimal(quarter)}" in lower
    assert f"V{decimal(middle)}" in lower
    assert f"V{decimal(top)}" in upper
    assert f"V{decimal(quarter)}" in upper  # and back along the lower layer


def test_layers_of_one_place_and_of_nothing() -> None:
    one = stacked_chart(make_places(1), {"a": [1.0], "b": [0.0]}, title="Seconds", unit="s")
    assert len(paths(one, "area")) == 1
    assert not paths(stacked_chart(make_places(0), {"a": []}, title="Seconds", unit="s"), "area")


def test_shares_of_nothing_are_0() -> None:
    assert shares({"a": [1.0, 0.0], "b": [3.0, 0.0]}) == {"a": [25.0, 0.0], "b": [75.0, 0.0]}


def test_small_lines_say_where_a_head_never_had_a_choice() -> None:
    drawing = small_lines(make_places(2), {"op": [0.5, 0.25], "tempo": [None, None]}, title="Entropy")
    words = [text.text for text in parse(drawing).iter("text")]
    assert "0.25" in words
    assert "no choice" in words


def test_interval_chart_keeps_long_names_inside() -> None:
    rows = [Interval("a name that is much too long", 1.0, 2.0, 3.0, "told", marked=True)]
    drawing = interval_chart(rows, title="Accuracy", unit="%")
    names = [text for text in parse(drawing).iter("text") if (text.text or "").startswith("a name")]
    assert names[0].text == "a name that is much t…"
    circle = next(parse(drawing).iter("circle"))
    assert 0 < float(circle.get("cx", "")) < WIDTH


def test_text_and_attributes_are_escaped() -> None:
    made = tag("a", "<b>&", tag("i", "x"), title='"<"', class_="c", stroke_width=1.25, hidden=None)
    assert made == '<a title="&quot;&lt;&quot;" class="c" stroke-width="1.2">&lt;b&gt;&amp;<i>x</i></a>'
    assert join(["<", Html("<br/>")]) == "&lt;<br/>"


def test_characters_that_no_page_may_hold_are_replaced() -> None:
    assert clean("a\x00b\ud800c\n") == "a\ufffdb\ufffdc\n"


def test_columns_of_numbers_are_told_from_columns_of_words() -> None:
    made = ElementTree.fromstring(
        table("Costs", ["", "seconds", "where"], [["a", "1.5 [1, 2]", "here"], ["b", "-", "3 places"]])
    )
    kinds = [[cell.get("class") for cell in row] for row in made.iter("tr")]
    assert kinds == [[None, "number", None]] * 3
