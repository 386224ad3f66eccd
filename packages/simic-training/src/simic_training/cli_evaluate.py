"""`tamiyo evaluate`: a table of controllers over several hosts, with intervals."""

from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from simic_training.evaluation import STATIC, Row, evaluate_run
from simic_training.run_folder import RunFolder


def evaluate_command(folder: Path, against: Sequence[str], num_hosts: int, console: Console) -> int:
    """Evaluate a run, print the table and keep it in the run folder."""
    run = RunFolder.open_run(folder)
    config = run.read_config()
    with console.status(f"{num_hosts} hosts for each controller"):
        rows = evaluate_run(config, run.checkpoint, against, num_hosts=num_hosts)
    console.print(make_table(rows, num_hosts))
    console.print(
        "size: final parameters over the bare host's; policy leads by: points of test accuracy, host by host"
    )
    if STATIC in against:
        console.print(
            "static: the networks that the policy ended with, trained whole from the start", soft_wrap=True
        )
    written = run.write_evaluation([row_to_json(row) for row in rows])
    console.print(f"Written to {written}", soft_wrap=True)
    return 0


def make_table(rows: list[Row], num_hosts: int) -> Table:
    """The rows as text, narrow enough for 80 columns: means with 95 % intervals over hosts; of the size the mean."""
    table = Table(
        title=f"Mean [95 % interval] over {num_hosts} hosts that the policy never saw",
        box=box.SIMPLE_HEAD,
        title_justify="left",
        padding=(0, 1, 0, 0),
    )
    table.add_column("controller", no_wrap=True)
    for heading in ("test accuracy %", "size", "return", "policy leads by"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            row.controller,
            row.test_accuracy.describe(1),
            f"{row.size.mean:.2f}",
            row.episode_return.describe(2),
            row.policy_lead.describe(1),
        )
    return table


def row_to_json(row: Row) -> dict[str, object]:
    """The row as plain data."""
    return {
        name: value if isinstance(value, str) else value._asdict() for name, value in row._asdict().items()
    }
