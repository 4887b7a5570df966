"""Two hands at machines, signals, children and slots, in every order that a lock can force."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from stepwell.db.claim import Task
from stepwell.db.commit import Entry
from stepwell.db.maintain import end_orphans, wake_stuck
from stepwell.db.steer import pause_run
from stepwell.errors import NoTarget
from tests.servers import DatabaseServer

from .conftest import Connect
from .hands import Hands
from .invariants import broken
from .kinds import child, id_of, job, machine, says
from .waiting import begin, held_up, transaction, waits_for_none

Pair = tuple[Hands, Hands]
SECONDS = 8.0


@pytest.fixture(scope="session")
def server(any_server: DatabaseServer) -> DatabaseServer:
    return any_server


@pytest.fixture
def pair(hands: Hands, connect: Connect) -> Pair:
    """Two workers of the same machine and the same job, each on a connection of its own."""
    hands.define(machine("order", "place", "ship", maxAttempts=1))
    hands.define(job("mail", maxAttempts=1))
    hands.register()
    two = Hands(connect(), lanes=hands.lanes)
    two.register()
    return hands, two


def running(hands: Hands, key: str | None = "k", **options: Any) -> Task:
    hands.begin("order", {}, key, **options)
    [task] = hands.claim(1)
    return task


def parked(hands: Hands, *names: str, **options: Any) -> Task:
    task = running(hands)
    said = says(task, "await", step="ship", names=list(names or ["paid"]), handed=[], **options)
    hands.commit([said])
    return task


def waits_for(hands: Hands, *children: dict[str, Any], **options: Any) -> UUID:
    task = running(hands, None)
    hands.commit([says(task, "spawn", step="ship", children=list(children), **options)])
    return task.run_id


def awaited(task: Task) -> list[Any]:
    return [each["payload"] for each in json.loads(task.signals or "null")]


# --- park and deliver ---


def test_a_signal_that_waited_for_its_run_to_park_wakes_it(pair: Pair) -> None:
    one, two = pair
    task = running(one)
    with transaction(one.conn):
        one.commit([says(task, "await", step="ship", names=["paid"], handed=[])])
        later = held_up(lambda: two.send("k", "paid", 1), two.conn, one.conn)
    assert later.result(30).queue == "order"
    assert [awaited(task) for task in one.claim()] == [[1]]


def test_a_park_that_waited_for_a_signal_sees_it(pair: Pair) -> None:
    one, two = pair
    task = running(one)
    with transaction(two.conn):
        two.send("k", "paid", 1)
        said = says(task, "await", step="ship", names=["paid"], handed=[])
        later = held_up(lambda: one.commit([said], want=1), one.conn, two.conn)
    assert [awaited(task) for task in later.result(30).tasks] == [[1]]


def test_the_last_two_of_a_set_wake_it_once_whichever_is_last(pair: Pair) -> None:
    one, two = pair
    parked(one, "paid", "packed", all=True)
    with transaction(one.conn):
        one.send("k", "paid")
        later = held_up(lambda: two.send("k", "packed"), two.conn, one.conn)
    assert later.result(30).queue == "order"
    [task] = one.claim()
    assert len(awaited(task)) == 2


def test_a_signal_that_waited_for_the_timeout_is_handed_with_it(pair: Pair) -> None:
    one, two = pair
    parked(one, timeout=60)
    one.at("61 seconds")
    two.at("61 seconds")
    with transaction(one.conn):
        assert one.promote().promoted == 1
        later = held_up(lambda: two.send("k", "paid", 1), two.conn, one.conn)
    later.result(30)
    assert [awaited(task) for task in one.claim()] == [[1]]


def test_a_timeout_passes_over_what_a_signal_is_waking(pair: Pair) -> None:
    one, two = pair
    parked(one, timeout=60)
    one.at("61 seconds")
    two.at("61 seconds")
    with transaction(one.conn):
        one.send("k", "paid", 1)
        assert waits_for_none(two.promote, two.conn).promoted == 0
    assert [awaited(task) for task in two.claim()] == [[1]]
    assert two.promote().promoted == 0


# --- ends ---


@pytest.mark.parametrize("word", ["done", "stop", "failed"])
def test_a_signal_that_waited_for_the_end_of_its_run_has_no_target(pair: Pair, word: str) -> None:
    one, two = pair
    task = running(one)
    with transaction(one.conn):
        one.commit([says(task, word, error=None if word == "done" else "boom")])
        by_key = held_up(lambda: two.send("k", "paid"), two.conn, one.conn)
    with pytest.raises(NoTarget):
        by_key.result(30)
    with pytest.raises(NoTarget):
        two.send(task.run_id, "paid")
    assert one.rows("select * from pgflow.signals") == []


def test_an_end_that_waited_for_a_signal_ends_with_it_in_the_inbox(pair: Pair) -> None:
    one, two = pair
    task = running(one)
    with transaction(two.conn):
        sent = two.send("k", "paid")
        later = held_up(lambda: one.commit([says(task, "done")]), one.conn, two.conn)
    assert (sent.created, later.result(30).stale) == (True, frozenset())
    assert one.rows("select name, consumed_at from pgflow.signals") == [("paid", None)]


def test_a_signal_whose_key_passed_on_while_it_waited_goes_to_who_has_it_now(pair: Pair) -> None:
    one, two = pair
    task = running(one)
    with transaction(one.conn):
        one.commit([says(task, "done")])
        following = one.begin("order", {}, "k")
        later = held_up(lambda: two.send("k", "paid"), two.conn, one.conn)
    assert later.result(30).run_id == following


def test_a_start_with_a_signal_that_waited_for_an_end_makes_a_run_of_its_own(pair: Pair) -> None:
    one, two = pair
    task = running(one)

    def start_and_send() -> tuple[bool, UUID]:
        with two.conn.transaction():
            [row] = two.started("order", [{}], ["k"])
            return row.created, two.send(row.run_id, "paid").run_id

    with transaction(one.conn):
        one.commit([says(task, "done")])
        later = held_up(start_and_send, two.conn, one.conn)
    created, run = later.result(30)
    assert created and run != task.run_id


def test_an_end_waits_for_a_start_with_a_signal_that_found_its_run(pair: Pair) -> None:
    """What was sent to a live run is in its inbox, also when it ends right after."""
    one, two = pair
    task = running(one)
    with transaction(two.conn):
        [row] = two.started("order", [{}], ["k"])
        assert not row.created
        two.send(row.run_id, "paid")
        later = held_up(lambda: one.commit([says(task, "done")]), one.conn, two.conn)
    assert later.result(30).stale == frozenset()
    assert one.value("select count(*) from pgflow.signals") == 1


@pytest.mark.parametrize("word", ["next", "await", "spawn", "done", "retry"])
def test_an_outcome_that_waited_for_a_cancel_is_dropped(pair: Pair, word: str) -> None:
    one, two = pair
    task = running(one, concurrency="key/k")
    said = says(task, word, step="ship", names=["x"], children=[child("mail")], delay=9)
    with transaction(two.conn):
        assert two.cancel(task.run_id)
        later = held_up(lambda: one.commit([said], want=1), one.conn, two.conn)
    assert later.result(30).stale == {task.message_id}
    assert one.rows("select status, state from pgflow.runs") == [("cancelled", {})]
    assert one.slots() == []


@pytest.mark.parametrize("word", ["next", "await", "spawn", "retry"])
def test_a_cancel_that_waited_for_an_outcome_ends_what_it_began(pair: Pair, word: str) -> None:
    one, two = pair
    task = running(one)
    kids = [child("mail") for _ in range(3)]
    said = says(task, word, step="ship", names=["x"], children=kids, delay=9)
    with transaction(one.conn):
        one.commit([said], want=1)
        later = held_up(lambda: two.cancel(task.run_id), two.conn, one.conn)
    assert later.result(30)
    assert one.rows("select distinct status from pgflow.runs") == [("cancelled",)]
    assert one.claim() == []


def test_a_cancel_that_waited_for_the_end_comes_too_late(pair: Pair) -> None:
    one, two = pair
    task = running(one)
    with transaction(one.conn):
        one.commit([says(task, "done")])
        later = held_up(lambda: two.cancel(task.run_id), two.conn, one.conn)
    assert not later.result(30)
    assert one.status(task.run_id) == "completed"


# --- joins ---


def test_two_children_that_end_at_once_take_turns_and_the_second_wakes(pair: Pair) -> None:
    one, two = pair
    kids = [child("mail"), child("mail")]
    parent = waits_for(one, *kids)
    [first], [second] = one.claim(1), two.claim(1)
    with transaction(one.conn):
        one.complete([first])
        later = held_up(lambda: two.complete([second], want=1), two.conn, one.conn)
    assert [task.run_id for task in later.result(30).tasks] == [parent]
    assert one.rows("select pending, completed from pgflow.joins") == [(0, 2)]


def test_the_last_child_passes_over_nothing_when_the_deadline_is_faster(pair: Pair) -> None:
    one, two = pair
    parent = waits_for(one, child("mail"), deadline=60)
    [kid] = one.claim()
    for hands in pair:
        hands.at("61 seconds")
    with transaction(two.conn):
        assert two.promote().promoted == 1
        later = held_up(lambda: one.complete([kid]), one.conn, two.conn)
    later.result(30)
    [task] = one.claim()
    assert (task.run_id, json.loads(task.children or "")["pending"]) == (parent, 0)
    one.commit([says(task, "done")])
    assert one.claim() == []


def test_a_deadline_passes_over_what_the_last_child_is_waking(pair: Pair) -> None:
    one, two = pair
    parent = waits_for(one, child("mail"), deadline=60)
    [kid] = one.claim()
    for hands in pair:
        hands.at("61 seconds")
    with transaction(one.conn):
        one.complete([kid])
        assert waits_for_none(two.promote, two.conn).promoted == 0
    assert two.promote().promoted == 0
    assert [task.run_id for task in two.claim()] == [parent]


def test_a_child_that_ends_while_its_parent_is_cancelled_is_counted_or_dropped(
    pair: Pair,
) -> None:
    one, two = pair
    goes, stays = child("mail"), child("mail", on_parent_end="keep")
    parent = waits_for(one, goes, stays)
    tasks = {task.run_id: task for task in one.claim()}
    with transaction(two.conn):
        two.cancel(parent)
        both = [tasks[id_of(goes)], tasks[id_of(stays)]]
        later = held_up(lambda: one.complete(both), one.conn, two.conn)
    assert later.result(30).stale == {tasks[id_of(goes)].message_id}
    assert one.rows("select pending, completed, failed from pgflow.joins") == [(0, 1, 1)]


def test_a_parent_that_was_held_holds_up_its_child_before_that_holds_anything(
    pair: Pair, connect: Connect
) -> None:
    """Also a parent that has ended: a cancel of the child wants both in the same order."""
    one, two = pair
    bystander = connect()
    kid = child("mail")
    parent = waits_for(one, kid, deadline=0.001)
    [task] = one.claim()
    one.at("1 second")
    one.promote()
    one.commit([says(one.claim()[0], "done")])
    assert one.status(parent) == "completed"
    with transaction(two.conn):
        two.conn.execute("select from pgflow.runs where run_id = %s for no key update", (parent,))
        later = held_up(lambda: one.complete([task]), one.conn, two.conn)
        query = "select from pgflow.runs where run_id = %s and run_id > %s for update nowait"
        bystander.execute(query, (id_of(kid), parent))
    assert later.result(30).stale == frozenset()


def test_the_end_of_orphans_and_an_end_of_their_own_do_not_wait_in_a_circle(pair: Pair) -> None:
    one, two = pair
    kid = child("mail")
    waits_for(one, kid, deadline=0.001)
    [task] = one.claim()
    one.at("1 second")
    one.promote()
    one.commit([says(one.claim()[0], "done")])
    with transaction(two.conn):
        assert end_orphans().on_sync(two.conn)[0].cancelled == 1
        later = held_up(lambda: one.complete([task]), one.conn, two.conn)
    assert later.result(30).stale == {task.message_id}
    assert one.status(id_of(kid)) == "cancelled"


# --- slots ---


def mails(hands: Hands, count: int, gate: str = "key/k") -> list[UUID]:
    inputs: list[Any] = [{}] * count
    return [row.run_id for row in hands.started("mail", inputs, concurrency=gate)]


def test_of_two_claims_of_one_key_one_gets_it_and_the_other_looks_on(pair: Pair) -> None:
    one, two = pair
    ids = mails(one, 2)
    with transaction(one.conn):
        [first] = one.claim()
        assert (first.run_id, one.stage(ids[1])) == (ids[0], "blocked")
        assert waits_for_none(two.claim, two.conn) == []
    assert two.claim() == []
    [second] = one.complete([first], want=1).tasks
    assert second.run_id == ids[1]


def test_of_two_claims_that_race_for_a_key_in_different_lanes_one_gets_it(pair: Pair) -> None:
    """Neither sees the other's slot before it is committed: the second waits, and is told no."""
    one, two = pair
    mails(one, 1)
    one.begin("order", concurrency="key/k")
    a = Hands(one.conn, id=one.id, lanes=[lane for lane in one.lanes if lane[0] == "mail"])
    b = Hands(two.conn, id=two.id, lanes=[lane for lane in one.lanes if lane[0] == "order"])
    with transaction(one.conn):
        [first] = a.claim()
        later = held_up(lambda: b.commit([], want=5), two.conn, one.conn)
    assert later.result(30).tasks == ()
    turn = a.complete([first])
    following = b.claim()
    assert len(following) == 1 and "order" in (*turn.ready, *later.result().ready, "order")
    b.commit([says(following[0], "done")])


