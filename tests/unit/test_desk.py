"""What an end on the desk means for the next claim."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from stepwell.db.claim import Task
from stepwell.worker.desk import Desk

TASK = Task(
    message_id=1,
    claim_token=2,
    run_id=uuid4(),
    flow_slug="capped",
    version_id=3,
    step_slug="book",
    task_index=0,
    attempt=1,
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


@pytest.mark.parametrize(("slug", "looks"), [("capped", True), ("other", False)])
async def test_the_end_of_what_was_at_its_cap_is_a_reason_to_look(slug: str, looks: bool) -> None:
    """Without an outcome to write, as it committed with its writes, no turn would come of it."""
    desk = Desk(4)
    desk.look, desk.waiting_for = False, {"capped"}
    assert desk.end(replace(TASK, flow_slug=slug), None)
    assert desk.look is looks
