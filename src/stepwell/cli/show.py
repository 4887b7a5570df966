"""How a run looks: its facts, its steps as a table, its last words, its failed attempts."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import TypeVar

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from stepwell.cli.exits import Exit
from stepwell.cli.output import (
    compact,
    console,
    note,
    plain,
    print_json,
    seconds,
    shortened,
    visible,
)
from stepwell.cli.picture import LAST_LINES, Picture
from stepwell.cli.steps import STYLES, cells_of, log_text, state
from stepwell.client.run import AttemptInfo, ChildInfo, RunInfo, RunSummary, SignalInfo

Row = TypeVar("Row")


def described(shown: Picture) -> RenderableType:
    """Everything that `runs show` says, attempts aside."""
    run = shown.run
    facts = Table.grid(padding=(0, 2))
    for name, value in (
        ("key", run.key),
        ("parent", str(run.parent_id) if run.parent_id else None),
        ("restart of", str(run.origin_id) if run.origin_id else None),
        ("priority", str(run.priority) if run.priority else None),
        ("tags", ", ".join(run.tags)),
        ("metadata", compact(run.metadata, 100) if run.metadata else None),
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
    if shown.lines:
        parts += ["", *log_list(shown)]
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


def step_table(shown: Picture) -> Table:
    table = narrow_table("step", "state", "progress", "✗", "time", "result")
    for step in shown.steps:
        table.add_row(*cells_of(step, shown))
    return table


def log_list(shown: Picture) -> list[RenderableType]:
    """The last lines of its log, and where the others are."""
    alone = shown.run.kind == "job"
    lines: list[RenderableType] = [log_text(line, alone=alone) for line in shown.lines]
    if len(shown.lines) >= LAST_LINES:
        lines.append(Text(f"all of its log: stepwell runs logs {shown.run.id}", style="dim"))
    return lines


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
        more += [(f"#{visible(tag)}  ", "dim") for tag in run.tags]
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
    """Its version, of which a job has but one, and what it is if that is no flow."""
    version = [] if run.kind == "job" else [(f" v{run.version}", "dim")]
    return version if run.kind == "flow" else [*version, (f" {run.kind}", "dim")]


def listed(
    found: Sequence[Row],
    json: bool,
    nothing: str,
    columns: Sequence[str],
    cells: Callable[[Row], Iterable[RenderableType]],
) -> int:
    """Print what a list command found, as JSON or a row each."""
    if json:
        print_json(plain(found))
    elif found:
        table = narrow_table(*columns)
        for each in found:
            table.add_row(*cells(each))
        console().print(table)
    else:
        note(nothing)
    return Exit.OK


def narrow_table(*columns: str) -> Table:
    """On a terminal the last column takes what the others leave, and is cut there."""
    on_terminal = sys.stdout.isatty()
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", expand=on_terminal)
    for name in columns[:-1]:
        table.add_column(name, no_wrap=True, justify="right" if name == "time" else "left")
    ratio = 1 if on_terminal else None
    table.add_column(columns[-1], no_wrap=True, overflow="ellipsis", ratio=ratio)
    return table
