"""What an end on the desk means for the next claim."""

from dataclasses import replace

import pytest

from stepwell.worker.desk import Desk

from .tasks import TASK


@pytest.mark.parametrize(("slug", "looks"), [("capped", True), ("other", False)])
async def test_the_end_of_what_was_at_its_cap_is_a_reason_to_look(slug: str, looks: bool) -> None:
    """Without an outcome to write, as it committed with its writes, no turn would come of it."""
    desk = Desk(4)
    desk.look, desk.waiting_for = False, {"capped"}
    assert desk.end(replace(TASK, flow_slug=slug), None)
    assert desk.look is looks
