"""A cancel takes along the children that are to end with it, and its parent hears of it."""

from __future__ import annotations

import json
import time
from random import Random
from typing import Any
from uuid import UUID

import pytest

from stepwell.db.claim import Task
from stepwell.db.steer import audit_of

from .conftest import Connect
from .hands import Hands
from .kinds import child, id_of, job, machine, says
from .waiting import begin, held_up, transaction

SECONDS = 6.0


@pytest.fixture
def family(hands: Hands) -> Hands:
    hands.define(machine("parent", "a", "b"))
    hands.define(machine("middle", "a", "b"))
    hands.define(job("kid"))
    return hands


@pytest.fixture
def other(family: Hands, connect: Connect) -> Hands:
    return Hands(connect(), lanes=family.lanes)


def spawn(hands: Hands, *children: dict[str, Any], **options: Any) -> Task:
    """The one task that is ready has these children and waits for them."""
    [task] = hands.claim(1)
    hands.commit([says(task, "spawn", step="b", children=list(children), **options)])
    return task


def statuses(hands: Hands, *children: dict[str, Any]) -> list[str]:
    return [hands.status(id_of(each)) for each in children]


def counts(hands: Hands, parent: UUID) -> tuple[Any, ...]:
    query = "select pending, completed, failed, open from pgflow.joins where run_id = %s"
    return hands.rows(query, parent)[0]


def test_children_end_with_their_parent_unless_they_are_to_stay(family: Hands) -> None:
    [parent] = family.start("parent")
    middle, stays = child("middle"), child("kid", on_parent_end="keep")
    spawn(family, middle, stays)
    [task] = [task for task in family.claim() if task.flow_slug == "middle"]
    kids = [child("kid") for _ in range(3)]
    family.commit([says(task, "spawn", step="b", children=kids)])
    assert family.cancel(parent)
    assert statuses(family, middle, *kids) == ["cancelled"] * 4
    assert statuses(family, stays) == ["started"]
    assert counts(family, id_of(middle)) == (0, 0, 3, False)
    assert counts(family, parent) == (1, 0, 1, True)
    [of_root] = audit_of(parent).on_sync(family.conn)
    [of_kid] = audit_of(id_of(kids[0])).on_sync(family.conn)
    assert (of_root.detail, of_kid.detail) == (None, {"with": middle["id"]})
    reason = "select error_message from pgflow.runs where run_id = %s"
    assert family.value(reason, id_of(kids[0])) == "cancelled with its parent run"


def test_a_parent_goes_on_when_its_last_child_is_cancelled(family: Hands) -> None:
    [parent] = family.start("parent")
    kids = [child("kid"), child("kid")]
    spawn(family, *kids)
    family.complete(family.claim(1))
    [left] = [each for each in kids if family.status(id_of(each)) == "started"]
    assert family.cancel(id_of(left))
    assert counts(family, parent) == (0, 1, 1, False)
    [task] = family.claim()
    assert task.step_slug == "b"
    told = json.loads(task.children or "{}")
    assert (told["completed"], told["failed"]) == (1, 1)


def test_a_retried_child_is_waited_for_again(family: Hands) -> None:
    [parent] = family.start("parent")
    kids = [child("kid"), child("kid")]
    spawn(family, *kids)
    family.cancel(id_of(kids[0]))
    assert counts(family, parent) == (1, 0, 1, True)
    family.retry(id_of(kids[0]))
    assert counts(family, parent) == (2, 0, 0, True)
    family.complete(family.claim(), "ok")
    assert counts(family, parent) == (0, 2, 0, False)
    assert [task.step_slug for task in family.claim()] == ["b"]


def test_a_child_that_is_retried_too_late_is_counted_but_wakes_nobody(family: Hands) -> None:
    [parent] = family.start("parent")
    kid = child("kid")
    spawn(family, kid)
    family.cancel(id_of(kid))
    [task] = family.claim()
    family.commit([says(task, "await", step="b", names=["x"], timeout=None)])
    family.retry(id_of(kid))
    family.complete(family.claim())
    assert counts(family, parent) == (0, 1, 0, False)
    assert family.claim() == []


def test_a_retried_parent_goes_on_without_the_children_that_ended_with_it(family: Hands) -> None:
    [parent] = family.start("parent")
    spawn(family, child("kid"), child("kid"))
    family.cancel(parent)
    assert family.retry(parent)
    [task] = family.claim()
    assert (task.run_id, task.step_slug) == (parent, "b")
    assert json.loads(task.children or "{}")["failed"] == 2


def test_a_retried_parent_waits_on_for_children_that_stayed(family: Hands) -> None:
    [parent] = family.start("parent")
    stays = child("kid", on_parent_end="keep")
    spawn(family, stays, child("kid"))
    family.cancel(parent)
    assert family.retry(parent)
    [task] = family.claim()
    assert task.run_id == id_of(stays)
    family.complete([task])
    assert [task.step_slug for task in family.claim()] == ["b"]


# --- forced orders ---


def test_a_cancel_that_waited_for_a_childs_last_commit_finds_it_completed(
    family: Hands, other: Hands
) -> None:
    [parent] = family.start("parent")
    kid = child("kid")
    spawn(family, kid)
    tasks = family.claim()
    with transaction(family.conn):
        family.complete(tasks)
        later = held_up(lambda: other.cancel(parent), other.conn, family.conn)
    assert later.result(30)
    assert statuses(family, kid) == ["completed"]
    assert family.status(parent) == "cancelled"
    assert counts(family, parent) == (0, 1, 0, False)


