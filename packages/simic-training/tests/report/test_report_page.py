"""The page as a whole: what stands on it for which runs, that it is well-formed, escaped and self-contained."""

import re
from dataclasses import fields, replace
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path
from xml.etree import ElementTree

import pytest
from made_up_run import add_updates, made_up_tables, make_run, write_evaluation

from kasmina_hosts import HostConfig
from simic_training.evaluation.tables import Column, Table
from simic_training.growth.config import GrowthConfig
from simic_training.report.page import write_report
from simic_training.report.rivals import best_rival
from simic_training.runs.config import TrainConfig
from simic_training.runs.folder import EPISODES, EVALUATION, METRICS, RunFolder, RunFolderError
from simic_training.runs.interrupts import InterruptGuard
from simic_training.runs.training import Progress, train
from simic_training.statistics import Estimate

CONFIG = TrainConfig(episodes=64, groups=2, env=GrowthConfig(group_size=4))
SMALL = TrainConfig(episodes=4, groups=1, env=GrowthConfig(group_size=2))
HOSTILE = "<script>alert('x')</script>&\"<b>"


class Elements(HTMLParser):
    """Every start tag with its attributes, as a browser's parser sees them."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def attributes(self, name: str) -> list[str | None]:
        return [attributes[name] for _, attributes in self.found if name in attributes]


def page_of(run: RunFolder) -> str:
    path = write_report(run)
    assert path == run.report
    return path.read_text(encoding="utf-8")


def parse(page: str) -> ElementTree.Element:
    return ElementTree.fromstring(page.removeprefix("<!DOCTYPE html>\n"))


def words(element: ElementTree.Element) -> str:
    return "".join(element.itertext())


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    return page_of(make_run(tmp_path_factory.mktemp("runs") / "run", CONFIG, evaluated=True))


def test_page_is_well_formed_and_has_all_sections(page: str) -> None:
    root = parse(page)
    assert root.get("lang") == "en"
    assert [words(heading) for heading in root.iter("h1")] == ["Training run run"]
    headings = ["In short", "Learning", "Choices", "Episodes", "Evaluation", "Time", "Configuration"]
    assert [words(heading) for heading in root.iter("h2")] == headings
    assert all(len(list(section.iter("h2"))) == 1 for section in root.iter("section"))
    assert root.find("head/meta[@name='viewport']") is not None


def test_navigation_and_labels_lead_to_what_is_there(page: str) -> None:
    root = parse(page)
    identifiers = [element.get("id") for element in root.iter() if element.get("id")]
    assert len(identifiers) == len(set(identifiers))
    links = [link.get("href", "") for link in root.iter("a")]
    assert len(links) == 8  # one skips the navigation
    assert {link.removeprefix("#") for link in links} <= set(identifiers)
    assert {section.get("aria-labelledby") for section in root.iter("section")} <= set(identifiers)


def test_drawings_and_tables_say_what_they_are(page: str) -> None:
    root = parse(page)
    drawings = list(root.iter("svg"))
    assert len(drawings) >= 25
    assert all(drawing.get("aria-label") and drawing.get("role") == "img" for drawing in drawings)
    assert all(table.find("caption") is not None for table in root.iter("table"))
    assert all(figure[0].tag == "figcaption" for figure in root.iter("figure"))


def test_page_asks_nothing_of_anyone(page: str) -> None:
    elements = Elements()
    elements.feed(page)
    forbidden = {
        "script",
        "link",
        "img",
        "iframe",
        "object",
        "embed",
        "base",
        "form",
        "audio",
        "video",
        "use",
    }
    assert not forbidden & {tag for tag, _ in elements.found}
    assert not elements.attributes("src")
    assert not elements.attributes("srcset")
    assert not elements.attributes("style")
    assert all((link or "").startswith("#") for link in elements.attributes("href"))
    assert not [name for _, attributes in elements.found for name in attributes if name.startswith("on")]
    assert not re.search(r"https?:|//[a-z]|url\(|@import|@font-face", page)
    assert "default-src 'none'" in (elements.attributes("content")[-1] or "")


def test_numbers_of_the_run_come_first(page: str) -> None:
    root = parse(page)
    tiles = {words(tile[0]): [words(part) for part in tile[1:]] for tile in root.iterfind(".//dl/div")}
    assert tiles["Episodes"][0] == "64"
    assert re.fullmatch(r"\d\.\d\d → \d\.\d\d", tiles["Return per episode"][0])
    assert tiles["Against the best rival"][1].startswith("test accuracy %: policy 81.2, none 80.7")
    assert "95 % interval" in tiles["Against the best rival"][1]
    speed = re.fullmatch(r"of training; (\d+) host epochs a second", tiles["Time"][1])
    assert speed is not None
    steps = CONFIG.steps_until(CONFIG.updates)
    assert float(tiles["Time"][0].removesuffix(" s")) == pytest.approx(steps / float(speed[1]), rel=0.02)
    assert (
        float(tiles["Time"][0].removesuffix(" s")) < CONFIG.updates * 4.2
    )  # by the clock, however many worked


def test_settings_that_are_not_the_default_stand_out(page: str) -> None:
    changed = [words(item) for item in parse(page).iterfind(".//li[@class='changed']")]
    assert changed == ["episodes 64 default 2048", "groups 2 default 4", "group_size 4 default 8"]


def test_equal_runs_give_equal_pages_however_they_were_interrupted(tmp_path: Path, page: str) -> None:
    run = make_run(tmp_path / "run", CONFIG, updates=3, evaluated=True)
    assert "Unfinished: 3 of 8 updates" in page_of(run)
    add_updates(run, CONFIG, range(3, 8))
    write_evaluation(run, made_up_tables())
    assert page_of(run) == page


def test_every_episode_shows_its_price_and_what_its_host_lacks(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", SMALL)
    shown = parse(page_of(run)).findall(".//section[@id='episodes']//figure")
    episodes = {line["episode"]: line for line in run.read_lines(EPISODES)}
    assert len(shown) == len(episodes) == 4
    for figure in shown:
        told = words(figure.find("figcaption") or figure)
        number = re.match(r"Episode (\d)", told)
        assert number is not None
        line = episodes[int(number[1])]
        assert f"; lacks {line['lack']}, width {line['width']}, price {line['price']:.2g}" in told
    assert len({line["price"] for line in episodes.values()}) == 4


def test_what_is_drawn_for_a_run_stands_on_top(tmp_path: Path, page: str) -> None:
    told = "episodes of 15 to 40 epochs, prices of 0.08 to 1.25 for doubling a host's parameters"
    assert told in words(parse(page))
    family, prices = replace(CONFIG.env.family, max_epochs=(25, 25)), (0.3, 0.3)
    fixed = replace(CONFIG, env=replace(CONFIG.env, family=family, prices=prices))
    told = "episodes of 25 epochs, prices of 0.3 for doubling a host's parameters"
    assert told in words(parse(page_of(make_run(tmp_path / "run", fixed, updates=0))))


def test_run_without_evaluation_says_how_to_get_one(tmp_path: Path) -> None:
    run = make_run(tmp_path / "my run", SMALL)
    evaluation = parse(page_of(run)).find(".//section[@id='evaluation']")
    assert evaluation is not None
    assert f"tamiyo evaluate '{run.path}'" in words(evaluation)
    assert not list(evaluation.iter("table"))


@pytest.mark.parametrize("updates", [0, 1])
def test_run_that_has_hardly_begun_has_a_page(tmp_path: Path, updates: int) -> None:
    run = make_run(tmp_path / "run", SMALL, updates=updates)
    root = parse(page_of(run))
    assert f"tamiyo train --resume {run.path}" in words(root)
    assert ("Learning" in [words(heading) for heading in root.iter("h2")]) == bool(updates)
    assert "nan" not in words(root).lower()


def test_text_from_data_is_never_markup(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a<b>&c", SMALL, task=HOSTILE)
    table = Table(
        title=HOSTILE,
        note=HOSTILE,
        columns=(Column(name=f"accuracy {HOSTILE}"), Column(name="words")),
        rows={"policy": (81.0, HOSTILE), HOSTILE: (80.0, None)},
    )
    write_evaluation(run, [table])
    page = page_of(run)
    root = parse(page)
    assert not list(root.iter("script"))
    assert not list(root.iter("b"))
    assert "<script" not in page
    for place in (".//h3", ".//section[@id='episodes']", ".//td", ".//section[@id='overview']"):
        assert any(HOSTILE in words(element) for element in root.iterfind(place)), place
    assert "Training run a<b>&c" in [words(heading) for heading in root.iter("h1")]


def test_tables_of_an_earlier_policy_say_so(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", SMALL, updates=1, evaluated=True)
    words_then = "These tables judge the policy after"
    assert words_then not in page_of(run)
    add_updates(run, SMALL, range(1, SMALL.updates))
    judged, now = SMALL.batch, SMALL.updates * SMALL.batch
    assert f"{words_then} {judged} episodes; the run has {now} now." in page_of(run)


def test_long_runs_do_not_make_long_pages(tmp_path: Path) -> None:
    shorter, longer = (
        len(page_of(make_run(tmp_path / str(updates), replace(SMALL, episodes=2 * updates))).encode())
        for updates in (150, 300)
    )
    assert longer < 1.1 * shorter
    assert longer < 1_000_000


def test_points_that_join_updates_say_so(tmp_path: Path) -> None:
    page = page_of(make_run(tmp_path / "run", replace(SMALL, episodes=2 * 151)))
    assert "Each point is the mean of up to 2 updates" in page
    assert "mean of updates" in page


@pytest.mark.parametrize(
    ("name", "line", "told"),
    [
        (
            METRICS,
            '{"update": 9}',
            "metrics.jsonl is damaged or of another version: line 3: it has no 'episodes'",
        ),
        (METRICS, "[1", "metrics.jsonl is damaged"),
        (EPISODES, '{"episode": 4}', "episodes.jsonl is damaged or of another version: line 5: it has no"),
        (
            EVALUATION,
            '{"settings": {"trained_episodes": 4}, "tables": [{}]}',
            "evaluation.json is damaged or of another version: it has no 'title'",
        ),
        (EVALUATION, '{"settings": {"trained_episodes": 4}, "tables": 7}', "evaluation.json is damaged"),
        (
            EVALUATION,
            '{"tables": []}',
            "evaluation.json is damaged or of another version: it has no 'settings'",
        ),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, name: str, line: str, told: str) -> None:
    run = make_run(tmp_path / "run", SMALL)
    with (run.path / name).open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    with pytest.raises(RunFolderError, match=re.escape(told)):
        write_report(run)
    assert not run.report.exists()


VERDICTS = Table(
    title="Verdicts (40 hosts)",
    note="",
    columns=(
        Column(name="return", decimals=2),
        Column(name="policy leads by, return", decimals=2),
        Column(name="verdict"),
    ),
    rows={
        "policy": (8.1, None, None),
        "none": (7.4, Estimate(0.7, 0.4, 1.0), "better"),
        "best schedule": (8.3, Estimate(-0.2, -0.5, 0.1), "no difference shown"),
    },
)


def test_verdicts_are_drawn_by_the_leads_that_they_are_about(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", SMALL, updates=1)
    write_evaluation(run, [VERDICTS])
    root = parse(page_of(run))
    evaluation = root.find(".//section[@id='evaluation']")
    assert evaluation is not None
    told = [words(title) for title in evaluation.iter("title")]
    assert "none: 0.70 [0.40, 1.00]" in told
    assert told.index("none: 0.70 [0.40, 1.00]") < told.index("best schedule: -0.20 [-0.50, 0.10]")
    assert "above 0 the policy is better" in words(evaluation)
    assert "no difference shown" in words(evaluation)


def test_the_best_rival_of_verdicts_is_told_with_its_lead() -> None:
    rival = best_rival([VERDICTS])
    assert rival is not None
    assert (rival.name, rival.score, rival.policy) == ("best schedule", 8.3, 8.1)
    assert rival.lead == Estimate(-0.2, -0.5, 0.1)


def test_best_rival_is_of_the_first_table_that_compares() -> None:
    lead = Estimate(1.0, 0.5, 1.5)
    columns = (Column(name="policy leads by, points"), Column(name="test accuracy %"))
    unscored = Table(title="Costs", note="", columns=(Column(name="seconds"),), rows={"policy": (1.0,)})
    alone = Table(title="Alone", note="", columns=columns, rows={"policy": (None, 80.0)})
    compared = Table(
        title="Compared",
        note="",
        columns=columns,
        rows={
            "none": (None, 70.0),
            "random": (lead, 79.0),
            "policy": (None, 80.0),
            "policy-greedy": (None, 82.0),
        },
    )
    rival = best_rival([unscored, alone, compared])
    assert rival is not None
    assert (rival.name, rival.score, rival.policy, rival.lead) == ("random", 79.0, 80.0, lead)
    assert best_rival([unscored, alone]) is None


def test_real_run_has_a_page_and_the_fields_of_made_up_ones(tmp_path: Path, tiny_config: TrainConfig) -> None:
    run = RunFolder.create(tmp_path / "run", tiny_config)
    done: list[Progress] = []
    with InterruptGuard() as guard:
        train(tiny_config, run, guard, on_progress=done.append)
    root = parse(page_of(run))
    assert len(list(root.iter("svg"))) > 20
    real = run.read_lines(METRICS)[0]
    made_up = make_run(tmp_path / "made-up", tiny_config)
    assert real.keys() == made_up.read_lines(METRICS)[0].keys()
    ours, theirs = (each.read_lines(EPISODES)[0] for each in (made_up, run))
    unusual = {field.name for field in fields(HostConfig)} - {"width", "max_epochs"}  # told where no default
    assert ours.keys() == theirs.keys() - unusual
    assert real["actions"].keys() == made_up.read_lines(METRICS)[0]["actions"].keys()


def luminance(color: str) -> float:
    parts = [int(color[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio"""
    brighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (brighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("dark", [False, True])
def test_text_and_lines_stand_out(dark: bool) -> None:
    style = resources.files("simic_training.report").joinpath("style.css").read_text(encoding="utf-8")
    light_part, dark_part = style.split("@media (prefers-color-scheme: dark)", maxsplit=1)
    colors = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", light_part))
    if dark:
        colors |= dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", dark_part))
    grounds = [colors[name] for name in ("page", "card", "marked")]
    for name in ("text", "muted", "link", "accent"):
        assert all(contrast(colors[name], ground) >= 4.5 for ground in grounds), name
    for name in ("c1", "c2", "c3", "c4", "c5", "c6"):
        assert contrast(colors[name], colors["card"]) >= 3, name
