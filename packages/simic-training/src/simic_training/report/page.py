"""The page of a run: one file that shows everything and asks no network for anything."""

from importlib import resources
from pathlib import Path

from simic_training.report.choices import choices_section
from simic_training.report.configuration import configuration_section
from simic_training.report.episodes import episodes_section
from simic_training.report.evaluation import evaluation_section
from simic_training.report.learning import learning_section
from simic_training.report.markup import Html, tag
from simic_training.report.overview import overview_section
from simic_training.report.records import RunRecords, read_run
from simic_training.report.timing import timing_section
from simic_training.runs.folder import RunFolder, write_whole


def write_report(run: RunFolder, path: Path | None = None) -> Path:
    """Write the page of a run, in place of an older one.

    A function of what the folder holds: equal runs give equal pages. A run may be unfinished, and need not have been
    evaluated.

    Args:
        run: its folder.
        path: of the page; None for `run.report`.

    Returns:
        The page: well-formed HTML without scripts, everything in one file.

    Raises:
        RunFolderError: a file of the run is damaged or of another version.
        OSError: the page cannot be written.
    """
    return write_whole(run.report if path is None else path, render(read_run(run)))


def render(records: RunRecords) -> str:
    """The page."""
    name = records.run.path.resolve().name
    sections = {"In short": overview_section(records)}
    if records.updates:
        sections |= {"Learning": learning_section(records), "Choices": choices_section(records)}
    if records.episodes:
        sections["Episodes"] = episodes_section(records)
    sections["Evaluation"] = evaluation_section(records)
    if records.updates:
        sections["Time"] = timing_section(records)
    sections["Configuration"] = configuration_section(records)
    content = tag(
        "html",
        _head(name),
        tag(
            "body",
            tag("a", "To the content", href="#overview", class_="skip"),
            tag(
                "header",
                tag("h1", f"Training run {name}"),
                tag("p", _subtitle(records)),
                _navigation(sections),
            ),
            tag("main", *sections.values()),
        ),
        lang="en",
    )
    return f"<!DOCTYPE html>\n{content}\n"


_ANCHORS = {"In short": "overview"}


def _navigation(sections: dict[str, Html]) -> Html:
    links = [tag("li", tag("a", name, href=f"#{_ANCHORS.get(name, name.lower())}")) for name in sections]
    return tag("nav", tag("ul", *links), aria_label="Sections")


def _head(name: str) -> Html:
    style = resources.files("simic_training.report").joinpath("style.css").read_text(encoding="utf-8")
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        # The browser itself then refuses whatever the page should not hold: scripts, and anything from elsewhere.
        tag(
            "meta",
            http_equiv="Content-Security-Policy",
            content="default-src 'none'; style-src 'unsafe-inline'",
        ),
        tag("title", f"Training run {name}"),
        tag("style", Html(style)),
    )


def _subtitle(records: RunRecords) -> str:
    config = records.config
    return (
        f"{config.policy} policy growing {config.env.host.topology.value} hosts on {config.env.data}, "
        f"seed {config.seed}"
    )