def test_a_childs_commit_that_waited_for_the_cancel_is_stale(family: Hands, other: Hands) -> None:
    [parent] = family.start("parent")
    kid = child("kid")
    spawn(family, kid)
    tasks = family.claim()
    with transaction(other.conn):
        assert other.cancel(parent)
        later = held_up(lambda: family.complete(tasks), family.conn, other.conn)
    assert later.result(30).stale == {task.message_id for task in tasks}
    assert statuses(family, kid) == ["cancelled"]
    assert counts(family, parent) == (0, 0, 1, False)


def test_a_cancel_takes_along_what_the_parent_spawned_while_it_waited(
    family: Hands, other: Hands
) -> None:
    [parent] = family.start("parent")
    [task] = family.claim()
    kids = [child("kid", on_parent_end="cancel") for _ in range(20)]  # before and after its id
    with transaction(family.conn):
        family.commit([says(task, "spawn", step="b", children=kids)])
        later = held_up(lambda: other.cancel(parent), other.conn, family.conn)
    assert later.result(30)
    assert set(statuses(family, *kids)) == {"cancelled"}
    assert family.claim() == []


def test_a_cancel_takes_along_what_a_child_spawned_while_it_waited(
    family: Hands, other: Hands
) -> None:
    [parent] = family.start("parent")
    spawn(family, child("middle"))
    [task] = family.claim()
    kids = [child("kid") for _ in range(20)]
    with transaction(family.conn):
        family.commit([says(task, "spawn", step="b", children=kids)])
        later = held_up(lambda: other.cancel(parent), other.conn, family.conn)
    assert later.result(30)
    assert set(statuses(family, *kids)) == {"cancelled"}


def test_two_cancels_of_the_same_tree_take_turns(family: Hands, other: Hands) -> None:
    [parent] = family.start("parent")
    kids = [child("kid") for _ in range(10)]
    spawn(family, *kids)
    with transaction(family.conn):
        assert family.cancel(id_of(kids[5]))
        later = held_up(lambda: other.cancel(parent), other.conn, family.conn)
    assert later.result(30)
    assert counts(family, parent) == (0, 0, 10, False)
    assert len(audit_of().on_sync(family.conn)) == 11


@pytest.mark.timeout(120)
def test_families_that_grow_end_and_are_cancelled_never_deadlock(
    family: Hands, connect: Connect
) -> None:
    crowd = [Crowd(connect, family.lanes, seed) for seed in range(4)]
    family.start("parent", *({"n": n} for n in range(20)))
    deadline = time.monotonic() + SECONDS
    futures = [begin(lambda each=each: each.until(deadline)) for each in crowd]
    turns = [future.result(60) for future in futures]
    print("turns:", turns, family.rows("select status, count(*) from pgflow.runs group by 1"))
    assert min(turns) > 10
    for (run,) in family.rows("select run_id from pgflow.runs where status = 'started'"):
        family.cancel(run)
    left = "select count(*) from pgflow.runs where status = 'started'"
    assert family.value(left) == 0
    wrong = """
        select j.* from pgflow.joins j
        cross join lateral (
          select count(*) filter (where r.status = 'started') as pending,
            count(*) filter (where r.status = 'completed') as completed
          from pgflow.runs r where r.join_id = j.join_id) c
        where (j.pending, j.completed) <> (c.pending, c.completed)
    """
    assert family.rows(wrong) == []


class Crowd:
    """Works, spawns, cancels and retries at random in families that everybody shares."""

    def __init__(self, connect: Connect, lanes: list[tuple[str, int]], seed: int) -> None:
        self.hands = Hands(connect(), lanes=lanes)
        self.hands.register()
        self.random = Random(seed)

    def until(self, deadline: float) -> int:
        turns = 0
        while time.monotonic() < deadline:
            self.random.choices([self.work, self.cancel, self.retry, self.begin], [10, 4, 3, 1])[
                0
            ]()
            turns += 1
        return turns

    def work(self) -> None:
        tasks = self.hands.claim(self.random.randint(1, 20))
        self.random.shuffle(tasks)
        self.hands.commit([self.outcome(task) for task in tasks])

    def outcome(self, task: Task) -> Any:
        if task.flow_slug == "kid":
            word = self.random.choice(["completed", "completed", "failed_permanently"])
            return says(task, word, error=None if word == "completed" else "boom")
        if task.step_slug == "b":
            return says(task, "done")
        slugs = ["kid", "middle"] if task.flow_slug == "parent" else ["kid"]
        kids = [child(self.random.choice(slugs)) for _ in range(self.random.randint(1, 4))]
        return says(task, "spawn", step="b", children=kids)

    def cancel(self) -> None:
        if run := self.anyone("started"):
            self.hands.cancel(run)

    def retry(self) -> None:
        if run := self.anyone("cancelled"):
            self.hands.retry(run)

    def anyone(self, status: str) -> UUID | None:
        query = "select run_id from pgflow.runs where status = %s order by random() limit 1"
        rows = self.hands.rows(query, status)
        return rows[0][0] if rows else None

    def begin(self) -> None:
        self.hands.start("parent")
