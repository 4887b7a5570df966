"""Outcomes are values that are checked when they are made, and turn into words and JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stepwell import (
    Await,
    Cancel,
    Child,
    ConcurrencyLimit,
    DefinitionError,
    Done,
    Flow,
    Machine,
    MachineContext,
    Next,
    PayloadError,
    RateLimit,
    Retry,
    Snooze,
    Spawn,
    Stepwell,
    Stop,
    job,
    key_by,
    step,
)
from stepwell.define.moves import move_of, spawn_of
from stepwell.define.outcome import Transition

NAN = float("nan")
openai = RateLimit("openai", 60, per=timedelta(minutes=1), burst=10)
reports = ConcurrencyLimit("reports", 5)
article: Flow[dict[str, str], Any] = Flow("article")


class Checkout(Machine, version=2):
    order: int = 1
    tenant: str = "acme"

    @step(initial=True)
    def start(self, ctx: MachineContext) -> Transition:
        return Next(self.ship)

    @step(inline=False)
    def ship(self, ctx: MachineContext) -> Transition:
        return Done()


class Other(Machine):
    @step(initial=True)
    def start(self, ctx: MachineContext) -> Transition:
        return Done()


@job
def send_welcome(user_id: int) -> None: ...


machine = Checkout(order=42)
STATE = {"order": 42, "tenant": "acme"}


def moved(outcome: object, **more: Any) -> tuple[str, Any]:
    word, move = move_of(outcome, state=machine, handed=[3, 5], **more)
    return word, json.loads(move)


def move(**said: Any) -> dict[str, Any]:
    return {**said, "state": STATE, "handed": [3, 5]}


def test_next_is_a_step_and_what_is_said_about_it() -> None:
    assert moved(Next(machine.start)) == ("next", move(step="start"))
    assert moved(Next(Checkout.start)) == ("next", move(step="start"))
    said = Next(machine.start, delay=timedelta(minutes=1), queue="slow", priority=-3, inline=False)
    assert moved(said) == (
        "next",
        move(step="start", delay=60, queue="slow", priority=-3, inline=False),
    )


def test_inline_is_as_the_outcome_says_else_the_step() -> None:
    assert moved(Next(machine.ship)) == ("next", move(step="ship", inline=False))
    assert moved(Next(machine.ship, inline=True)) == ("next", move(step="ship"))


@pytest.mark.parametrize(
    ("concurrency", "gate", "by"),
    [
        (None, None, None),
        ("order:1", "key/order:1", None),
        (reports, "limit/reports/", None),
        (reports.of("acme"), "limit/reports/acme", None),
        (reports.by("tenant"), "limit/reports/", ["tenant"]),
        (key_by("order"), "key/", ["order"]),
        (key_by("order.x"), "key/", ["order", "x"]),
    ],
)
def test_concurrency_is_kept_released_or_switched(
    concurrency: Any, gate: str | None, by: list[str] | None
) -> None:
    """The database completes it by the state that it commits."""
    _, said = moved(Next(machine.start, concurrency=concurrency))
    assert (said["concurrency"], said.get("concurrency_by")) == (gate, by)
    assert "concurrency" not in moved(Next(machine.start))[1]


@pytest.mark.parametrize(
    ("rate", "text", "by", "weight"),
    [
        (openai, "openai/", None, 1),
        (openai.of("user:7", weight=2.5), "openai/user:7", None, 2.5),
        (openai.by("tenant", weight=2), "openai/", ["tenant"], 2),
    ],
)
def test_a_rate_is_a_partition_and_a_weight(
    rate: Any, text: str, by: list[str] | None, weight: float
) -> None:
    _, said = moved(Next(machine.start, rate_limit=rate))
    assert (said["rate"], said.get("rate_by"), said["weight"]) == (text, by, weight)


def test_await_is_one_name_or_a_set() -> None:
    assert moved(Await("paid", then=machine.start)) == (
        "await",
        move(step="start", names=["paid"], all=False, timeout=None),
    )
    both = Await(["a", "b", "a"], then=machine.start, all=True, timeout=1.5, priority=2)
    assert moved(both) == (
        "await",
        move(step="start", names=["a", "b"], all=True, timeout=1.5, priority=2),
    )


def test_retry_done_and_stop() -> None:
    assert moved(Retry()) == ("retry", move())
    assert moved(Retry(2.5)) == ("retry", move(delay=2.5))
    assert moved(Done()) == ("done", move(result=None))
    assert moved(Done([1, "a"])) == ("done", move(result=[1, "a"]))
    assert moved(Stop("payment never came")) == ("stop", move())


def test_what_on_error_says_is_marked() -> None:
    assert moved(Retry(1), after_error=True) == ("retry", {**move(delay=1), "after_error": True})


def test_spawn_starts_children_of_any_kind() -> None:
    at = datetime(2030, 1, 1, tzinfo=UTC)
    children = [
        Other(),
        send_welcome.call(user_id=7),
        article.call({"url": "x"}),
        Child(Checkout(order=1), key="k", queue="q", priority=1, delay=3, on_parent_end="keep"),
        Child(send_welcome.call(8), at=at, concurrency=key_by("user_id"), rate_limit=openai),
    ]
    word, said = moved(Spawn(children, then=machine.start, quorum=2, on_failure="wake", deadline=9))
    ids = [child.pop("id") for child in said["children"]]
    assert word == "spawn"
    assert len(set(ids)) == 5
    assert ids == sorted(ids)
    cancel: Any = {"on_parent_end": "cancel"}
    job_run: Any = {"slug": "send_welcome", "version": 1}
    assert said == move(
        step="start",
        quorum=2,
        policy="wake",
        deadline=9,
        children=[
            {"slug": "other", "version": 1, "input": {}, **cancel},
            {**job_run, "input": {"user_id": 7}, **cancel},
            {"slug": "article", "version": None, "input": {"url": "x"}, **cancel},
            {
                "slug": "checkout",
                "version": 2,
                "input": {"order": 1, "tenant": "acme"},
                "key": "k",
                "queue": "q",
                "priority": 1,
                "delay": 3,
                "on_parent_end": "keep",
            },
            {
                **job_run,
                "input": {"user_id": 8},
                "at": "2030-01-01T00:00:00Z",
                "concurrency": "key/",
                "concurrency_by": ["user_id"],
                "rate": "openai/",
                "weight": 1,
                **cancel,
            },
        ],
    )


def test_spawn_of_a_step_of_a_flow_has_no_then() -> None:
    said = json.loads(spawn_of(Spawn([Other()], on_parent_end="keep")))
    assert {name for name in said} == {"children", "quorum", "policy", "deadline"}
    assert said["children"][0]["on_parent_end"] == "keep"
    with pytest.raises(DefinitionError, match="has no `then`"):
        spawn_of(Spawn([Other()], then=machine.start))
    with pytest.raises(DefinitionError, match=r"then=self\.join"):
        moved(Spawn([Other()]))


def test_a_target_of_another_machine_is_refused() -> None:
    with pytest.raises(
        DefinitionError, match=r"machine Checkout: <step Other\.start>.*start, ship"
    ):
        moved(Next(Other.start))


def test_a_result_that_is_not_json_is_refused_with_its_place() -> None:
    with pytest.raises(PayloadError, match="object at"):
        moved(Done({"a": object()}))


@pytest.mark.parametrize("answer", [None, "ship", {"step": "ship"}, Snooze(1)])
def test_an_answer_that_is_no_outcome_is_refused(answer: object) -> None:
    with pytest.raises(DefinitionError, match="machine Checkout: a step answered with"):
        moved(answer)


def ship() -> Any:
    return machine.ship


BAD: list[tuple[Callable[[], object], str]] = [
    (lambda: Next("ship"), "no step"),  # pyright: ignore
    (lambda: Next(ship(), delay=-1), "Next: delay is -1.*0 or more"),
    (lambda: Next(ship(), delay=NAN), "Next: delay is nan"),
    (lambda: Next(ship(), delay=timedelta(days=-1)), "Next: delay"),
    (lambda: Next(ship(), queue=""), "Next: queue"),
    (lambda: Next(ship(), priority=2**15), "Next: priority"),
    (lambda: Next(ship(), concurrency=""), "Next: concurrency"),
    (lambda: Next(ship(), rate_limit="openai"), "Next: rate_limit"),  # pyright: ignore
    (lambda: Next(ship(), inline=1), "Next: inline"),  # pyright: ignore
    (lambda: Next(ship(), rate_limit=openai.of(weight=0)), "weight is 0"),
    (lambda: openai.of(weight=NAN), "weight is nan"),
    (lambda: openai.of(weight=11), "a weight of 11 is above its burst of 10"),
    (lambda: Retry(-1), "Retry: delay"),
    (lambda: Retry("1"), "seconds or a timedelta"),  # pyright: ignore
    (lambda: Retry(True), "seconds or a timedelta"),
    (lambda: Await("", then=ship()), "name of a signal"),
    (lambda: Await([], then=ship()), "no name to wait for"),
    (lambda: Await(["a", ""], then=ship()), "name of a signal"),
    (lambda: Await(7, then=ship()), "7 is no name"),  # pyright: ignore
    (lambda: Await("a", then=None), "no step"),  # pyright: ignore
    (lambda: Await("a", then=ship(), timeout=-1), "Await: timeout"),
    (lambda: Spawn(Other, then=ship()), "pass a list"),  # pyright: ignore
    (lambda: Spawn([Other]), r"Other\(\.\.\.\)"),  # pyright: ignore
    (lambda: Spawn([send_welcome]), r"\.call\("),  # pyright: ignore
    (lambda: Spawn([article]), r"\.call\("),  # pyright: ignore
    (lambda: Spawn(["article"]), "no run can be started"),  # pyright: ignore
    (lambda: Spawn([Other()], quorum=2), "from 1 to the number of children, 1"),
    (lambda: Spawn([Other()], quorum=0), "quorum is 0"),
    (lambda: Spawn([], on_failure="retry"), "'wake'"),  # pyright: ignore
    (lambda: Spawn([], on_parent_end="die"), "'keep'"),  # pyright: ignore
    (lambda: Spawn([], deadline=-1), "Spawn: deadline"),
    (lambda: Child(Other), "Child"),  # pyright: ignore
    (lambda: Child(Other(), key=""), "cannot be a key"),
    (lambda: Child(Other(), key="x" * 513), "cannot be a key"),
    (lambda: Child(Other(), delay=-1), "Child: delay"),
    (lambda: Child(Other(), at=datetime(2030, 1, 1)), "time zone"),
    (lambda: Child(Other(), on_parent_end="die"), "'keep'"),  # pyright: ignore
    (lambda: Stop(" "), "say the reason"),
    (lambda: Cancel(""), "say the reason"),
    (lambda: Snooze(-1), "Snooze: delay"),
]


@pytest.mark.parametrize(("make", "words"), BAD)
def test_an_outcome_that_cannot_be_is_refused_at_once(
    make: Callable[[], object], words: str
) -> None:
    with pytest.raises(DefinitionError, match=words):
        make()


def test_outcomes_are_values() -> None:
    assert Next(machine.start, delay=timedelta(seconds=5)).delay == 5
    assert Done({"a": 1}) == Done({"a": 1})
    with pytest.raises(FrozenInstanceError):
        Retry(1).delay = 2  # pyright: ignore


def test_snooze_and_cancel_can_be_raised_too() -> None:
    with pytest.raises(Snooze) as snoozed:
        raise Snooze(timedelta(minutes=1))
    with pytest.raises(Cancel) as cancelled:
        raise Cancel("not wanted any more")
    assert snoozed.value.delay == 60
    assert cancelled.value.reason == str(cancelled.value) == "not wanted any more"


def test_a_reason_is_text_that_can_be_stored() -> None:
    assert Stop(ValueError("a\0b\ud800")).reason == "a\N{REPLACEMENT CHARACTER}b?"  # pyright: ignore


@pytest.mark.parametrize(
    "outcome",
    [
        Next(machine.start, rate_limit=openai),
        Await("paid", then=machine.start, concurrency=reports.by("tenant")),
        Spawn([Child(Other(), rate_limit=openai.of("a"))], then=machine.start),
    ],
)
def test_a_limit_that_the_app_does_not_list_is_refused(outcome: Transition) -> None:
    apps = Stepwell(), Stepwell(limits=[replace(openai, burst=5), replace(reports, slots=1)])
    for app, says in zip(apps, ("does not have", "differs"), strict=True):
        with pytest.raises(DefinitionError, match=f"'(openai|reports)'.*{says}"):
            moved(outcome, limits=app.known_limits)
    word, _ = moved(outcome, limits=Stepwell(limits=[openai, reports]).known_limits)
    assert word in ("next", "await", "spawn")


def test_a_path_that_is_no_field_is_refused() -> None:
    with pytest.raises(DefinitionError, match=r"'ordr'.*did you mean 'order'"):
        moved(Next(machine.start, concurrency=key_by("ordr")))
