"""Limits are values; each that a definition uses is one that its app lists."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from stepwell import (
    ConcurrencyLimit,
    DefinitionError,
    Done,
    Flow,
    Machine,
    MachineContext,
    QueueLimit,
    RateLimit,
    Stepwell,
    job,
    key_by,
    step,
)
from stepwell.client.options import options_of
from stepwell.compile.limits import compile_limits
from stepwell.define.limits import ConcurrencyUse

openai = RateLimit("openai", 60, per=timedelta(minutes=1), burst=10)
reports = ConcurrencyLimit("reports", 5)
mail = QueueLimit("mail", 20)


@job(name="summarize", rate_limit=openai.by("user.id", weight=2), concurrency=reports.of("acme"))
def summarize(user: dict[str, int]) -> None: ...


class Checkout(Machine, concurrency=key_by("order")):
    order: int

    @step(initial=True, rate_limit=openai)
    def start(self, ctx: MachineContext) -> Done:
        return Done()


def limited(**options: Any) -> Flow:
    flow = Flow("orders")
    flow.step(slug="reserve", **options)(lambda: 1)
    return flow


def test_limits_are_this_data() -> None:
    app = Stepwell(limits=[openai, reports, mail, RateLimit("slow", 0.5)])
    assert json.loads(compile_limits(app.limits)) == [
        {"kind": "rate", "name": "openai", "capacity": 10, "perSecond": 1},
        {"kind": "concurrency", "name": "reports", "capacity": 5},
        {"kind": "queue", "name": "mail", "capacity": 20},
        {"kind": "rate", "name": "slow", "capacity": 1, "perSecond": 0.5},
    ]


def test_a_rate_without_a_burst_lets_through_what_it_counts() -> None:
    assert RateLimit("a", 60, per=60).capacity == 60
    assert RateLimit("a", 60, per=60).per_second == 1


def test_a_path_leads_into_the_input() -> None:
    assert openai.by("user.id").path == ("user", "id")
    assert key_by(["user.id", "x"]).path == ("user.id", "x")
    assert reports.by("tenant") == ConcurrencyUse("limit/reports/", ("tenant",), reports)


def test_an_app_has_the_limits_that_its_definitions_use() -> None:
    app = Stepwell(jobs=[summarize], machines=[Checkout], limits=[openai, reports])
    assert app.limits == (openai, reports)


@pytest.mark.parametrize(
    ("definitions", "limits", "words"),
    [
        ({"jobs": [summarize]}, [], "job 'summarize': it uses the rate limit 'openai'"),
        ({"jobs": [summarize]}, [openai], "job 'summarize': it uses the concurrency limit"),
        ({"machines": [Checkout]}, [reports], "machine Checkout, step 'start'.*'openai'"),
        (
            {"flows": [limited(rate_limit=openai)]},
            [RateLimit("openapi", 1)],
            "flow 'orders', step 'reserve'.*did you mean 'openapi'",
        ),
        ({"flows": [limited(concurrency=reports)]}, [openai], r"list it: Stepwell\(limits="),
        (
            {"flows": [limited(rate_limit=RateLimit("openai", 1))]},
            [openai],
            "differs from the one",
        ),
        ({}, [openai, RateLimit("openai", 1)], "two different rate limits are called 'openai'"),
        ({}, ["openai"], "'openai' is no limit"),
    ],
)
def test_a_limit_that_the_app_does_not_have(definitions: Any, limits: Any, words: str) -> None:
    with pytest.raises(DefinitionError, match=words):
        Stepwell(**definitions, limits=limits)


BAD: list[tuple[Callable[[], object], str]] = [
    (lambda: RateLimit("", 1), "its name"),
    (lambda: RateLimit("a/b", 1), "slash"),
    (lambda: RateLimit("a", 0), "count is 0"),
    (lambda: RateLimit("a", float("nan")), "count is nan"),
    (lambda: RateLimit("a", 1, per=0), "per is 0"),
    (lambda: RateLimit("a", 1, burst=0), "burst is 0"),
    (lambda: RateLimit("a", 1, burst=1.5), "burst is 1.5"),  # pyright: ignore
    (lambda: RateLimit("a", 10, burst=3).of(weight=4), "above its burst of 3"),
    (lambda: RateLimit("a", 10).by("", weight=1), "no path"),
    (lambda: openai.by(["a", ""]), "no path"),
    (lambda: openai.of("x" * 600), "at most 512"),
    (lambda: openai.of("a\0"), "U.0000"),
    (lambda: ConcurrencyLimit("a", 0), "slots is 0"),
    (lambda: ConcurrencyLimit("a/b", 1), "slash"),
    (lambda: ConcurrencyLimit("a", True), "slots is True"),
    (lambda: QueueLimit("", 1), "queue is ''"),
    (lambda: QueueLimit("a", 0), "slots is 0"),
    (lambda: key_by(7), "no path"),  # pyright: ignore
    (lambda: limited(concurrency=7), "flow 'orders', step 'reserve': concurrency is 7"),
    (lambda: limited(rate_limit="openai"), "flow 'orders', step 'reserve': rate_limit is 'openai'"),
    (lambda: Flow("orders", fairness_by=()), "flow 'orders': fairness_by"),
]


@pytest.mark.parametrize(("make", "words"), BAD)
def test_a_limit_that_cannot_be(make: Callable[[], object], words: str) -> None:
    with pytest.raises(DefinitionError, match=words):
        make()


def test_a_start_leaves_a_path_to_the_database() -> None:
    """It has the input too, also that of a start by a name, and one rule for what is missing."""
    text = options_of({"concurrency": key_by("order.id"), "rate_limit": openai.by("a", weight=2)})
    assert json.loads(text or "") == {
        "concurrency": "key/",
        "concurrency_by": ["order", "id"],
        "rate": "openai/",
        "rate_by": ["a"],
        "weight": 2,
    }
    assert options_of({}) is None
