"""How a run that is watched looks: the tree on a terminal, the lines elsewhere."""

from __future__ import annotations

import io
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from rich.console import Console

from stepwell.cli.follow import all_changes
from stepwell.cli.picture import Picture, drawn_below
from stepwell.cli.show import described
from stepwell.cli.tree import drawn
from stepwell.client.logs import LogLine, ProgressInfo
from stepwell.client.run import AttemptInfo, ChildInfo, RunInfo, StepInfo

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
Kind = TypeVar("Kind")


def made(kind: type[Kind], /, **said: Any) -> Kind:
    """What was not said is nothing."""
    return kind(**{**dict.fromkeys(field.name for field in fields(kind)), **said})  # pyright: ignore[reportArgumentType]


def run(number: int = 1, **said: Any) -> RunInfo:
    facts: dict[str, Any] = {
        "id": UUID(int=number),
        "flow": "pages",
        "kind": "flow",
        "version": 1,
        "status": "started",
        "tags": [],
        "started_at": NOW - timedelta(seconds=90),
    }
    return made(RunInfo, **facts | said)


def step(name: str, status: str = "started", **said: Any) -> StepInfo:
    facts: dict[str, Any] = {
        "step": name,
        "type": "single",
        "status": status,
        "initial_tasks": 1,
        "completed_tasks": 0,
        "failed_attempts": 0,
        "started_at": NOW - timedelta(seconds=3),
    }
    return made(StepInfo, **facts | said)


def far(name: str, share: float | None, message: str, index: int = 0, **said: Any) -> ProgressInfo:
    facts: dict[str, Any] = {"step": name, "task_index": index, "attempt": 1, "running": True}
    return made(ProgressInfo, **facts | {"share": share, "message": message, "at": NOW} | said)


def line(number: int, message: str, **said: Any) -> LogLine:
    at = NOW + timedelta(seconds=number)
    facts: dict[str, Any] = {"id": f"1-{number}", "step": "read", "level": "info"}
    return made(LogLine, **facts | {"at": at, "attempt": 1, "message": message} | said)


def child(number: int, status: str) -> ChildInfo:
    return made(ChildInfo, run_id=UUID(int=number), slug="pack", status=status, started_at=NOW)


def text(what: Any, width: int = 100) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width).print(what)
    return [row.rstrip() for row in out.getvalue().splitlines()]


MAP = step("read", type="map", initial_tasks=40, completed_tasks=10, running_tasks=6)
FAILED = made(
    AttemptInfo,
    step="ship",
    task_index=0,
    attempt=1,
    error_type="OSError",
    error_message="no",
    failed_at=NOW,
)
RUNNING = Picture(
    run=run(),
    steps=[
        step("fetch", "completed", ended_at=NOW - timedelta(seconds=1), output=[1]),
        MAP,
        step("bind"),
        step("pay", awaits=["paid"], next_at=NOW + timedelta(minutes=59, seconds=3)),
        step("ship", failed_attempts=1, next_at=NOW + timedelta(seconds=12)),
        step("end", "created", started_at=None),
    ],
    attempts=[FAILED],
    seen_at=NOW,
    progress=[
        *(far("read", n / 8, f"page {n}", index=n) for n in (5, 4, 3, 2, 1)),
        far("read", 1.0, "over", index=9, running=False),
        far("bind", 0.5, "glue\x1b[31m"),
    ],
    lines=[line(n, f"line {n}", level="warning" if n == 3 else "info") for n in range(4)],
)


