"""The headroom of the default family: what `tamiyo headroom` wrote, into simic-training and its README.

python tools/headroom_table.py FOLDER/headroom.json
"""

import argparse
import json
from pathlib import Path
from typing import Final

from readme_part import ReadmePart
from simic_training.evaluation.headroom import headroom_to_markdown

FIGURES: Final = "headroom.json"
README_PART: Final = ReadmePart(FIGURES, "headroom_table.py")
PACKAGE: Final = Path(__file__).parents[1] / "packages/simic-training"


def keep(text: str, package: Path) -> None:
    """Keep the figures and write the README's part.

    Args:
        text: what `tamiyo headroom` wrote.
        package: the folder of the package.

    Raises:
        ValueError: it is no such text, or the README has no marks; nothing was written.
    """
    readme = package / "README.md"
    shown = README_PART.insert(readme.read_text(encoding="utf-8"), headroom_to_markdown(json.loads(text)))
    (package / FIGURES).write_text(text, encoding="utf-8")
    readme.write_text(shown, encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("figures", type=Path, help="what tamiyo headroom wrote")
    keep(parser.parse_args().figures.read_text(encoding="utf-8"), PACKAGE)
