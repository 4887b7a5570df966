"""Large outcomes go one at a time, and never in the way of small ones."""

from __future__ import annotations

from typing import Any

import pytest

from stepwell.db.commit import Entry
from stepwell.worker.batches import HEAVIEST, LARGE, MOST, Batches
from stepwell.worker.desk import Desk, Ended

TASK: Any = None


@pytest.fixture
def desk() -> Desk:
    return Desk(10)


def ends(desk: Desk, *sizes: int) -> None:
    for size in sizes:
        desk.ended.append(Ended(TASK, Entry(1, 1, "completed", "x" * size)))


def sizes(batch: list[Ended]) -> list[int]:
    return [len(ended.entry.output or "") for ended in batch]


def test_one_large_outcome_at_a_time_and_the_small_ones_beside_it(desk: Desk) -> None:
    batches = Batches(desk)
    assert not batches.waiting
    ends(desk, LARGE + 1, LARGE + 2, 1, LARGE + 3, 2)
    first = batches.take()
    assert sizes(first) == [LARGE + 1]
    assert batches.holds_large(first)
    assert batches.waiting
    small = batches.take()
    assert sizes(small) == [1, 2]
    assert not batches.holds_large(small)
    assert not batches.waiting  # the rest is large
    assert batches.take() == []
    batches.done(small)
    assert not batches.waiting
    desk.changed.clear()
    batches.done(first)
    assert desk.changed.is_set()
    assert batches.waiting
    assert sizes(batches.take()) == [LARGE + 2]


def test_small_ones_that_came_before_go_before(desk: Desk) -> None:
    batches = Batches(desk)
    ends(desk, 1, LARGE + 1, 2)
    assert sizes(batches.take()) == [1, 2]
    assert sizes(batches.take()) == [LARGE + 1]


def test_a_batch_has_its_weight_and_its_number(desk: Desk) -> None:
    batches = Batches(desk)
    ends(desk, *[LARGE] * (HEAVIEST // LARGE + 1))
    assert sizes(batches.take()) == [LARGE] * (HEAVIEST // LARGE)
    assert sizes(batches.take()) == [LARGE]
    ends(desk, *[0] * (MOST + 1))
    assert len(batches.take()) == MOST
    assert len(batches.take()) == 1