def test_the_tree_of_a_run_that_goes_on() -> None:
    *rows, one, two, three, _ = text(drawn([RUNNING]), width=120)
    assert rows == [
        f"pages v1  {UUID(int=1)}  ▸ started  1 min 30 s",
        "├── fetch  ✓ completed                      2.0 s  [1]",
        "├── read   ▸ started    ━━────── 10/40      3.0 s",
        "│   ├── [1] ━─────── 12 %  page 1",
        "│   ├── [2] ━━────── 25 %  page 2",
        "│   ├── [3] ━━━───── 37 %  page 3",
        "│   ├── [4] ━━━━──── 50 %  page 4",
        "│   └── and 1 more",
        "├── bind   ▸ started    ━━━━──── 50 %       3.0 s  glue\N{REPLACEMENT CHARACTER}[31m",
        "├── pay    ▸ started                        3.0 s  waits for paid until"
        " 2030-01-01 12:59:03 UTC, 59 min 3 s left",
        "├── ship   ▸ started                    1x  3.0 s  again in 12.0 s  OSError: no",
        "└── end    · created",
    ]
    assert [row.split("  ", 1)[1] for row in (one, two, three)] == [
        "read  line 1",
        "read  line 2",
        "read  warning  line 3",
    ]
    assert all(len(row) <= 60 for row in text(drawn([RUNNING]), width=60))


def test_children_are_below_their_parent_and_not_drawn_twice() -> None:
    many = [child(n, "completed" if n % 2 else "started") for n in range(2, 22)]
    chosen = drawn_below(many)
    assert [each.run_id.int for each in chosen] == list(range(2, 18, 2))
    below = [
        Picture(run(each.run_id.int, flow="pack"), [step("perform")], [], NOW) for each in chosen
    ]
    parent = replace(RUNNING, steps=[step("fetch")], lines=[], children=many, below=below)
    rows = text(drawn([parent, below[0]]))
    assert sum("pack v1" in row for row in rows) == 8
    assert rows[-2] == "└── more children: 10 completed, 2 started"


def test_on_a_low_screen_steps_at_rest_are_counted() -> None:
    done = [step(f"s{n}", "completed", output=n) for n in range(30)]
    tall = replace(RUNNING, steps=[*done, *RUNNING.steps])
    assert len(text(drawn([tall], height=100))) > 40
    head, counted, first, *_, last = text(drawn([tall], height=20))[:-4]
    assert "pages v1" in head
    assert counted == "├── more steps: 31 completed, 1 created"
    assert ("read" in first, "ship" in last) == (True, True)


def test_a_run_that_ended_shows_how_far_it_came() -> None:
    ended = replace(
        RUNNING,
        run=run(status="failed", ended_at=NOW, failed_step="bind", error_message="dry"),
        steps=[step("bind", "failed", error_message="dry", ended_at=NOW), MAP],
        progress=[far("bind", 0.5, "glue", running=False)],
        attempts=[],
    )
    head, first, second, *rest = text(drawn([ended]))
    assert "✗ failed" in head
    assert first == "├── bind  ✗ failed   ━━━━──── 50 %   3.0 s  dry"
    assert second == "└── read  ∅ cut off  ━━────── 10/40  3.0 s"
    assert not any("line" in row for row in rest)  # the log is shown by itself
    shown = text(described(replace(ended, lines=[*ended.lines] * 3)), width=120)
    assert shown[-1] == f"all of its log: stepwell runs logs {UUID(int=1)}"


def test_every_change_is_said_in_the_order_of_its_time() -> None:
    below = Picture(run(2, flow="pack", kind="job"), [step("perform", "running")], [], NOW)
    below = replace(below, progress=[far("perform", 0.34, "box", at=NOW + timedelta(seconds=5))])
    picture = replace(RUNNING, children=[child(2, "started")], below=[below])
    said = [change.line for change in all_changes([picture])]
    assert said == [
        "0001  fetch completed after 2.0 s",
        "0001  ship[0] attempt 1 failed: OSError: no",
        "0001  read 10/40",
        "0001  bind 50 %  glue\N{REPLACEMENT CHARACTER}[31m",
        "0001  pay waits for paid",
        "0001  child 0002 is of pack",
        "0002  pack 34 %  box",
    ]
    more = replace(picture, steps=[replace(MAP, completed_tasks=11)])
    again = {change.what for change in all_changes([picture])}
    assert [c.line for c in all_changes([more]) if c.what not in again] == []  # the same tenth
