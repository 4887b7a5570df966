"""A run as text, for the message of a test that failed."""

from __future__ import annotations

from typing import Any

from stepwell.client.client import Client
from stepwell.client.reading import RunInfo
from stepwell.client.run import Run
from stepwell.testing.picture import attempt_lines, facts_of, moment, short, step_table, table

MOST = 20  # attempts, signals, children and lines


async def pictured(client: Client, info: RunInfo) -> str:
    """All that `stepwell runs show --attempts` would say."""
    run: Run[Any] = client.run(info.id)
    parts = [list(facts_of(info)), step_table(await run.steps())]
    if children := await run.children(limit=MOST):
        rows = [
            [str(c.run_id), c.status, c.slug, short(c.error_message or c.output)] for c in children
        ]
        parts.append(table(["child", "state", "of", "result"], rows))
    if signals := await run.signals(limit=MOST):
        rows = [
            [s.name, moment(s.sent_at), "consumed" if s.consumed_at else "in the inbox"]
            for s in signals
        ]
        parts.append(table(["signal", "sent", "state"], rows))
    if lines := await run.logs(limit=MOST, newest=True):
        rows = [[moment(each.at), each.level, each.step, short(each.message)] for each in lines]
        parts.append(table(["logged", "level", "step", "line"], rows))
    parts += [list(attempt_lines(each)) for each in await run.attempts(limit=MOST)]
    return "\n\n".join("\n".join(f"  {line}".rstrip() for line in part) for part in parts)
