"""A crowd of hands at machines, children, signals and slots, in any order."""

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
from stepwell.errors import NoTarget

from .conftest import Connect
from .hands import Hands
from .invariants import broken
from .kinds import child, machine, says
from .pairs import Pair
from .pairs import pair as pair
from .pairs import server as server
from .waiting import begin

SECONDS = 8.0


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
