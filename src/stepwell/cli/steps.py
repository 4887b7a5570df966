"""How a step of a run looks: its state, its bar, its time, what came of it."""

from __future__ import annotations

from datetime import UTC, datetime

from rich.text import Text

from stepwell.cli.output import compact, seconds, shortened, visible
from stepwell.cli.picture import Picture
from stepwell.client.logs import LogLine, ProgressInfo
from stepwell.client.run import StepInfo

STYLES = {
    "created": "dim",
    "started": "cyan",
    "completed": "green",
    "failed": "red",
    "skipped": "yellow",
    "cancelled": "yellow",
    "not run": "dim",
    "cut off": "yellow",
    "running": "cyan",
    "waiting": "cyan",
    "paused": "yellow",
    "blocked": "yellow",
}
MARKS = {
    "created": "·",
    "started": "▸",
    "completed": "✓",
    "failed": "✗",
    "skipped": "↷",
    "cancelled": "∅",
    "not run": "·",
    "cut off": "∅",
    "ready": "·",
    "delayed": "·",
    "blocked": "·",
    "running": "▸",
    "waiting": "·",
    "paused": "·",
}
LEVELS = {"debug": "dim", "info": "", "warning": "yellow", "error": "red"}
UNFINISHED = {"created": "not run", "started": "cut off"}
BAR = 8  # cells


def state(status: str) -> Text:
    return Text(f"{MARKS.get(status, '?')} {status}", style=STYLES.get(status, ""))


def cells_of(step: StepInfo, shown: Picture) -> list[Text]:
    """Name, state, bar, failed attempts, time, and what came of it."""
    failed = f"{step.failed_attempts}x" if step.failed_attempts else ""
    return [
        Text(step.step),
        state(open_state(step, shown)),
        bar_of(step, shown),
        Text(failed, style="yellow"),
        Text(time_of(step, shown.run.ended_at or shown.seen_at), style="dim"),
        result_of(step, shown),
    ]


def open_state(step: StepInfo, shown: Picture) -> str:
    """What a run that ended early did not finish is not `started` for ever."""
    return UNFINISHED.get(step.status, step.status) if shown.ended else step.status


def bar_of(step: StepInfo, shown: Picture) -> Text:
    """Of a map how many elements are done; of a single step what it says itself."""
    total = step.initial_tasks
    told = shown.progress_of(step)
    if told is not None and told.share is not None:
        return bar(told.share, STYLES.get(step.status, ""), percent(told.share))
    if step.type != "map" or total is None or step.status == "skipped":
        return Text("")
    done = step.completed_tasks
    style = STYLES.get(step.status, "")
    return bar(1.0 if total == 0 else done / total, style, f"{done}/{total}")


def bar(share: float, style: str, said: str) -> Text:
    full = int(BAR * share + 1e-9)
    return Text.assemble(("━" * full, style), ("─" * (BAR - full), "dim"), f" {said}")


def percent(share: float) -> str:
    """100 % is what is done."""
    return f"{int(100 * share + 1e-4)} %"


def element(told: ProgressInfo) -> Text:
    """One element of a map that runs."""
    drawn = Text(f"[{told.task_index}] ", style="dim")
    if told.share is not None:
        drawn.append_text(bar(told.share, "cyan", percent(told.share)))
    return drawn.append(f"  {shortened(told.message or '', 100)}")


def time_of(step: StepInfo, now: datetime) -> str:
    if step.started_at is None:
        return ""
    running = step.status in ("started", "running")
    end = step.ended_at or (now if running else step.started_at)
    return seconds(max(0.0, (end - step.started_at).total_seconds()))


def result_of(step: StepInfo, shown: Picture) -> Text:
    if step.status == "completed":
        return Text(compact(step.output, 100))
    if step.status == "skipped":
        return Text((step.skip_reason or "").replace("_", " "), style="yellow")
    error = shortened(shown.error_of(step) or "", 100)
    left = rest(step.next_at, shown.seen_at)
    if step.awaits and not shown.ended:
        until = (
            f" until {step.next_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC, {left} left"
            if step.next_at
            else ""
        )
        return Text(f"waits for {', '.join(map(visible, step.awaits))}{until}", style="cyan")
    if step.blocked_on and not shown.ended:
        return Text(f"waits for a slot of {visible(step.blocked_on)}  {error}", style="yellow")
    if step.status in ("started", "delayed") and step.next_at and not shown.ended:
        return Text(f"again in {left}  {error}".rstrip(), style="yellow")
    told = shown.progress_of(step)
    if told is not None and told.message and not error:
        return Text(shortened(told.message, 100), style="dim")
    return Text(error, style="red" if step.status == "failed" else "yellow")


def rest(until: datetime | None, now: datetime) -> str:
    """How long that still takes."""
    return "" if until is None else seconds(max(0.0, (until - now).total_seconds()))


def log_text(line: LogLine, *, alone: bool = False) -> Text:
    """A line of a log; `alone`: the run has one step, which needs no name."""
    index = f"[{line.task_index}]" if line.task_index else ""
    where = "" if alone else f"{visible(line.step)}{index}  "
    again = f"attempt {line.attempt}  " if line.attempt > 1 else ""
    level = f"{line.level}  " if line.level in ("warning", "error") else ""
    style = LEVELS.get(line.level, "")
    return Text.assemble(
        (f"{line.at.astimezone():%H:%M:%S}  ", "dim"),
        (where, "bold"),
        (again, "dim"),
        (level, style),
        (visible(line.message), style),
    )