def test_a_claim_that_blocks_holds_up_who_frees_the_slot_until_it_can_be_seen(pair: Pair) -> None:
    one, two = pair
    ids = mails(one, 1)
    [task] = one.claim()
    ids += mails(one, 1)
    with transaction(two.conn):
        assert two.claim() == []
        assert two.stage(ids[1]) == "blocked"
        later = held_up(lambda: one.complete([task], want=1), one.conn, two.conn)
    assert [task.run_id for task in later.result(30).tasks] == [ids[1]]


def test_who_is_locked_when_its_slot_is_freed_is_woken_by_a_later_turn(pair: Pair) -> None:
    """As a claim leaves it that met the task when it was ready, and found it blocked when it had
    the lock: it goes on without the task, and keeps the lock."""
    one, two = pair
    one.stop_clock()  # what is owed counts for a second
    ids = mails(one, 1)
    [held] = one.claim()
    ids += mails(one, 1)
    meet = (
        "select message_id from pgflow.step_tasks"
        " where stage = 'ready' and pg_advisory_xact_lock(1) is not null for update skip locked"
    )
    with transaction(two.conn):
        with transaction(one.conn):
            one.conn.execute("select pg_advisory_xact_lock(1)")
            claim = held_up(lambda: two.rows(meet), two.conn, one.conn)
            with psycopg.connect(one.conn.info.dsn, autocommit=True) as third:
                assert Hands(third, lanes=one.lanes).claim() == []  # which blocks it
        assert claim.result(30) == []
        turn = one.complete([held], want=1)
        assert (turn.tasks, turn.contended) == ((), True)
        assert one.stage(ids[1]) == "blocked"
        assert broken(one.conn) == []  # owed
        assert one.commit([], want=1).contended
        one.at("2 seconds")
        assert not one.commit([], want=1).contended
    turn = one.commit([], want=1)
    assert [task.run_id for task in turn.tasks] == [ids[1]]
    assert not one.commit([], want=1).contended
    assert one.rows("select from pgflow.owed_wakes") == []


