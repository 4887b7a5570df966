"""What the span of a try to handle a message says."""

from __future__ import annotations

from contextlib import AbstractContextManager

from stepwell.db.messages import Ending
from stepwell.observe.traces import Attempt, Traces
from stepwell.worker.queue_message import Held


def message_span(held: Held, traces: Traces) -> AbstractContextManager[Attempt]:
    """Current while its handler runs; below the span that sent it, if its headers say which."""
    facts = {
        "queue": held.queue,
        "msg_id": held.msg_id,
        "read_ct": held.read_ct,
        "worker_id": str(held.worker_id),
    }
    return traces.message(f"handle {held.queue}", facts, held.message.headers)


def handled(span: Attempt, ending: Ending) -> None:
    if ending.error_type is not None:
        span.raised(ending.error_type, ending.error_message or "", ending.traceback)
    span.ended({"retry": "failed"}.get(ending.outcome, ending.outcome))
