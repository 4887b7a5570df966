"""A queue worker is a function for messages; what could never work is refused at once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

import pytest

from stepwell import (
    Backoff,
    Context,
    DefinitionError,
    MachineContext,
    MessageContext,
    PayloadError,
    QueueWorker,
    RetryPolicy,
    Stepwell,
    queue_worker,
)

ANY: Any = None


@dataclass
class Mail:
    to: str
    lang: str = "en"


@queue_worker("tasks")
async def handle(mail: Mail, ctx: MessageContext) -> str:
    """Send it."""
    return f"to {mail.to}"


@queue_worker(
    "images",
    retry=RetryPolicy("fixed", limit=2, base_delay=timedelta(minutes=1)),
    visibility_timeout=timedelta(seconds=30),
    max_concurrent=4,
    timeout=2.5,
)
def resize(name: str) -> int:
    return len(name)


def test_the_facts_of_a_queue_worker() -> None:
    assert (handle.queue, handle.message_name, handle.context_name) == ("tasks", "mail", "ctx")
    assert (handle.visibility_timeout, handle.max_concurrent, handle.timeout) == (10, 10, None)
    assert handle.retry == RetryPolicy("exponential", limit=5, base_delay=3)
    assert (handle.__name__, handle.__doc__, handle.is_async) == ("handle", "Send it.", True)
    assert repr(handle) == "<QueueWorker handle of 'tasks'>"
    assert (resize.visibility_timeout, resize.max_concurrent, resize.timeout) == (30, 4, 2.5)
    assert (resize.retry.base_delay, resize.is_async, resize.context_name) == (60, False, None)


def test_how_a_queue_worker_runs() -> None:
    by_error: Any = {ValueError: Backoff.fixed(60)}

    @queue_worker("tasks", transactional=True, backoff=by_error)
    def write(number: int, ctx: MessageContext) -> None: ...

    @queue_worker("tasks", process=True, backoff=Backoff.linear(2), retry=RetryPolicy(limit=9))
    def compute(number: int) -> None: ...

    assert (write.transactional, write.process, write.timeout) == (True, False, 60)
    assert (write.backoff, write.backoff_by) == (None, by_error)
    assert (compute.transactional, compute.process, compute.timeout) == (False, True, None)
    assert compute.backoff is not None and compute.backoff(3) == 6
    assert (handle.transactional, handle.process, handle.backoff) == (False, False, None)


def test_a_transaction_has_a_timeout_and_is_the_workers() -> None:
    def write(number: int, ctx: MessageContext) -> None: ...

    assert queue_worker("tasks", transactional=True, timeout=2)(write).timeout == 2
    with pytest.raises(DefinitionError, match="say how long its transaction may take"):
        queue_worker("tasks", transactional=True, timeout=None)(write)
    with pytest.raises(DefinitionError, match="transactional and run in a process of its own"):
        queue_worker("tasks", transactional=True, process=True)(write)


async def test_calling_it_calls_the_function() -> None:
    assert await handle(Mail("ada"), ctx=ANY) == "to ada"
    assert resize("cat") == 3


def test_a_message_is_read_by_its_annotation() -> None:
    assert handle.read('{"to": "ada"}') == Mail("ada")
    assert resize.read('"cat"') == "cat"
    with pytest.raises(PayloadError, match=r"a message of queue 'tasks': .*`to`"):
        handle.read('{"lang": "de"}')


def test_what_has_a_default_is_nobodys_message() -> None:
    @queue_worker("tasks")
    def send(body: dict[str, Any], *, ctx: MessageContext, tries: int = 3) -> None: ...

    assert (send.message_name, send.context_name) == ("body", "ctx")

    @queue_worker("tasks")
    def context_first(facts: MessageContext | None, body: int) -> None: ...

    assert (context_first.message_name, context_first.context_name) == ("body", "facts")


def no_parameter() -> None: ...
def two_messages(a: int, b: int) -> None: ...
def two_contexts(a: int, ctx: MessageContext, other: MessageContext) -> None: ...
def of_a_run(a: int, ctx: Context) -> None: ...
def of_a_machine(a: int, facts: MachineContext) -> None: ...
def stars(*messages: int) -> None: ...
def by_place(a: int, /) -> None: ...
def no_json(a: Callable[[], int]) -> None: ...
def fine(a: int) -> None: ...
def generator(a: int) -> Any:
    yield a


async def async_generator(a: int) -> AsyncIterator[int]:
    yield a


@pytest.mark.parametrize(
    ("handler", "says"),
    [
        (no_parameter, "one parameter for it beside ctx; it has none"),
        (two_messages, "it has 'a' and 'b'"),
        (two_contexts, "ctx and other would both be the context"),
        (of_a_run, "write MessageContext"),
        (of_a_machine, "write MessageContext"),
        (stars, r"\*messages does not allow"),
        (by_place, "a, / does not allow"),
        (no_json, "no JSON fits it"),
        (generator, "a generator never runs by itself"),
        (async_generator, "a generator never runs by itself"),
        (handle, "decorate a function with @queue_worker"),
        (Mail, "decorate a function with @queue_worker"),
        (7, "decorate a function with @queue_worker"),
    ],
)
def test_a_function_that_cannot_handle_messages_is_refused(handler: Any, says: str) -> None:
    with pytest.raises(DefinitionError, match=says):
        queue_worker("tasks")(handler)


@pytest.mark.parametrize(
    ("choices", "says"),
    [
        ({"visibility_timeout": 0}, "visibility_timeout is 0; .* of at least 1"),
        ({"visibility_timeout": 1.5}, "visibility_timeout is 1.5; .* a timedelta of whole seconds"),
        ({"max_concurrent": 0}, "max_concurrent is 0; it must be a whole number of at least 1"),
        ({"max_concurrent": True}, "max_concurrent is True"),
        ({"timeout": 0}, "timeout is 0; it must be more than 0"),
        ({"retry": 3}, "retry is 3; give a policy"),
        ({"retires": 3}, "no option 'retires'.*did you mean 'retry'"),
        ({"transactional": True}, "takes no context.*add a parameter ctx"),
        ({"transactional": "yes"}, "transactional is 'yes'; it must be True or False"),
        ({"process": 1}, "process is 1; it must be True or False"),
        ({"backoff": "fixed"}, "backoff is 'fixed'; give a Backoff"),
        ({"backoff": {ValueError: 3}}, "backoff after ValueError is 3"),
        ({"backoff": {3: Backoff.fixed(3)}}, "3 in it is no class of errors"),
        (
            {"backoff": Backoff.fixed(3), "retry": RetryPolicy("fixed")},
            r"keep only its limit: retry=RetryPolicy\(limit=5\)",
        ),
    ],
)
def test_a_choice_that_makes_no_sense_is_refused(choices: Any, says: str) -> None:
    with pytest.raises(DefinitionError, match=f"queue worker 'fine'.*{says}"):
        queue_worker("tasks", **choices)(fine)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("", "cannot be the name of a queue"),
        ("  ", "cannot be the name of a queue"),
        ("a\0", "cannot be the name of a queue"),
        ("x" * 129, "has 129 characters; use at most 128"),
        ("a;b", "cannot have ; in it"),
        ("a$b", r"cannot have \$ in it"),
        ("a'b", "cannot have ' in it"),
        ("a--b", "cannot have -- in it"),
        (7, "is text, not int"),
        (fine, r'write @queue_worker\("tasks"\)'),
    ],
)
def test_a_name_that_no_queue_has_is_refused(name: Any, says: str) -> None:
    with pytest.raises(DefinitionError, match=says):
        queue_worker(name)


# --- the policy ---


def test_the_pauses_of_a_policy() -> None:
    usual = RetryPolicy()
    assert [usual.delay(n) for n in (1, 2, 3, 7, 8, 9)] == [3, 6, 12, 192, 300, 300]
    capped = RetryPolicy("exponential", base_delay=2, max_delay=5)
    assert [capped.delay(n) for n in (1, 2, 3)] == [2, 4, 5]
    fixed = RetryPolicy("fixed", limit=1000, base_delay=7)
    assert [fixed.delay(n) for n in (1, 2, 2**31)] == [7, 7, 7]
    assert usual.delay(2**31) == 300
    assert RetryPolicy(base_delay=1000).delay(1) == 1000
    assert (usual.tries, RetryPolicy("fixed", limit=0, base_delay=0).tries) == (6, 1)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"strategy": "linear"}, "choose 'exponential' or 'fixed'"),
        ({"limit": -1}, "limit is -1; it must be between 0 and 50"),
        ({"limit": 51}, "limit is 51; it must be between 0 and 50"),
        ({"limit": 2.0}, "limit is 2.0; it must be a whole number"),
        ({"limit": True}, "limit is True"),
        ({"base_delay": 0}, "base_delay is 0; it must be between 1"),
        ({"base_delay": 2**31}, "base_delay is 2147483648"),
        ({"base_delay": 0.5}, "base_delay is 0.5; .* a timedelta of whole seconds"),
        ({"base_delay": timedelta(milliseconds=1)}, "base_delay is"),
        ({"max_delay": 2}, "max_delay is 2; it must be between 3"),
        ({"max_delay": "1"}, "max_delay is '1'"),
        ({"strategy": "fixed", "max_delay": 10}, "a fixed delay does not grow"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(given: Any, says: str) -> None:
    with pytest.raises(DefinitionError, match=says):
        RetryPolicy(**given)


# --- in an app ---


def test_an_app_lists_queue_workers() -> None:
    app = Stepwell(queues=[handle, resize, handle])
    assert app.queues == (handle, resize)
    assert repr(app) == "<Stepwell : 'tasks', 'images'>"
    assert Stepwell().queues == ()


def test_two_workers_of_one_queue_are_refused() -> None:
    other = queue_worker("Tasks")(fine)
    with pytest.raises(DefinitionError, match="would both handle the messages of one queue"):
        Stepwell(queues=[handle, other])
    with pytest.raises(DefinitionError, match="is no queue worker"):
        Stepwell(queues=[cast("QueueWorker[..., Any]", fine)])