def test_a_claim_does_not_block_on_a_slot_that_is_being_freed(pair: Pair) -> None:
    """It would not be woken: it stays ready, and the claim says to look again."""
    one, two = pair
    ids = mails(one, 1)
    [task] = one.claim()
    ids += mails(one, 1)
    with transaction(one.conn):
        one.complete([task])
        turn = waits_for_none(lambda: two.commit([], want=1), two.conn)
        assert (turn.tasks, turn.contended) == ((), True)
    assert two.stage(ids[1]) == "ready"
    assert [task.run_id for task in two.claim()] == [ids[1]]


def test_two_that_free_slots_of_one_gate_wake_two(pair: Pair) -> None:
    one, two = pair
    one.limit("concurrency", "reports", 2)
    mails(one, 6, "limit/reports/")
    [first, second] = one.claim()
    with transaction(one.conn):
        one.complete([first])
        two.complete([second])
    assert len(two.claim()) == 2
    assert len(two.slots()) == 2


def test_a_cancelled_task_that_was_next_leaves_its_turn_to_the_one_behind(pair: Pair) -> None:
    one, two = pair
    ids = mails(one, 3)
    [task] = one.claim()
    with transaction(two.conn):
        two.cancel(ids[1])
        turn = waits_for_none(lambda: one.complete([task], want=1), one.conn)
    tasks = turn.tasks or tuple(one.claim())
    assert [task.run_id for task in tasks] == [ids[2]]


