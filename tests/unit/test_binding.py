"""Which body runs for a task, and how outcomes become rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from stepwell import Done, Flow, Machine, MachineContext, Stepwell, job, step
from stepwell.define.outcome import Completed, Failed, Moved
from stepwell.worker.binding import Bindings
from stepwell.worker.entry import entry_of
from stepwell.worker.failure import LONGEST_MESSAGE, both, failed_as
from stepwell.worker.flow_step import FlowStep, Wait
from stepwell.worker.job_call import JobCall
from stepwell.worker.machine_step import MachineBody, UnknownStep
from stepwell.worker.policy import UNSAID, Policy

from .tasks import TASK

trip = Flow("trip")


@trip.step
def book() -> None: ...


trip.signal("paid")
trip.sleep("nap", 5)


class Order(Machine, version=2):
    @step(initial=True)
    async def begin(self, ctx: MachineContext) -> Done:
        return Done()


@job
async def mail() -> None: ...


BINDINGS = Bindings(Stepwell(flows=[trip], machines=[Order], jobs=[mail]))


@pytest.mark.parametrize(
    ("kind", "slug", "version", "step_slug", "body"),
    [
        ("flow", "trip", 1, "book", FlowStep),
        ("flow", "trip", 7, "book", FlowStep),  # a version of a flow is a shape: it fits or not
        ("flow", "trip", 1, "paid", Wait),
        ("flow", "trip", 1, "nap", Wait),
        ("flow", "trip", 1, "fly", None),
        ("flow", "order", 2, "begin", None),
        ("machine", "order", 2, "begin", MachineBody),
        ("machine", "order", 2, "gone", UnknownStep),
        ("machine", "order", 1, "begin", None),
        ("machine", "trip", 1, "book", None),
        ("job", "mail", 1, "perform", JobCall),
        ("job", "post", 1, "perform", None),
    ],
)
def test_each_task_has_its_body(
    kind: str, slug: str, version: int, step_slug: str, body: type[Any] | None
) -> None:
    task = replace(TASK, kind=kind, flow_slug=slug, version=version, step_slug=step_slug)
    found = BINDINGS.of(task)
    assert found is None if body is None else isinstance(found, body)


def test_an_outcome_is_a_row_of_the_commit() -> None:
    done = entry_of(TASK, Completed(b"[1]"))
    assert (done.message_id, done.token, done.outcome, done.output) == (1, 2, "completed", "[1]")
    assert not done.delays
    again = entry_of(TASK, Failed("KeyError", "'x'", "", delay=1.5))
    assert (again.outcome, again.output, again.traceback) == ("failed", '{"delay":1.5}', None)
    assert again.delays
    never = entry_of(TASK, Failed("KeyError", "'x'", "trace", permanent=True))
    assert (never.outcome, never.output, never.traceback) == ("failed_permanently", None, "trace")
    assert not never.delays


@pytest.mark.parametrize(
    ("word", "move", "delays"),
    [
        ("next", b'{"step":"a"}', False),
        ("next", b'{"step":"a","delay":3}', True),
        ("await", b'{"names":["a"],"timeout":3}', True),
        ("spawn", b'{"children":[]}', True),
        ("retry", b'{"delay":3}', True),
        ("snooze", b'{"delay":3}', True),
        ("done", b'{"result":1}', False),
        ("stop", b"{}", False),
    ],
)
def test_a_move_that_arms_a_timer_says_so(word: str, move: bytes, delays: bool) -> None:
    entry = entry_of(TASK, Moved(word, move, message="why"))
    assert (entry.output, entry.error_message) == (move.decode(), "why")
    assert entry.delays is delays


def test_a_backoff_function_says_when_to_try_again() -> None:
    outcome = failed_as("KeyError", "'x'")
    policy = Policy(backoff=lambda attempt: attempt * 10)
    assert policy.judged(outcome, TASK.attempt) == replace(outcome, delay=20.0)
    assert UNSAID.judged(outcome, TASK.attempt) is outcome
    broken = Policy(backoff=lambda attempt: 1 / 0)
    assert broken.judged(Completed(b"1"), TASK.attempt) == Completed(b"1")
    final = failed_as("KeyError", "'x'", permanent=True)
    assert broken.judged(final, TASK.attempt) is final


@pytest.mark.parametrize("answer", [None, "soon", -1, float("nan"), True, 10**12])
def test_a_backoff_function_that_makes_no_sense_is_named(answer: Any) -> None:
    told = Policy(backoff=lambda attempt: answer).judged(failed_as("KeyError", "'x'"), 1)
    assert isinstance(told, Failed)
    assert told.delay is None
    assert told.message.startswith("'x'; then its backoff function failed: DefinitionError: ")
    assert repr(answer) in told.message


def test_two_failures_are_one_text_and_the_first_is_the_kind() -> None:
    first = failed_as("KeyError", "x" * 2 * LONGEST_MESSAGE, "one\n")
    second = failed_as("RuntimeError", "worse", "two\n", permanent=True)
    told = both(first, second, "on_error failed too")
    assert (told.error_type, told.permanent) == ("KeyError", True)
    assert told.message.endswith("x…; then on_error failed too: RuntimeError: worse")
    assert told.traceback == "one\n\ntwo\n"
