"""The settings of the run as a nested list."""

from collections.abc import Mapping
from typing import Any

from simic_training.report.figures import section
from simic_training.report.markup import Html, tag
from simic_training.report.records import RunRecords
from simic_training.runs.config import TrainConfig
from simic_training.runs.settings import config_to_mapping


def configuration_section(records: RunRecords) -> Html:
    """Every setting; those that are not the default stand out, with the default beside them."""
    settings, defaults = config_to_mapping(records.config), config_to_mapping(TrainConfig())
    defaults["env"]["data_digest"] = settings["env"]["data_digest"]  # no choice: every run records its own
    return section(
        "configuration",
        "Configuration",
        tag("p", "Settings that differ from their defaults are marked.", class_="lead"),
        tag("div", _listed(settings, defaults), class_="settings"),
    )


def _listed(settings: Mapping[str, Any], defaults: Mapping[str, Any]) -> Html:
    """Plain settings first, then the tables of settings."""
    plain = [name for name, value in settings.items() if not isinstance(value, Mapping)]
    nested = [name for name in settings if name not in plain]
    items = [_item(name, settings[name], defaults.get(name)) for name in plain]
    for name in nested:
        within = defaults.get(name, {})
        items.append(tag("li", tag("strong", name), _listed(settings[name], within), class_="group"))
    return tag("ul", *items)


def _item(name: str, value: object, default: object) -> Html:
    words = [tag("code", name), " ", tag("span", plain_text(value), class_="setting")]
    if value == default:
        return tag("li", *words)
    return tag("li", *words, " ", tag("small", f"default {plain_text(default)}"), class_="changed")


def plain_text(value: object) -> str:
    """A setting in words: "0.5, 0.7", "yes"."""
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:g}"
        case list() | tuple():
            return ", ".join(map(plain_text, value)) or "none"
        case _:
            return str(value)
