"""Schedules as values: when they fire, what they start, and what is refused where it is written."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from stepwell.define.flow import Flow
from stepwell.define.job import job
from stepwell.define.schedule import Every, Schedule, When, by_name, cron, every, spec_of, when_of
from stepwell.errors import DefinitionError

sales = Flow[int, int]("sales")
tidy = Flow[None, int]("tidy")
untyped: Any = Schedule


@job
async def send(user_id: int) -> None: ...


@job
async def ping() -> None: ...


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


# --- intervals ---


def test_an_interval_is_counted_from_an_anchor_and_not_from_now() -> None:
    five = every(timedelta(minutes=5))
    assert five.next(at("2026-01-01 12:03:07")) == at("2026-01-01 12:05")
    assert five.next(at("2026-01-01 12:05")) == at("2026-01-01 12:10")
    assert five == every(300) == every(300.0)


def test_an_interval_may_have_a_start_of_its_own() -> None:
    weekly = every(timedelta(days=7), start=at("2026-01-05 09:30"))
    assert weekly.next(at("2020-01-01")) == at("2026-01-05 09:30")
    assert weekly.next(at("2026-01-05 09:29:59")) == at("2026-01-05 09:30")
    assert weekly.next(at("2026-01-05 09:30")) == at("2026-01-12 09:30")


def test_slots_of_a_fraction_of_a_second_do_not_drift() -> None:
    slot = at("2026-01-01")
    for _ in range(1000):
        slot = every(1.5).next(slot)
    assert slot == at("2026-01-01 00:25")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (0, "between a second and a century"),
        (0.5, "between a second and a century"),
        (-60, "between a second and a century"),
        (float("nan"), "between a second and a century"),
        (1e30, "between a second and a century"),
        (timedelta(days=99_999), "between a second and a century"),
        ("5m", "a timedelta, or a number of seconds"),
        (True, "a timedelta, or a number of seconds"),
    ],
)
def test_an_interval_that_cannot_be_is_refused(wrong: object, said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        every(cast("float", wrong))


def test_a_start_without_a_time_zone_is_refused() -> None:
    with pytest.raises(DefinitionError, match="a datetime with a time zone"):
        every(60, start=datetime(2026, 1, 1))


# --- the wire form ---


@pytest.mark.parametrize(
    "when",
    [
        cron("*/5 9-17 * * MON-FRI", tz="Europe/Berlin"),
        cron("@daily"),
        every(1.5),
        every(timedelta(days=30), start=at("2026-01-05 09:30")),
    ],
)
def test_a_time_comes_back_from_its_wire_form(when: When) -> None:
    assert when_of(spec_of(when)) == when


@pytest.mark.parametrize("spec", [{}, {"moon": "full"}, {"cron": 5, "tz": "UTC"}, {"every": 60}])
def test_times_of_newer_code_are_an_error_that_says_so(spec: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError, match="no time that this version knows"):
        when_of(spec)


# --- schedules ---


def test_a_schedule_writes_down_what_it_starts() -> None:
    started = Schedule("nightly", sales.call(7), cron("0 3 * * *")).started
    assert (started.kind, started.slug, started.input) == ("flow", "sales", b"7")
    started = Schedule("greet", send.call(user_id=7), every(60)).started
    assert (started.kind, started.slug, started.input) == ("job", "send", b'{"user_id":7}')


def test_what_needs_no_input_stands_for_itself() -> None:
    assert Schedule("tidy", tidy, every(60)).started.input == b"null"
    assert Schedule("ping", ping, every(60)).started.input == b"{}"


def test_the_defaults_skip_what_overlaps_and_make_up_for_one() -> None:
    schedule = Schedule("tidy", tidy, every(60))
    assert (schedule.overlap, schedule.catch_up, schedule.priority) == ("skip", "one", None)
    assert not schedule.paused


REFUSALS: dict[str, tuple[Callable[[], object], str]] = {
    "no slug": (lambda: Schedule("at night", tidy, every(60)), "'at night' is no slug"),
    "no time": (lambda: untyped("tidy", tidy, 60), "60 is no time; write cron"),
    "an expression": (lambda: untyped("tidy", tidy, "* * * * *"), "write cron"),
    "overlap": (lambda: untyped("tidy", tidy, every(60), overlap="kill"), "choose one of 'skip'"),
    "catch_up": (lambda: untyped("tidy", tidy, every(60), catch_up=2), "choose one of 'none'"),
    "priority": (lambda: untyped("tidy", tidy, every(60), priority="high"), "a whole number"),
    "a wide priority": (lambda: untyped("tidy", tidy, every(60), priority=40_000), "between"),
    "paused": (lambda: untyped("tidy", tidy, every(60), paused="no"), "True or False"),
    "a flow without its input": (lambda: untyped("s", sales, every(60)), "flow.call\\(input\\)"),
    "a job without its arguments": (lambda: untyped("s", send, every(60)), "required argument"),
    "a slug": (lambda: untyped("s", "tidy", every(60)), "'tidy' cannot be started"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_schedule_that_cannot_be_is_refused(case: str) -> None:
    make, said = REFUSALS[case]
    with pytest.raises(DefinitionError, match=said):
        make()


def test_names_are_unique_in_a_program() -> None:
    first, second = Schedule("tidy", tidy, every(60)), Schedule("tidy", ping, every(60))
    assert list(by_name([first, first])) == ["tidy"]
    with pytest.raises(DefinitionError, match="two different schedules are called 'tidy'"):
        by_name([first, second])
    with pytest.raises(DefinitionError, match="is no schedule"):
        by_name(cast("list[Schedule]", [tidy]))


def test_an_interval_knows_where_it_begins() -> None:
    assert every(60) == Every(timedelta(seconds=60), datetime(1970, 1, 1, tzinfo=UTC))


def test_a_time_without_a_zone_is_refused() -> None:
    for when in (every(300), cron("0 3 * * *")):
        with pytest.raises(DefinitionError, match="has no time zone"):
            when.next(datetime(2026, 1, 1))
