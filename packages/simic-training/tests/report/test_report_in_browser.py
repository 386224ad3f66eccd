"""The page in a real browser: at the width of a phone and of a desk, light and dark."""

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from headless_browser import NAMES, Browser, View, find_browser
from made_up_run import make_run

from simic_training.growth.config import GrowthConfig
from simic_training.report.page import write_report
from simic_training.runs.config import TrainConfig

VIEWS = {
    "phone-light": View(390, 844, dark=False, phone=True),
    "phone-dark": View(390, 844, dark=True, phone=True),
    "desk-light": View(1280, 900, dark=False, phone=False),
    "desk-dark": View(1280, 900, dark=True, phone=False),
}
LONG_NAME = "digits classes 0,1,2,3,4 noise 0.5 and_one_word_that_is_too_long_for_the_width_of_a_phone"

PROBE = Path(__file__).with_name("probe.js").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Addresses of a page with everything, and of one of a run that has only begun."""
    folder = tmp_path_factory.mktemp("runs")
    config = TrainConfig(episodes=360, groups=3, env=GrowthConfig(group_size=4))
    full = make_run(folder / LONG_NAME, config, evaluated=True, task=LONG_NAME)
    begun = make_run(folder / "begun", TrainConfig(episodes=64, groups=1), updates=1)
    return {name: write_report(run).as_uri() for name, run in (("full", full), ("begun", begun))}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = find_browser()
    if path is None:
        pytest.skip(f"the page is not looked at: none of {', '.join(NAMES)} is on PATH")
    with Browser(path) as started:
        yield started


@pytest.mark.parametrize("kind", ["full", "begun"])
@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS.keys())
def test_page_fits_and_can_be_read(
    browser: Browser, pages: dict[str, str], tmp_path: Path, kind: str, view: View
) -> None:
    browser.open_page(pages[kind], view)
    seen = browser.evaluate(PROBE)
    assert seen["scrollWidth"] <= view.width
    assert seen["innerWidth"] == view.width  # a phone zooms out where something is too wide
    assert seen["outside"] == []
    assert seen["boxes"] == 0
    assert seen["drawings"] >= 20
    assert seen["empty"] == 0
    assert seen["cut"] == []
    assert seen["crossing"] == []
    assert seen["faint"] == []
    red, green, blue = (int(part) for part in seen["background"].removeprefix("rgb(").rstrip(")").split(","))
    assert (max(red, green, blue) < 64) == view.dark
    assert browser.complaints() == []
    assert browser.requests() == [pages[kind]]
    picture = tmp_path / "page.png"
    browser.screenshot(picture)
    assert png_width(picture) == seen["clientWidth"] * (2 if view.phone else 1)


def test_probe_finds_what_is_wrong(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(
        """<!DOCTYPE html><meta name="viewport" content="width=device-width">
        <p style="color: #aaa">faint</p><p style="width: 500px">wide</p>
        <svg viewBox="0 0 100 20" style="width: 200px; font-size: 8px">
        <text x="96" y="12">cut</text><text x="0" y="12">one</text><text x="2" y="12">other</text></svg>
        <svg style="width: 0"></svg><script>console.error("a complaint")</script><img src="http://localhost:9/x.png">""",
        encoding="utf-8",
    )
    browser.open_page(page.as_uri(), VIEWS["phone-light"])
    seen = browser.evaluate(PROBE)
    assert seen["scrollWidth"] >= 500
    assert [each.split(": ")[1] for each in seen["outside"]] == ["wide"]
    assert [each.split(": ")[1] for each in seen["cut"]] == ["cut"]
    assert len(seen["crossing"]) == 1
    assert seen["empty"] == 1
    assert "P.null: faint" in seen["faint"][0]
    assert any("a complaint" in each for each in browser.complaints())
    assert len(browser.requests()) == 2


def png_width(path: Path) -> int:
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG")
    assert len(content) > 100_000  # an empty page is much smaller
    return int(struct.unpack(">I", content[16:20])[0])
