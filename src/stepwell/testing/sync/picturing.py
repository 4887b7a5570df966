# made by tools/sync.py out of testing/picturing.py: change that, and run `python -m tools.sync`
"""A run as text, for the message of a test that failed."""

from __future__ import annotations

from typing import Any

from stepwell.client.reading import RunInfo
from stepwell.client.sync.client import SyncClient
from stepwell.client.sync.run import SyncRun
from stepwell.testing.picture import attempt_lines, facts_of, moment, short, step_table, table

MOST = 20  # attempts, signals, children and lines


def pictured(client: SyncClient, info: RunInfo) -> str:
    """All that `stepwell runs show --attempts` would say."""
    run: SyncRun[Any] = client.run(info.id)
    parts = [list(facts_of(info)), step_table(run.steps())]
    if children := run.children(limit=MOST):
        rows = [
            [str(c.run_id), c.status, c.slug, short(c.error_message or c.output)] for c in children
        ]
        parts.append(table(["child", "state", "of", "result"], rows))
    if signals := run.signals(limit=MOST):
        rows = [
            [s.name, moment(s.sent_at), "consumed" if s.consumed_at else "in the inbox"]
            for s in signals
        ]
        parts.append(table(["signal", "sent", "state"], rows))
    if lines := run.logs(limit=MOST, newest=True):
        rows = [[moment(each.at), each.level, each.step, short(each.message)] for each in lines]
        parts.append(table(["logged", "level", "step", "line"], rows))
    parts += [list(attempt_lines(each)) for each in run.attempts(limit=MOST)]
    return "\n\n".join("\n".join(f"  {line}".rstrip() for line in part) for part in parts)