@pytest.mark.parametrize("how", ["cancel", "pause"])
def test_who_is_taken_away_while_a_wake_up_is_on_its_way_passes_it_on(pair: Pair, how: str) -> None:
    one, two = pair
    ids = mails(one, 3)
    [task] = one.claim()

    def take_away() -> Any:
        return two.cancel(ids[1]) if how == "cancel" else pause_run(ids[1]).on_sync(two.conn)

    with transaction(one.conn):
        one.complete([task])  # which wakes the next
        later = held_up(take_away, two.conn, one.conn)
    later.result(30)
    assert [task.run_id for task in one.claim()] == [ids[2]]


# --- all of it at once ---


@pytest.mark.timeout(180)
@pytest.mark.parametrize("seed", [1, 2])
def test_a_crowd_never_deadlocks_and_leaves_every_rule_kept(
    pair: Pair, connect: Connect, seed: int
) -> None:
    """Children end in two workers while their parents are cancelled, signalled and limited."""
    one, _ = pair
    one.define(machine("family", "begin", "join", "ship", maxAttempts=1))
    one.limit("concurrency", "few", 3)
    one.limit("rate", "slow", 5, 50.0)
    one.limit("queue", "mail", 12)
    crowd = [Member(Hands(connect(), lanes=one.lanes), Random(seed * 10 + n)) for n in range(4)]
    until = time.monotonic() + SECONDS
    for future in [begin(lambda member=member: member.live(until)) for member in crowd]:
        future.result(120)
    assert sum(member.turns for member in crowd) > 50
    for member in crowd:
        member.hands.leave()
        member.hands.commit([says(task, "released") for task in member.held])
    one.reclaim()
    assert broken(one.conn) == []
    finish(one)
    assert broken(one.conn) == []
    assert (
        one.rows("select status, count(*) from pgflow.runs where status = 'started' group by 1")
        == []
    )
    assert one.slots() == []


