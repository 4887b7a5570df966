"""Joins: a parent goes on exactly when its children have done what it waits for, and once."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import psycopg
import pytest

from stepwell.db.children import children_of, joined_by
from stepwell.db.maintain import end_orphans

from .hands import Hands
from .kinds import child, id_of, job, machine, says
from .shapes import chain, flow, single, step


@pytest.fixture
def family(hands: Hands) -> Hands:
    hands.define(machine("parent", "begin", "join", priority=-1))
    hands.define(job("mail", maxAttempts=1))
    hands.define(machine("order", "place"))
    hands.define(single("article"))
    hands.register()
    return hands


def spawned(hands: Hands, *children: dict[str, Any], **options: Any) -> UUID:
    """A parent that waits for these children."""
    run = hands.begin("parent")
    [task] = hands.claim(1)
    said = says(task, "spawn", step="join", children=list(children), **options)
    assert hands.commit([said]).stale == frozenset()
    return run


def mails(count: int, **options: Any) -> list[dict[str, Any]]:
    return [child("mail", {"n": n}, **options) for n in range(count)]


def end(hands: Hands, *children: dict[str, Any], word: str = "completed") -> None:
    """These jobs end, each in a commit of its own."""
    held = {task.run_id: task for task in hands.claim()}
    for each in children:
        task = held.pop(id_of(each))
        hands.commit([says(task, word, error=None if word == "completed" else "boom")])
    hands.release(list(held.values()))


def joined(hands: Hands) -> dict[str, Any] | None:
    """What the parent is told of its children; None while it waits."""
    tasks = hands.claim()
    parents = [task for task in tasks if task.flow_slug == "parent"]
    hands.release(tasks)
    if not parents:
        return None
    [parent] = parents
    assert parent.step_slug == "join"
    return json.loads(parent.children or "null")


def counts(pending: int, completed: int, failed: int, policy: str = "wait") -> dict[str, Any]:
    total = pending + completed + failed
    told = {"total": total, "pending": pending, "completed": completed, "failed": failed}
    return told | {"policy": policy}


def test_children_of_every_kind_are_joined(family: Hands) -> None:
    kids = [child("mail"), child("order"), child("article"), child("parent", step="join")]
    run = spawned(family, *kids)
    by_slug = {task.flow_slug: task for task in family.claim()}
    family.complete([by_slug["mail"]], 1)
    family.commit([says(by_slug["order"], "done", result=2)])
    family.complete([by_slug["article"]], 3)
    assert family.claim() == []
    family.commit([says(by_slug["parent"], "done", result=4)])
    assert joined(family) == counts(0, 4, 0)
    rows = children_of(run, 10).on_sync(family.conn)
    results = {row.flow_slug: json.loads(row.output or "null") for row in rows}
    assert results == {"mail": 1, "order": 2, "article": {"s0": 3}, "parent": 4}
    [message_id] = family.rows("select message_id from pgflow.step_tasks where run_id = %s", run)[0]
    ordered = joined_by(message_id, 10).on_sync(family.conn)
    assert {row.run_id for row in ordered} == {id_of(kid) for kid in kids}


def test_no_children_are_all_there(family: Hands) -> None:
    run = spawned(family)
    assert (family.stage(run), joined(family)) == ("ready", counts(0, 0, 0))


@pytest.mark.parametrize("quorum", [1, 5])
def test_a_quorum_of_nothing_is_there_too(family: Hands, quorum: int) -> None:
    spawned(family, quorum=quorum)
    assert joined(family) == counts(0, 0, 0)


def test_a_child_that_ends_at_its_start_is_counted(family: Hands) -> None:
    """A flow whose map has nothing to do."""
    family.define(flow("lists", step("each", map=True)))
    spawned(family, child("lists") | {"input": []})
    assert joined(family) == counts(0, 1, 0)


def test_some_that_end_at_their_start_and_some_that_do_not(family: Hands) -> None:
    family.define(flow("lists", step("each", map=True)))
    [kid] = mails(1)
    spawned(family, child("lists") | {"input": []}, kid)
    assert joined(family) is None
    end(family, kid)
    assert joined(family) == counts(0, 2, 0)


def test_a_failed_child_is_waited_for_like_any(family: Hands) -> None:
    kids = mails(3)
    spawned(family, *kids)
    end(family, kids[0], word="failed")
    assert joined(family) is None
    end(family, *kids[1:])
    assert joined(family) == counts(0, 2, 1)


@pytest.mark.parametrize("policy", ["wake", "fail"])
def test_a_failed_child_wakes_at_once_where_the_policy_says_so(family: Hands, policy: str) -> None:
    kids = mails(3)
    spawned(family, *kids, policy=policy)
    end(family, kids[0])
    assert joined(family) is None
    end(family, kids[1], word="failed_permanently")
    assert joined(family) == counts(1, 1, 1, policy)
    end(family, kids[2])
    assert joined(family) == counts(0, 2, 1, policy)


def test_a_quorum_goes_on_without_the_rest(family: Hands) -> None:
    kids = mails(4)
    spawned(family, *kids, quorum=2)
    end(family, kids[3])
    assert joined(family) is None
    end(family, kids[1])
    assert joined(family) == counts(2, 2, 0)


def test_a_quorum_that_cannot_be_reached_any_more_goes_on(family: Hands) -> None:
    kids = mails(4)
    spawned(family, *kids, quorum=3)
    end(family, kids[0], word="failed")
    assert joined(family) is None
    end(family, kids[1], word="failed")
    assert joined(family) == counts(2, 0, 2)


def test_a_quorum_above_all_is_all(family: Hands) -> None:
    kids = mails(2)
    spawned(family, *kids, quorum=9)
    end(family, kids[0])
    assert joined(family) is None
    end(family, kids[1])
    assert joined(family) == counts(0, 2, 0)


def test_children_of_one_batch_are_counted_one_by_one(family: Hands) -> None:
    spawned(family, *mails(50))
    tasks = family.claim()
    assert len(tasks) == 50
    turn = family.commit([says(task, "completed") for task in tasks], want=5)
    assert [task.flow_slug for task in turn.tasks] == ["parent"]
    assert json.loads(turn.tasks[0].children or "") == counts(0, 50, 0)


def test_a_child_that_is_tried_again_is_counted_once(family: Hands) -> None:
    family.define(job("mail", maxAttempts=3))
    spawned(family, *mails(1))
    for _ in range(2):
        family.fail(family.claim())
        assert joined(family) is None
    family.fail(family.claim())
    assert joined(family) == counts(0, 0, 1)


def test_a_cancelled_child_is_a_failed_one(family: Hands) -> None:
    kids = mails(2)
    spawned(family, *kids)
    family.cancel(id_of(kids[0]))
    end(family, kids[1])
    assert joined(family) == counts(0, 1, 1)


def test_past_the_deadline_it_goes_on_and_a_late_child_is_still_counted(family: Hands) -> None:
    family.stop_clock()
    kids = mails(2)
    run = spawned(family, *kids, deadline=60)
    held = family.claim()
    family.complete(held[:1])
    family.at("59 seconds")
    assert family.promote().promoted == 0
    family.at("61 seconds")
    assert family.promote().queues == ["parent"]
    [parent] = family.claim()
    assert json.loads(parent.children or "") == counts(1, 1, 0)
    family.complete(held[1:])
    assert family.rows("select pending, completed from pgflow.joins") == [(0, 2)]
    assert family.claim() == []  # it goes on once
    [parent] = family.commit([says(parent, "next", step="join")], want=1).tasks
    assert parent.children is None
    family.commit([says(parent, "done")])
    assert family.status(run) == "completed"


def test_all_children_before_the_deadline_leave_no_timer(family: Hands) -> None:
    kids = mails(1)
    spawned(family, *kids, deadline=60)
    end(family, *kids)
    assert family.promote().next_due is None
    assert joined(family) == counts(0, 1, 0)


def test_a_child_whose_key_is_taken_is_refused_with_its_siblings(family: Hands) -> None:
    """A join that silently had fewer children would be a lie."""
    theirs = family.begin("mail", {}, "taken")
    with pytest.raises(psycopg.ProgrammingError, match="a child cannot have the key 'taken'"):
        spawned(family, child("mail", key="taken"), child("mail", key="free"))
    assert family.status(theirs) == "started"
    assert family.value("select count(*) from pgflow.runs where parent_run_id is not null") == 0


def test_a_parent_that_spawns_again_waits_for_the_new_ones(family: Hands) -> None:
    old, new = mails(1), mails(1)
    spawned(family, *old, deadline=60)
    late = family.claim()
    family.at("61 seconds")
    family.promote()
    [parent] = family.claim()
    family.commit([says(parent, "spawn", step="join", children=new)])
    family.complete(late)
    assert joined(family) is None
    end(family, *new)
    assert joined(family) == counts(0, 1, 0)


@pytest.mark.parametrize("wrong", [{"slug": "nobody"}, {"concurrency": "limit/none/"}])
def test_a_child_that_cannot_start_leaves_its_parent_as_it_was(
    family: Hands, wrong: dict[str, Any]
) -> None:
    """The whole outcome is refused: a worker writes a failure in its place."""
    family.begin("parent")
    [task] = family.claim()
    kids = [*mails(2), child("mail") | wrong]
    with pytest.raises(psycopg.Error, match=r"nobody|none"):
        family.commit([says(task, "spawn", step="join", children=kids)])
    assert family.rows("select count(*) from pgflow.runs") == [(1,)]
    assert family.commit([says(task, "done")]).stale == frozenset()


# --- flows ---


def test_a_step_of_a_flow_waits_for_its_children(family: Hands) -> None:
    family.define(chain("flow", 2))
    [run] = family.start("flow")
    kids = mails(2)
    [task] = family.claim()
    family.commit([says(task, "spawn", children=kids)])
    assert family.steps(run) == {"s0": "started", "s1": "created"}
    family.complete(family.claim(), 1)
    [task] = family.claim()
    assert (task.step_slug, task.attempt) == ("s0", 1)
    assert json.loads(task.children or "") == counts(0, 2, 0)
    family.complete([task])
    family.drain()
    assert family.status(run) == "completed"


def test_each_element_of_a_map_waits_for_its_own(family: Hands) -> None:
    family.define(flow("flow", step("each", map=True)))
    [run] = family.start("flow", [1, 2, 3])
    family.commit([says(task, "spawn", children=mails(task.task_index)) for task in family.claim()])
    tasks = family.claim()
    told = [json.loads(task.children) for task in tasks if task.children]
    assert told == [counts(0, 0, 0)]
    family.complete(tasks)
    tasks = family.claim()
    told = {task.task_index: json.loads(task.children or "") for task in tasks}
    assert told == {1: counts(0, 1, 0), 2: counts(0, 2, 0)}
    family.complete(tasks)
    assert family.status(run) == "completed"


# --- a parent that ends first ---


def test_children_that_are_to_end_with_their_parent_are_cancelled_by_a_sweep(
    family: Hands,
) -> None:
    goes, stays = child("mail"), child("mail", on_parent_end="keep")
    run = spawned(family, goes, stays, quorum=1, deadline=60)
    family.at("61 seconds")
    family.promote()
    [parent] = family.claim(1)
    family.commit([says(parent, "done")])
    assert family.status(run) == "completed"
    assert family.rows("select * from pgflow.orphans") == [(run,)]
    assert end_orphans().on_sync(family.conn)[0].cancelled == 1
    assert [family.status(id_of(each)) for each in (goes, stays)] == ["cancelled", "started"]
    assert family.rows("select * from pgflow.orphans") == []
    assert end_orphans().on_sync(family.conn)[0].cancelled == 0


def test_a_parent_that_comes_back_before_the_sweep_keeps_its_children(family: Hands) -> None:
    [goes] = mails(1)
    run = spawned(family, goes, deadline=60)
    family.at("61 seconds")
    family.promote()
    [parent] = family.claim(1)
    family.commit([says(parent, "stop", error="boom")])
    assert family.rows("select * from pgflow.orphans") == [(run,)]
    assert family.retry(run)
    assert family.rows("select * from pgflow.orphans") == []
    assert end_orphans().on_sync(family.conn)[0].cancelled == 0
    assert family.status(id_of(goes)) == "started"


def test_children_of_a_cancelled_parent_end_with_it(family: Hands) -> None:
    goes, stays = child("mail"), child("mail", on_parent_end="keep")
    run = spawned(family, goes, stays)
    assert family.cancel(run)
    assert [family.status(id_of(each)) for each in (goes, stays)] == ["cancelled", "started"]


@pytest.mark.parametrize("policy", ["wake", "fail"])
def test_a_parent_that_comes_back_does_not_wait_for_what_is_over(
    family: Hands, policy: str
) -> None:
    """One child failed, which is enough; another that had failed too is tried again."""
    both = mails(2, on_parent_end="keep")
    run = spawned(family, *both, policy=policy)
    family.cancel(run)
    end(family, *both, word="failed")
    assert family.retry(id_of(both[0]))
    assert family.retry(run)
    assert joined(family) == counts(1, 0, 1, policy)


def test_a_child_that_outlives_its_parent_ends_for_itself(family: Hands) -> None:
    [stays] = mails(1, on_parent_end="keep")
    run = spawned(family, stays)
    family.cancel(run)
    end(family, stays)
    assert family.status(id_of(stays)) == "completed"
    assert family.rows("select pending, completed from pgflow.joins") == [(0, 1)]
