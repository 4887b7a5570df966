"""What tasks say of the tags and the metadata of their runs, and what that costs where nothing was
said."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest

from stepwell.db.commit import Entry, Turn, commit_and_claim, observed_turn, turn_of

from .explain import explained
from .hands import Hands, completed
from .shapes import chain, spread

pytestmark = pytest.mark.timeout(60)
METADATA = {"shop": {"id": 3, "note": None}, "by": "ann"}


def rows_of(hands: Hands, *entries: Entry, want: int = 0, observed: bool = False) -> list[Any]:
    queues, versions = zip(*hands.lanes, strict=True)
    take = observed_turn if observed else commit_and_claim
    call = take(hands.id, entries, queues, versions, want)
    return hands.conn.execute(call.sql, call.args, binary=True).fetchall()


def turn(hands: Hands, *entries: Entry, want: int = 0, observed: bool = False) -> Turn:
    return turn_of(rows_of(hands, *entries, want=want, observed=observed))


def labels_of(turn: Turn) -> dict[UUID, Any]:
    return {task.run_id: task.labels and json.loads(task.labels) for task in turn.tasks}


@pytest.mark.parametrize("observed", [False, True])
def test_a_task_says_the_tags_and_the_metadata_of_its_run(hands: Hands, observed: bool) -> None:
    hands.define(chain("chain"))
    both = hands.begin("chain", 1, tags=["vip", "eu"], metadata=METADATA)
    tagged = hands.begin("chain", 1, tags=["vip"])
    told = hands.begin("chain", 1, metadata=METADATA)
    plain = hands.begin("chain", 1)
    first = turn(hands, want=4, observed=observed)
    expected = {
        both: {"tags": ["vip", "eu"], "metadata": METADATA},
        tagged: {"tags": ["vip"], "metadata": None},
        told: {"tags": None, "metadata": METADATA},
        plain: None,
    }
    assert labels_of(first) == expected
    hands.conn.execute("select pgflow.label_run(%s, array['late'])", (plain,))
    expected[plain] = {"tags": ["late"], "metadata": None}
    handed = turn(hands, *(completed(task, 1) for task in first.tasks), want=4, observed=observed)
    assert labels_of(handed) == expected
    hands.release(handed.tasks)
    hands.drain(1)


def test_labels_come_once_for_all_tasks_of_a_run(hands: Hands) -> None:
    hands.define(spread("elements"))
    run = hands.begin("elements", 1, tags=["vip"])
    [task] = turn(hands, want=1).tasks
    rows = rows_of(hands, completed(task, list(range(50))), want=50)
    assert [row[4] for row in rows if row[0] == "labels"] == [run]
    found = turn_of(rows).tasks
    assert len(found) == 50
    assert {task.labels for task in found} == {'{"tags" : ["vip"], "metadata" : null}'}
    turn(hands, *(completed(task, 1) for task in found))


def test_who_knows_nothing_of_labels_finds_the_rows_as_they_were(hands: Hands) -> None:
    """Workers of before take the rows without a verdict as tasks, and leave unknown verdicts."""
    hands.define(chain("chain"))
    hands.begin("chain", 1, tags=["vip"])
    rows = rows_of(hands, want=1)
    assert sorted(str(row[0]) for row in rows) == ["None", "labels"]
    assert {len(row) for row in rows} == {21}
    hands.release(turn_of(rows).tasks)
    [task] = hands.claim()  # and those who only claim are not told
    assert task.labels is None
    turn(hands, completed(task, 1))
    hands.drain(1)


def test_runs_without_labels_add_neither_rows_nor_statements(hands: Hands) -> None:
    hands.define(chain("chain"))
    counts: set[int] = set()
    rows_of(hands, want=1)  # what a session does once
    for batch, options in ((1, {}), (200, {}), (200, {"tags": ["vip"]})):
        hands.started("chain", list(range(batch)), **options)
        taken: list[Any] = []
        told = explained(hands.conn, lambda t=taken, b=batch: t.extend(rows_of(hands, want=b)))
        counts.add(len(told))
        assert len(taken) == batch * (2 if options else 1)
        turn(hands, *(completed(task, 1) for task in turn_of(taken).tasks))
        hands.drain(1)
    assert len(counts) == 1
