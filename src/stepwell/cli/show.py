"""How a run looks: its facts, its steps as a table, its failed attempts."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from stepwell.cli.output import compact, plain, seconds, shortened, visible
from stepwell.client.client import Client
from stepwell.client.run import (
    AttemptInfo,
    ChildInfo,
    RunInfo,
    RunSummary,
    SignalInfo,
    StepInfo,
)

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
UNFINISHED = {"created": "not run", "started": "cut off"}
MOST_ATTEMPTS = 1000  # of one run
MOST_SHOWN = 100  # signals and children of one run
BAR = 8  # cells of a map step's progress


@dataclass(frozen=True, slots=True)
class Picture:
    """One run as it was at one moment."""

    run: RunInfo
    steps: Sequence[StepInfo]
    attempts: Sequence[AttemptInfo]
    seen_at: datetime
    attempts_cut: bool = False  # there are more than these
    signals: Sequence[SignalInfo] = ()
    children: Sequence[ChildInfo] = ()

    @property
    def ended(self) -> bool:
        return self.run.status != "started"

    def error_of(self, step: StepInfo) -> str | None:
        """What made it fail, or its last attempt while there will be another."""
        last = next((a for a in reversed(self.attempts) if a.step == step.step), None)
        if last is not None and step.status not in ("completed", "skipped"):
            return f"{last.error_type}: {step.error_message or last.error_message}"
        return step.error_message


async def picture(client: Client, run: RunInfo) -> Picture:
    """The run as read before, and what belongs to it as that is now."""
    handle = client.run(run.id)
    steps = [as_it_ended(step, run) for step in await handle.steps()]
    attempts: list[AttemptInfo] = []
    if any(step.failed_attempts for step in steps):
        attempts = await handle.attempts(limit=MOST_ATTEMPTS + 1)
    signals, children = await handle.signals(MOST_SHOWN), await handle.children(MOST_SHOWN)
    cut = len(attempts) > MOST_ATTEMPTS
    now = datetime.now(UTC)
    return Picture(run, steps, attempts[:MOST_ATTEMPTS], now, cut, signals, children)


def as_it_ended(step: StepInfo, run: RunInfo) -> StepInfo:
    """The one step of a machine or job ends as its run does."""
    if run.kind == "flow" or run.status == "started" or step.status in ("completed", "failed"):
        return step
    return replace(step, status=run.status)


def as_data(shown: Picture, *, attempts: bool) -> dict[str, object]:
    tried = {"attempts": plain(shown.attempts)} if attempts else {}
    more = {"signals": plain(shown.signals), "children": plain(shown.children)}
    return {**plain(shown.run), "steps": plain(shown.steps), **more, **tried}


def drawn(shown: Picture) -> RenderableType:
    return Group(headline(shown), step_table(shown))


def described(shown: Picture) -> RenderableType:
    """Everything that `runs show` says, attempts aside."""
    run = shown.run
    facts = Table.grid(padding=(0, 2))
    for name, value in (
        ("key", run.key),
        ("parent", str(run.parent_id) if run.parent_id else None),
        ("restart of", str(run.origin_id) if run.origin_id else None),
        ("priority", str(run.priority) if run.priority else None),
        ("input", compact(run.input, 100)),
        ("state", compact(run.state, 100) if run.kind == "machine" else None),
        ("output", compact(run.output, 100) if run.status == "completed" else None),
        ("error", error_of(run)),
    ):
        if value:
            facts.add_row(Text(name, style="dim"), Text(visible(value)))
    parts: list[RenderableType] = [headline(shown), facts, "", step_table(shown)]
    if shown.children:
        parts += ["", child_table(shown.children)]
    if shown.signals:
        parts += ["", signal_table(shown.signals)]
    return Group(*parts)


def child_table(children: Sequence[ChildInfo]) -> Table:
    table = narrow_table("child", "state", "of", "result")
    for child in children:
        said = compact(child.output, 100) if child.output is not None else child.error_message
        table.add_row(
            str(child.run_id), state(child.status), child.slug, shortened(said or "", 100)
        )
    return table


def signal_table(signals: Sequence[SignalInfo]) -> Table:
    table = narrow_table("signal", "sent (UTC)", "state", "payload")
    for signal in signals:
        table.add_row(
            Text(visible(signal.name), style="bold"),
            Text(f"{signal.sent_at.astimezone(UTC):%Y-%m-%d %H:%M:%S}", style="dim"),
            Text("consumed" if signal.consumed_at else "in the inbox", style="dim"),
            compact(signal.payload, 100),
        )
    return table


def headline(shown: Picture) -> Text:
    run = shown.run
    until = run.ended_at or shown.seen_at
    length = seconds(max(0.0, (until - run.started_at).total_seconds()))
    return Text.assemble(
        (run.flow, "bold"),
        (f" v{run.version}  ", "dim"),
        f"{run.id}  ",
        state("paused" if run.paused and run.status == "started" else run.status),
        (f"  {length}", "dim"),
        no_wrap=True,
        overflow="ellipsis",
    )


def error_of(run: RunInfo | RunSummary) -> str | None:
    if run.error_message is None:
        return None
    where = f"step {run.failed_step}" if run.failed_step else None
    kind = run.error_type if isinstance(run, RunInfo) else None
    return ": ".join([said for said in (where, kind, run.error_message) if said])


def state(status: str) -> Text:
    return Text(f"{MARKS.get(status, '?')} {status}", style=STYLES.get(status, ""))


def step_table(shown: Picture) -> Table:
    table = narrow_table("step", "state", "tasks", "✗", "time", "result")
    for step in shown.steps:
        table.add_row(
            step.step,
            state(open_state(step, shown)),
            tasks_of(step),
            Text(f"{step.failed_attempts}x", style="yellow") if step.failed_attempts else "",
            Text(time_of(step, shown.seen_at), style="dim"),
            result_of(step, shown),
        )
    return table


def open_state(step: StepInfo, shown: Picture) -> str:
    """What a run that ended early did not finish is not `started` for ever."""
    return UNFINISHED.get(step.status, step.status) if shown.ended else step.status


def tasks_of(step: StepInfo) -> Text:
    total = step.initial_tasks
    if step.type != "map" or total is None or step.status == "skipped":
        return Text("")
    done = step.completed_tasks
    full = BAR if total == 0 else BAR * done // total
    style = STYLES.get(step.status, "")
    return Text.assemble(("━" * full, style), ("━" * (BAR - full), "dim"), f" {done}/{total}")


def time_of(step: StepInfo, now: datetime) -> str:
    if step.started_at is None:
        return ""
    end = step.ended_at or (now if step.status == "started" else step.started_at)
    return seconds(max(0.0, (end - step.started_at).total_seconds()))


def result_of(step: StepInfo, shown: Picture) -> Text:
    if step.status == "completed":
        return Text(compact(step.output, 100))
    if step.status == "skipped":
        return Text((step.skip_reason or "").replace("_", " "), style="yellow")
    error = shortened(shown.error_of(step) or "", 100)
    if step.awaits and not shown.ended:
        until = (
            f" until {step.next_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if step.next_at else ""
        )
        return Text(f"waits for {', '.join(map(visible, step.awaits))}{until}", style="cyan")
    if step.blocked_on and not shown.ended:
        return Text(f"waits for a slot of {visible(step.blocked_on)}  {error}", style="yellow")
    if step.status in ("started", "delayed") and step.next_at and not shown.ended:
        wait = seconds(max(0.0, (step.next_at - shown.seen_at).total_seconds()))
        return Text(f"again in {wait}  {error}".rstrip(), style="yellow")
    return Text(error, style="red" if step.status == "failed" else "yellow")


def attempt_list(attempts: Sequence[AttemptInfo]) -> RenderableType:
    """Every failed attempt with its traceback, oldest first."""
    lines: list[RenderableType] = []
    for each in attempts:
        first = f"\n{each.step}[{each.task_index}] attempt {each.attempt}"
        moment = f"  {each.failed_at:%Y-%m-%d %H:%M:%S} UTC"
        lines.append(Text.assemble((first, "bold"), (moment, "dim")))
        lines.append(Text(visible(f"{each.error_type}: {each.error_message}"), style="red"))
        if each.traceback:
            lines.append(Text(visible(each.traceback.rstrip()), style="dim"))
    return Group(*lines)


def run_table(runs: Sequence[RunSummary]) -> Table:
    table = narrow_table("run", "state", "started", "flow")
    today = datetime.now().astimezone().date()
    for run in runs:
        began = run.started_at.astimezone()
        form = "%H:%M:%S" if began.date() == today else "%Y-%m-%d %H:%M"
        more = [("key ", "dim"), f"{visible(run.key)}  "] if run.key else []
        error = (shortened(error_of(run) or "", 200), STYLES.get(run.status, ""))
        table.add_row(
            str(run.id),
            Text(status_of(run), style=STYLES.get(status_of(run), "")),
            Text(began.strftime(form), style="dim"),
            Text.assemble((run.flow, "bold"), *kind_of(run), "  ", *more, error),
        )
    return table


def status_of(run: RunSummary) -> str:
    return "paused" if run.paused_at and run.status == "started" else run.status


def kind_of(run: RunSummary) -> list[tuple[str, str]]:
    return [] if run.kind == "flow" else [(f" {run.kind}", "dim")]


def narrow_table(*columns: str) -> Table:
    """On a terminal the last column takes what the others leave, and is cut there."""
    on_terminal = sys.stdout.isatty()
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", expand=on_terminal)
    for name in columns[:-1]:
        table.add_column(name, no_wrap=True, justify="right" if name == "time" else "left")
    ratio = 1 if on_terminal else None
    table.add_column(columns[-1], no_wrap=True, overflow="ellipsis", ratio=ratio)
    return table
