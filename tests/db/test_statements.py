"""What a call costs is counted in statements: the same for one entry and for five hundred."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from stepwell.db.claim import Task

from .explain import explained
from .hands import Hands
from .shapes import Shape, chain, flow, single, spread, step

pytestmark = pytest.mark.timeout(60)
MANY = 500

Prepare = Callable[[Hands, int], list[Task]]


def of_runs(shape: Shape) -> Prepare:
    """The first tasks of as many runs."""

    def prepare(hands: Hands, count: int) -> list[Task]:
        hands.define(shape)
        hands.start(shape["slug"], *range(count))
        return hands.claim(count)

    return prepare


def of_one_map(hands: Hands, count: int) -> list[Task]:
    """So many elements of a map that has more."""
    hands.define(spread("elements"))
    hands.start("elements", 1)
    hands.complete(hands.claim(), list(range(count + 1)))
    return hands.claim(count)


def of_whole_map(hands: Hands, count: int) -> list[Task]:
    """All elements of a map: the step after it starts."""
    hands.define(spread("elements"))
    hands.start("elements", 1)
    hands.complete(hands.claim(), list(range(count)))
    return hands.claim(count)


OUTPUTS = [1, 2, 3]
JOIN = flow("join", step("a"), step("b"), step("c", "a", "b"))

# nested statements of one commit_and_claim that hands out nothing. Three of them are looks at what
# is seldom there: pauses and caps before the claim, runs that ended and owe somebody something,
# slots that are free now. Where a step or a run changes, one more asks whether anybody listens. An
# ended run's key or parent costs more.
RECORDED: dict[str, tuple[Prepare, int]] = {
    "a flow of one step": (of_runs(single("single")), 22),
    "the first of three steps": (of_runs(chain("chain")), 27),
    "two parents of one step": (of_runs(JOIN), 22),
    "a map is fanned out": (of_runs(spread("spread")), 29),
    "elements of a map": (of_one_map, 19),
    "the last elements of a map": (of_whole_map, 29),
}


@pytest.mark.parametrize("what", RECORDED)
def test_a_commit_takes_as_many_statements_for_one_outcome_as_for_many(
    hands: Hands, what: str
) -> None:
    prepare, recorded = RECORDED[what]
    for batch in (1, MANY):
        tasks = prepare(hands, batch)
        assert len(tasks) == batch
        count = statements(hands, lambda tasks=tasks: hands.complete(tasks, OUTPUTS))
        print(f"{what:30} {batch:4} {count:3}")
        assert count == recorded
        hands.drain(OUTPUTS)


@pytest.mark.parametrize(("permanent", "recorded"), [(False, 15), (True, 25)])
def test_failures_of_many_runs_are_written_together(
    hands: Hands, permanent: bool, recorded: int
) -> None:
    for batch in (1, MANY):
        tasks = of_runs(single("single"))(hands, batch)
        count = statements(hands, lambda tasks=tasks: hands.fail(tasks, permanent=permanent))
        assert count == recorded
        hands.drain()


def test_a_turn_is_one_statement_of_the_client_whatever_it_brings(hands: Hands) -> None:
    tasks = of_runs(chain("chain"))(hands, MANY)
    told = explained(hands.conn, lambda: hands.complete(tasks, 1, want=MANY))
    asked = [each for each in told if "pgflow.commit_and_claim(" in each.text]
    assert [each is told[-1] for each in asked] == [True]
    assert hands.value("select count(*) from pgflow.step_tasks where stage = 'running'") == MANY


def test_a_claim_takes_as_many_statements_for_one_task_as_for_many(hands: Hands) -> None:
    hands.define(chain("chain"))
    hands.start("chain", *range(MANY + 1))
    assert statements(hands, lambda: hands.claim(1)) == statements(hands, lambda: hands.claim(MANY))


def test_a_start_takes_as_many_statements_for_one_run_as_for_many(hands: Hands) -> None:
    hands.define(chain("chain"))
    for keys in (None, [f"key {number}" for number in range(MANY)]):
        one = statements(hands, lambda keys=keys: hands.start("chain", 1, keys=keys and ["key"]))
        many = statements(hands, lambda k=keys: hands.start("chain", *range(MANY), keys=k))
        assert one == many


def test_elements_that_fail_together_end_their_run_once(hands: Hands) -> None:
    tasks = of_one_map(hands, 100)
    count = statements(hands, lambda: hands.fail(tasks, permanent=True))
    assert count < 40
    assert hands.rows("select count(*) from pgflow.attempts") == [(100,)]  # what each one said


def statements(hands: Hands, call: Callable[[], Any]) -> int:
    """How many statements run inside the one that the client sends; parsing the input is none."""
    call_and_nested = explained(hands.conn, call)
    return len(call_and_nested) - 1
