"""What is too large is refused before it is written, whoever sends it."""

from __future__ import annotations

import json

import psycopg
import pytest

from stepwell.errors import DefinitionError, PayloadTooLarge

from .hands import Hands, completed
from .kinds import machine, says
from .shapes import flow, single, spread, step

pytestmark = pytest.mark.timeout(120)

WIDE = 10_001  # one more than this database takes after `narrow`
LARGE = 2**20 + 2**16


@pytest.fixture
def narrow(hands: Hands) -> Hands:
    """The smallest limits that there can be."""
    said = hands.rows("select * from pgflow.set_payload_limits(1048576, 10000)")
    assert said == [(2**20, 10_000)]
    return hands


WITH_MAP = flow("mapped", step("each", map=True))


def too_wide() -> list[int]:
    return [0] * WIDE


def too_large() -> str:
    return "x" * LARGE


def test_a_map_over_too_much_is_refused_wherever_it_comes_from(narrow: Hands) -> None:
    narrow.define(WITH_MAP)
    said = (
        r"flow 'mapped': step 'each' would map over 10001 elements, and this database takes 10000"
    )
    with pytest.raises(PayloadTooLarge, match=said):
        narrow.start("mapped", [1], too_wide())
    with pytest.raises(psycopg.Error, match=said) as caught:
        narrow.rows("select * from pgflow.start_flow('mapped', %s)", json.dumps(too_wide()))
    assert caught.value.sqlstate == "PF413"
    assert narrow.rows("select count(*) from pgflow.runs") == [(0,)]

    narrow.define(spread("flow"))
    [run] = narrow.start("flow")
    [task] = narrow.claim()
    step = (run, "list", json.dumps(too_wide()))
    with pytest.raises(psycopg.Error, match="flow 'flow': step 'each' would map over 10001"):
        narrow.complete([task], too_wide())
    with pytest.raises(psycopg.Error, match="would map over"):
        narrow.rows("select * from pgflow.complete_task(%s, %s, 0, %s)", *step)
    assert narrow.rows("select count(*) from pgflow.step_tasks") == [(1,)]
    narrow.rows("select * from pgflow.set_payload_limits(max_elements => %s)", WIDE)
    narrow.complete([task], too_wide())
    assert narrow.value("select count(*) from pgflow.step_tasks where stage = 'ready'") == WIDE


def test_a_list_that_nobody_maps_over_may_be_long(narrow: Hands) -> None:
    narrow.define(single("flow"))
    [run] = narrow.start("flow", too_wide())
    narrow.complete(narrow.claim(), too_wide())
    assert narrow.status(run) == "completed"


def test_a_value_that_is_too_large_is_refused_wherever_it_comes_from(narrow: Hands) -> None:
    narrow.define(single("flow"))
    narrow.define(machine("machine", "wait"))
    with pytest.raises(PayloadTooLarge, match=r"an input of 'flow' has 1\d{6} bytes as jsonb"):
        narrow.start("flow", 1, too_large())
    with pytest.raises(PayloadTooLarge, match="an input of 'machine'"):
        narrow.begin("machine", {"field": too_large()})
    [run] = narrow.start("flow")
    waiting = narrow.begin("machine")
    with pytest.raises(PayloadTooLarge, match="signal 'paid' has"):
        narrow.send(waiting, "paid", too_large())
    tasks = narrow.claim()
    for task in tasks:
        entry = (
            says(task, "done", result=too_large())
            if task.kind == "machine"
            else completed(task, too_large())
        )
        with pytest.raises(psycopg.Error, match="an outcome has") as caught:
            narrow.commit([entry])
        assert caught.value.sqlstate == "PF413"
    with pytest.raises(psycopg.Error, match="an outcome has"):
        task = json.dumps(too_large())
        narrow.rows("select * from pgflow.complete_task(%s, 's0', 0, %s)", run, task)
    assert narrow.status(run) == narrow.status(waiting) == "started"


def test_a_batch_of_many_that_are_small_is_not_too_large(narrow: Hands) -> None:
    narrow.define(single("flow"))
    runs = narrow.start("flow", *["x" * 20_000] * 100)
    narrow.complete(narrow.claim(), "y" * 20_000)
    assert {narrow.status(run) for run in runs} == {"completed"}


def test_limits_that_make_no_sense_are_refused(hands: Hands) -> None:
    for given in ("max_payload => 5", "max_elements => 9999", "max_payload => 300000000"):
        with pytest.raises(psycopg.Error, match="these limits cannot be") as caught:
            hands.conn.execute(f"select pgflow.set_payload_limits({given})")  # pyright: ignore
        assert caught.value.sqlstate == DefinitionError.sqlstate
    assert hands.rows("select * from pgflow.set_payload_limits()") == [(128 * 2**20, 1_000_000)]
