"""A task as a claim brings it; `replace` says what is special about one."""

from datetime import UTC, datetime
from uuid import uuid4

from stepwell.db.claim import Task

TASK = Task(
    message_id=1,
    claim_token=2,
    run_id=uuid4(),
    flow_slug="trip",
    version_id=3,
    step_slug="book",
    task_index=0,
    attempt=2,
    max_attempts=3,
    timeout=60,
    started_at=datetime.now(UTC),
    input=None,
    flow_input=None,
    kind="flow",
    key=None,
    crashes=0,
    signals=None,
    children=None,
    version=1,
)