def finish(hands: Hands) -> None:
    """Everything that is left is led to its end; a rate may make it wait for its turn."""
    over = time.monotonic() + 30
    while time.monotonic() < over:
        while end_orphans().on_sync(hands.conn)[0].cancelled:
            pass
        hands.promote()
        waiting = hands.rows(
            "select run_id from pgflow.step_tasks where stage in ('parked', 'delayed') and waiting"
            " and awaits is not null"
        )
        for (run,) in waiting:
            hands.send(run, "go")
        wake_stuck("").on_sync(hands.conn)
        tasks = hands.claim()
        hands.commit(
            [says(task, "done" if task.kind == "machine" else "completed") for task in tasks]
        )
        if not hands.value("select count(*) from pgflow.runs where status = 'started'"):
            return
        if not tasks:
            time.sleep(0.02)


def ends(task: Task) -> Entry:
    return says(task, "done" if task.kind == "machine" else "completed")


class Member:
    """One worker and client of the crowd."""

    def __init__(self, hands: Hands, random: Random) -> None:
        self.hands = hands
        self.random = random
        self.held: list[Task] = []
        self.turns = 0
        hands.register()

    def live(self, until: float) -> None:
        while time.monotonic() < until:
            acts: list[Callable[[], Any]] = [self.work, self.begin, self.cancel, self.signal]
            act = self.random.choices([*acts, self.sweep], [12, 3, 2, 3, 2])[0]
            with suppress(NoTarget, psycopg.errors.LockNotAvailable):  # a worker tries again
                act()
            self.turns += 1

    def work(self) -> None:
        if len(self.held) < 20:
            self.held += self.hands.claim(self.random.randint(1, 30))
        self.random.shuffle(self.held)
        count = self.random.randint(0, len(self.held))
        batch, rest = self.held[:count], self.held[count:]
        turn = self.hands.commit([self.said(task) for task in batch], self.random.choice([0, 5]))
        self.held = rest + list(turn.tasks)

    def said(self, task: Task) -> Entry:
        if task.kind == "job":
            word = self.random.choice(["completed", "completed", "failed", "cancelled"])
            return says(task, word, error=None if word == "completed" else "boom")
        word = self.random.choice(["spawn", "await", "next", "done", "stop"])
        if task.step_slug == "ship":
            word = self.random.choice(["done", "next", "stop"])
        more: dict[str, Any] = {
            "spawn": {"children": self.children(), "policy": self.random.choice(["wait", "wake"])},
            "await": {"names": ["go"], "timeout": self.random.choice([0.05, 1])},
            "next": {"concurrency": self.random.choice([None, "key/a", "limit/few/"])},
            "stop": {"error": "enough"},
        }.get(word, {})
        handed = [each["id"] for each in json.loads(task.signals or "[]")]
        target = "ship" if task.flow_slug == "order" else self.random.choice(["join", "ship"])
        return says(task, word, step=target, handed=handed, **more)

    def children(self) -> list[dict[str, Any]]:
        gates = [None, "key/a", "key/b", "limit/few/"]
        return [
            child(
                self.random.choice(["mail", "mail", "order"]),
                concurrency=self.random.choice(gates),
                rate=self.random.choice([None, None, "slow/"]),
                on_parent_end=self.random.choice(["cancel", "keep"]),
            )
            for _ in range(self.random.randint(0, 4))
        ]

    def begin(self) -> None:
        for _ in range(3):
            key = self.random.choice([None, f"k{self.random.randint(1, 20)}"])
            slug = "family" if key is None else "order"
            gate = self.random.choice([None, "key/a", f"key/{self.random.randint(1, 3)}"])
            self.hands.started(slug, [{}], [key], concurrency=gate)

    def recent(self) -> UUID:
        query = "select run_id from pgflow.runs order by started_at desc limit 40"
        return self.random.choice([run for (run,) in self.hands.rows(query)] or [uuid4()])

    def cancel(self) -> None:
        if self.hands.rows("select from pgflow.runs limit 1"):
            self.hands.cancel(self.recent())

    def signal(self) -> None:
        self.hands.send(self.recent(), "go", 1, self.random.choice([None, "d"]))

    def sweep(self) -> None:
        self.hands.promote()
        self.hands.beat()
        self.hands.reclaim()
        end_orphans().on_sync(self.hands.conn)
        wake_stuck("").on_sync(self.hands.conn)
