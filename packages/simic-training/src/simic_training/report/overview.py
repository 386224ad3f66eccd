"""The run in a few numbers."""

from collections.abc import Callable, Sequence

from simic_training.report.figures import command, section
from simic_training.report.markup import Html, tag
from simic_training.report.records import RunRecords, Update
from simic_training.report.rivals import best_rival
from simic_training.report.scales import NOTHING, TIMES, written


def overview_section(records: RunRecords) -> Html:
    """How far the run is, where it started and ended, and how the policy stands against its rivals."""
    content = [tag("p", _state(records), class_="lead")]
    if not records.finished:
        content += [
            tag("p", "To go on with it:"),
            command("tamiyo", "train", "--resume", str(records.run.path)),
        ]
    if records.updates:
        content.append(
            tag(
                "dl",
                *_progress(records.updates),
                _diverged(records.updates),
                _judged(records),
                _took(records),
                class_="tiles",
            )
        )
    return section("overview", "In short", *content)


def evaluate_command(records: RunRecords) -> Html:
    """What to type to get an evaluation."""
    return command("tamiyo", "evaluate", str(records.run.path))


def _state(records: RunRecords) -> str:
    config = records.config
    planned = (
        f"{config.updates} updates of {config.batch} episodes; "
        f"episodes of {_range(config.env.family.max_epochs)} epochs, prices of {_range(config.env.prices)} for "
        "doubling a host's parameters"
    )
    if records.finished:
        return f"Finished: {planned}."
    if not records.updates:
        return f"Started: no update is done yet of {planned}."
    return f"Unfinished: {len(records.updates)} of {planned}."


def _range(ends: tuple[float, float]) -> str:
    low, high = ends
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def _tile(name: str, value: str, note: str) -> Html:
    return tag("div", tag("dt", name), tag("dd", value, class_="figure"), tag("dd", note))


def _progress(updates: Sequence[Update]) -> list[Html]:
    tenth = max(1, len(updates) // 10)
    first, last = updates[:tenth], updates[-tenth:]
    where = "one update" if len(updates) == 1 else "first and last tenth of the run"
    returns, accuracies, sizes = (
        (_mean(first, value), _mean(last, value)) for value in (_return, _val_accuracy, _size)
    )
    return [
        _tile("Episodes", f"{updates[-1].episodes:,}", f"{len(updates)} updates of the policy"),
        _tile(
            "Return per episode",
            f"{written(returns[0], 2)} → {written(returns[1], 2)}",
            f"{written(returns[1] - returns[0], 2, sign=True)}; {where}",
        ),
        _tile(
            "Validation accuracy",
            f"{accuracies[1]:.1f} %",
            f"at the end of an episode; {accuracies[0]:.1f} % at the start of the run",
        ),
        _tile(
            "Size",
            f"{sizes[1]:.2f} {TIMES}",
            f"the bare host's parameters; {sizes[0]:.2f} {TIMES} at the start of the run",
        ),
    ]


def _diverged(updates: Sequence[Update]) -> Html:
    """Hosts whose training broke down: a large share of them means that learning rates are too high."""
    hosts = sum(update.rollbacks.hosts for update in updates)
    trained = sum(update.rollbacks.of for update in updates)
    worst = max(updates, key=lambda update: update.rollbacks.hosts)
    words = f"of {trained:,} were rolled back to their last sound state"
    if hosts:
        words += f"; most in update {worst.update}: {worst.rollbacks.hosts} of {worst.rollbacks.of}"
    return _tile("Diverged hosts", f"{hosts:,}", words)


def _return(update: Update) -> float:
    return update.episode_return.mean


def _val_accuracy(update: Update) -> float:
    return update.val_accuracy


def _size(update: Update) -> float:
    return update.size


def _mean(updates: Sequence[Update], value: Callable[[Update], float]) -> float:
    return sum(map(value, updates)) / len(updates)


def _judged(records: RunRecords) -> Html:
    rival = best_rival(records.tables or [])
    if rival is None:
        told = "not evaluated yet" if records.tables is None else "no rival to compare with"
        return _tile("Against the best rival", NOTHING, told)
    places = rival.decimals
    words = (
        f"{rival.column}: policy {written(rival.policy, places)}, {rival.name} {written(rival.score, places)}"
    )
    if rival.lead is not None:
        low, high = (written(end, places, sign=True) for end in (rival.lead.low, rival.lead.high))
        words += f"; 95 % interval {low} to {high}"
    return _tile("Against the best rival", written(rival.policy - rival.score, places, sign=True), words)


def _took(records: RunRecords) -> Html:
    before, seconds = 0, 0.0
    for update in records.updates:  # on the clock: the parts of an update add up several workers
        seconds += (update.env_steps - before) / update.steps_per_second
        before = update.env_steps
    return _tile("Time", duration(seconds), f"of training; {before / seconds:.0f} host epochs a second")


def duration(seconds: float) -> str:
    """In two units: "41 s", "3 min 20 s", "2 h 5 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
