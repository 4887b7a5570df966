"""A job is a function with arguments that are written down, checked, and read again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from stepwell import (
    Cancel,
    Context,
    DefinitionError,
    Job,
    PayloadError,
    RateLimit,
    Snooze,
    job,
    key_by,
)
from stepwell.define.calls import called

FOREIGN = object()
ANY_NONE: Any = None


@dataclass
class Address:
    street: str
    number: int = 1


@job(queue="mail", no_retry=(ValueError, LookupError), timeout=timedelta(minutes=1))
async def send_welcome(user_id: int, to: Address | None = None, tone: str = "kind") -> str:
    """Say hello."""
    return f"hello {user_id}, {tone}"


@job
def tidy() -> None: ...


@job(name="renamed", max_attempts=2, backoff="linear")
def count(ctx: Context, up_to: int) -> int | Snooze | Cancel:
    return Snooze(5) if up_to else Cancel("nothing to count")


def test_the_facts_of_a_job() -> None:
    assert (send_welcome.slug, send_welcome.queue, send_welcome.version) == (
        "send_welcome",
        "mail",
        1,
    )
    assert (tidy.slug, tidy.queue, count.slug) == ("tidy", "tidy", "renamed")
    assert send_welcome.no_retry == (ValueError, LookupError)
    assert (send_welcome.options.max_attempts, count.options.max_attempts) == (20, 2)
    assert (send_welcome.options.max_delay, send_welcome.options.jitter) == (300, 0.1)
    assert (send_welcome.options.timeout, count.options.backoff) == (60, "linear")
    assert (send_welcome.is_async, tidy.is_async) == (True, False)
    assert (count.context_name, tidy.context_name) == ("ctx", None)
    assert send_welcome.returns is str
    assert (send_welcome.__name__, send_welcome.__doc__) == ("send_welcome", "Say hello.")


def test_a_job_is_called_like_its_function() -> None:
    assert asyncio.run(send_welcome(7, tone="dry")) == "hello 7, dry"


def test_a_call_keeps_what_was_given_by_name() -> None:
    call = send_welcome.call(7, to=Address("High Street"))
    said = b'{"user_id":7,"to":{"street":"High Street","number":1},"tone":"kind"}'
    assert call.payload == said  # with what has a default
    assert repr(send_welcome.call(user_id=7)) == "<JobCall send_welcome(user_id=7)>"
    assert tidy.call().payload == b"{}"
    assert count.call(up_to=3).payload == b'{"up_to":3}'


def test_a_default_that_json_would_change_stays_with_the_code() -> None:
    @job
    def sweep(
        everywhere: Any = FOREIGN, since: int = ANY_NONE, places: Any = ("a",), deep: bool = True
    ) -> None: ...

    assert sweep.call().payload == b'{"deep":true}'


def test_limits_go_by_parameters_that_are_there_and_are_json() -> None:
    def send(user_id: int, tenant: str = "acme", foreign: Any = FOREIGN) -> None: ...

    assert job(concurrency=key_by("tenant"), fairness_by="user_id")(send).slug == "send"
    refused: list[tuple[Any, str]] = [
        ({"concurrency": key_by("tennant")}, r"concurrency .*did you mean 'tenant'\?"),
        ({"fairness_by": "user.id"}, "fairness_by goes by 'user'"),
        ({"rate_limit": RateLimit("r", 1).by("foreign")}, "rate_limit .*default is not JSON"),
    ]
    for options, words in refused:
        with pytest.raises(DefinitionError, match=rf"job 'send': {words}"):
            job(**options)(send)


def test_a_call_is_read_into_its_types() -> None:
    read = send_welcome.read(b'{"user_id": 7, "to": {"street": "High Street"}, "gone": 1}')
    assert read == {"user_id": 7, "to": Address("High Street")}


def test_a_call_says_what_it_starts() -> None:
    what = called(send_welcome.call(7))
    assert (what.kind, what.slug, what.version) == ("job", "send_welcome", 1)
    assert what.input == b'{"user_id":7,"to":null,"tone":"kind"}'


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"user_id": "x"}, "argument 'user_id'.*int"),
        ({"user_id": 1, "to": {"street": 7}}, r"argument 'to'.*\$\.street"),
        ({"user_id": object()}, "cannot be written as JSON"),
        ({}, "missing a required argument: 'user_id'"),
        ({"user_id": 1, "ctx": 1}, "unexpected keyword argument 'ctx'"),
    ],
)
def test_an_argument_that_does_not_fit_is_refused_where_it_is_given(
    arguments: Any, words: str
) -> None:
    with pytest.raises(PayloadError, match=f"(?s)job 'send_welcome'.*{words}"):
        send_welcome.call(**arguments)


def test_a_stored_call_that_lacks_an_argument_is_refused() -> None:
    with pytest.raises(PayloadError, match="job 'send_welcome': argument 'user_id' is missing"):
        send_welcome.read("{}")


def stars(*numbers: int) -> None: ...
def more_stars(**numbers: int) -> None: ...
def by_place(number: int, /) -> None: ...
def two_contexts(ctx: Context, context: Context) -> None: ...
def no_json(number: complex) -> None: ...
def pages() -> Iterator[int]:
    yield 1


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (stars, r"job 'stars': \*numbers"),
        (more_stars, r"\*\*numbers"),
        (by_place, "remove the '/'"),
        (two_contexts, "ctx and context.*keep one"),
        (no_json, "parameter 'number'.*no JSON fits"),
        (pages, "instead of yielding"),
        (tidy, "not <Job tidy>"),
        (7, r"@job\(name=...\)"),
        (lambda: 1, r"@job\(name=...\)"),
    ],
)
def test_a_function_that_can_be_no_job(function: Any, words: str) -> None:
    with pytest.raises(DefinitionError, match=words):
        job(function)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_attempts": 0}, "between 1"),
        ({"no_retry": ("ValueError",)}, "'ValueError'.*classes of errors"),
        ({"max_attempt": 1}, "did you mean 'max_attempts'"),
        ({"inline": True}, "no option 'inline'"),
        ({"name": "a-b"}, "no slug"),
    ],
)
def test_an_option_that_cannot_be(options: Any, words: str) -> None:
    with pytest.raises(DefinitionError, match=words):
        job(**options)(tidy.handler)


def test_one_class_of_errors_needs_no_tuple() -> None:
    made: Job[..., Any, ...] = job(name="a", no_retry=ValueError)(lambda: 1)  # pyright: ignore
    assert made.no_retry == (ValueError,)


def test_a_function_whose_parameters_nobody_can_read_is_refused() -> None:
    async def tidy(days: int) -> None: ...

    tidy.__signature__ = 7  # pyright: ignore[reportFunctionMemberAccess]
    with pytest.raises(DefinitionError, match=r"job 'tidy': the parameters of .* cannot be read"):
        job(tidy)
