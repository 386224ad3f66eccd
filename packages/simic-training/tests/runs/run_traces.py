"""What two runs are compared by."""

from simic_training.runs.folder import METRICS, RunFolder
from simic_training.runs.records import CLOCK_FIELDS


def lasting(run: RunFolder) -> dict[str, object]:
    """Metrics without clock times, episodes and policy."""
    rows = run.read_lines(METRICS)
    return {
        "metrics": [{name: row[name] for name in row if name not in CLOCK_FIELDS} for row in rows],
        "episodes": run.episodes.read_bytes(),
        "policy": run.checkpoint.read_bytes(),
    }
