"""Many hands at once, in no order: nobody dies of a deadlock, and every row adds up."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from random import Random
from typing import Any
from uuid import UUID, uuid4

import pytest

from stepwell.db.claim import Task
from stepwell.errors import Conflict

from .conftest import Connect
from .hands import Hands, completed, failed
from .shapes import flow, single, spread, step
from .waiting import begin

SECONDS = 5.0
HANDS = 4
DIAMOND = flow(
    "diamond",
    step("a"),
    step("b", "a", exhausted="skip"),
    step("c", "a", exhausted="skip-cascade", maxAttempts=1),
    step("d", "b", "c"),
)
SHAPES = [single("one"), spread("spread", maxCrashes=1), DIAMOND]


def all_of(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    return [future.result(60) for future in [begin(call) for call in calls]]


def test_ten_deploys_of_one_shape_make_one_version(hands: Hands, connect: Connect) -> None:
    others = [Hands(connect()) for _ in range(10)]
    versions = all_of([lambda each=each: each.define(spread("flow")) for each in others])
    assert len(set(versions)) == 1
    assert hands.rows("select count(*) from pgflow.versions") == [(1,)]
    assert hands.rows("select count(*) from pgflow.steps") == [(3,)]


def test_ten_deploys_of_ten_shapes_make_ten_versions_in_a_row(
    hands: Hands, connect: Connect
) -> None:
    others = [Hands(connect()) for _ in range(10)]
    shapes = [flow("flow", *(step(f"s{n}") for n in range(size + 1))) for size in range(10)]
    calls = [partial(each.define, shape) for each, shape in zip(others, shapes, strict=True)]
    assert len(set(all_of(calls))) == 10
    numbers = hands.rows("select version from pgflow.versions order by version")
    assert [number for (number,) in numbers] == list(range(1, 11))


def test_ten_clients_with_one_key_start_one_run(hands: Hands, connect: Connect) -> None:
    hands.define(single("flow"))
    clients = [Hands(connect()) for _ in range(10)]
    rows = all_of([lambda each=each: each.started("flow", [1], ["k"])[0] for each in clients])
    assert sum(row.created for row in rows) == 1
    assert len({row.run_id for row in rows}) == 1
    assert hands.drain() == 1


def test_workers_share_a_queue_without_a_task_lost_or_run_twice(
    hands: Hands, connect: Connect
) -> None:
    hands.define(spread("flow"))
    hands.start("flow", *range(100))
    workers = [Hands(connect(), lanes=hands.lanes) for _ in range(HANDS)]
    done = all_of([lambda each=each: each.drain([1, 2, 3]) for each in workers])
    done.append(hands.drain([1, 2, 3]))  # what became ready after the last of them looked
    assert sum(done) == 500
    assert hands.rows("select distinct status, attempts_count from pgflow.step_tasks") == [
        ("completed", 1)
    ]


@pytest.mark.timeout(120)
def test_batches_over_shared_runs_with_cancels_and_retries_never_deadlock(
    hands: Hands, connect: Connect
) -> None:
    for shape in SHAPES:
        hands.define(shape)
    runs = [run for shape in SHAPES for run in hands.start(shape["slug"], *range(10))]
    crowd = [Chaos(connect, hands.lanes, runs, seed) for seed in range(HANDS)]
    deadline = time.monotonic() + SECONDS
    turns = all_of([lambda each=each: each.until(deadline) for each in crowd])
    print("turns:", turns, hands.rows("select status, count(*) from pgflow.runs group by 1"))
    assert min(turns) > 10

    finish(hands, runs)
    ended = hands.rows("select status from pgflow.runs")
    assert {status for (status,) in ended} <= {"completed", "failed", "cancelled"}


def finish(hands: Hands, runs: list[UUID]) -> None:
    """What the crowd left in hand comes back, and every run goes on to its end."""
    hands.conn.execute("update pgflow.flows set opt_max_crashes = 1000")
    for day in range(1, 100):  # what lost several workers waits for its time to come
        hands.at(f"{day} days")
        moved = hands.reclaim().requeued, hands.promote().promoted, hands.drain([1])
        if not any(moved):
            break
    hands.conn.execute("reset pgflow.now")


class Chaos:
    """One worker and client at random, with batches in random order over runs that all share."""

    def __init__(
        self, connect: Connect, lanes: list[tuple[str, int]], runs: list[UUID], seed: int
    ) -> None:
        self.hands = Hands(connect(), lanes=lanes)
        self.hands.register()
        self.runs = runs
        self.random = Random(seed)
        self.held: list[Task] = []

    def until(self, deadline: float) -> int:
        turns = 0
        while time.monotonic() < deadline:
            self.random.choices(
                [
                    self.work,
                    self.cancel,
                    self.retry,
                    self.begin,
                    self.sweep,
                    self.give_back,
                    self.die,
                ],
                [20, 3, 2, 4, 1, 1, 1],
            )[0]()
            turns += 1
        return turns

    def work(self) -> None:
        if not self.held:
            self.held = self.hands.claim(self.random.randint(1, 40))
        self.random.shuffle(self.held)
        count = self.random.randint(0, len(self.held))
        batch, self.held = self.held[:count], self.held[count:]
        entries = [
            completed(task, [1, 2, 3])
            if self.random.random() < 0.8
            else failed(task, permanent=self.random.random() < 0.3)
            for task in batch
        ]
        self.held += self.hands.commit(entries, self.random.choice([0, 10])).tasks

    def cancel(self) -> None:
        self.hands.cancel(self.recent())

    def retry(self) -> None:
        with suppress(Conflict):  # its key went on to another run
            self.hands.retry(self.recent())

    def recent(self) -> UUID:
        return self.random.choice(self.runs[-60:])

    def begin(self) -> None:
        keys = [f"key {self.random.randint(1, 100)}" for _ in range(5)] + [None, None]
        self.runs += self.hands.start("diamond", *keys, keys=keys)
        self.runs += self.hands.start("spread", 1, 2)

    def die(self) -> None:
        """Another life; what the last one held goes on as late outcomes."""
        self.hands.lost()
        self.hands.id = uuid4()
        self.hands.register()

    def sweep(self) -> None:
        self.hands.promote()
        self.hands.reclaim()
        self.hands.beat()
        self.hands.define(self.random.choice(SHAPES))

    def give_back(self) -> None:
        self.random.shuffle(self.held)
        self.hands.release(self.held)
        self.held = []
