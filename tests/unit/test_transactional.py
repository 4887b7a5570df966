"""What is said of transactional handlers where they are written."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from stepwell import Context, DefinitionError, Done, Flow, Machine, MachineContext, job, step
from stepwell.db.transaction import beginning
from stepwell.worker.transaction import rolled_back

YES: Any = "yes"


def test_each_kind_of_handler_can_be() -> None:
    flow = Flow[int, Any]("flow")

    @flow.step(transactional=True)
    async def write(flow_input: int, context: Context) -> list[int]: ...

    @flow.map(over=write, transactional=True)
    def each(item: int, ctx: Context) -> None: ...

    @flow.step
    def plain(each: list[None]) -> None: ...

    @job(transactional=True)
    def send(ctx: Context, user: int) -> None: ...

    class Order(Machine):
        @step(initial=True, transactional=True)
        async def begin(self, ctx: MachineContext) -> Done: ...

        @step(reachable=True)
        async def other(self, ctx: MachineContext) -> Done: ...

    assert [step.transactional for step in flow.steps.values()] == [True, True, False]
    assert send.transactional
    assert (Order.begin.transactional, Order.other.transactional) == (True, False)


def test_a_handler_without_a_context_could_not_reach_its_connection() -> None:
    flow = Flow[int, Any]("flow")
    with pytest.raises(DefinitionError, match=r"flow 'flow', step 'write': .* takes no context"):

        @flow.step(transactional=True)
        def write(flow_input: int) -> None: ...

    with pytest.raises(DefinitionError, match=r"job 'send': .* add a parameter ctx"):

        @job(transactional=True)
        def send(user: int) -> None: ...


def test_it_is_said_with_true_or_false() -> None:
    flow = Flow[int, Any]("flow")
    with pytest.raises(DefinitionError, match="transactional is 'yes'"):
        flow.step(transactional=YES)(print_it)
    with pytest.raises(DefinitionError, match="transactional is 'yes'"):
        job(transactional=YES)(print_it)
    with pytest.raises(DefinitionError, match="transactional is 'yes'"):
        step(transactional=YES)(step_of)


def print_it(ctx: Context) -> None: ...
def step_of(self: Any, ctx: MachineContext) -> Done: ...


def test_postgres_waits_longer_than_the_worker_and_not_for_ever() -> None:
    old = beginning(7, 60.0, 150000).as_string(None)
    assert "set local pgflow.claim = 7;" in old
    assert old.endswith("set local idle_in_transaction_session_timeout = 90000")
    new = beginning(7, 60.0, 170000).as_string(None)
    assert new == f"{old}; set local transaction_timeout = 90000"
    assert beginning(7, 1e9, 150000).as_string(None).endswith(f"= {2**31 - 1}")


def test_what_a_library_raises_from_a_deadlock_is_one() -> None:
    assert rolled_back(psycopg.errors.DeadlockDetected())
    assert not rolled_back(psycopg.errors.UniqueViolation())
    wrapped = ValueError()
    wrapped.__cause__ = RuntimeError()
    wrapped.__cause__.__cause__ = psycopg.errors.SerializationFailure()
    assert rolled_back(wrapped)
    handled = ValueError()
    handled.__context__ = psycopg.errors.DeadlockDetected()  # it was dealt with, and then this came
    assert not rolled_back(handled)
    circle = ValueError()
    circle.__cause__ = circle
    assert not rolled_back(circle)
