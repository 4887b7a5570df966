"""Cron expressions: which times fit, on the clocks of which zones, and what is refused."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import cast
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stepwell.define.cron import MACROS, cron
from stepwell.errors import DefinitionError

BERLIN, NEW_YORK, LORD_HOWE = "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def slots(expression: str, after: str, count: int = 4, tz: str = "UTC") -> list[str]:
    """The next slots, in UTC."""
    when, found = cron(expression, tz), datetime.fromisoformat(after).replace(tzinfo=UTC)
    said: list[str] = []
    for _ in range(count):
        found = when.next(found)
        assert found.tzinfo is UTC
        said.append(f"{found:%Y-%m-%d %H:%M:%S}".removesuffix(":00"))
    return said


# --- fields ---


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("* * * * *", ["2026-01-01 00:01", "2026-01-01 00:02"]),
        ("*/20 * * * *", ["2026-01-01 00:20", "2026-01-01 00:40"]),
        ("5/20 * * * *", ["2026-01-01 00:05", "2026-01-01 00:25"]),
        ("10-50/20 3 * * *", ["2026-01-01 03:10", "2026-01-01 03:30"]),
        ("7,3,3 * * * *", ["2026-01-01 00:03", "2026-01-01 00:07"]),
        ("0 9-10,17 * * *", ["2026-01-01 09:00", "2026-01-01 10:00", "2026-01-01 17:00"]),
        ("0 0 1 */4 *", ["2026-05-01 00:00", "2026-09-01 00:00", "2027-01-01 00:00"]),
        ("0 0 * JAN,mar *", ["2026-01-02 00:00", "2026-01-03 00:00"]),
        ("0 0 31 * *", ["2026-01-31 00:00", "2026-03-31 00:00", "2026-05-31 00:00"]),
        ("30 15 10 * * *", ["2026-01-01 10:15:30", "2026-01-02 10:15:30"]),
        ("*/30 * * * * *", ["2026-01-01 00:00:30", "2026-01-01 00:01"]),
        ("59 59 23 31 12 *", ["2026-12-31 23:59:59", "2027-12-31 23:59:59"]),
    ],
)
def test_every_field_takes_values_ranges_steps_and_lists(
    expression: str, expected: list[str]
) -> None:
    assert slots(expression, "2026-01-01 00:00:00", len(expected)) == expected


@pytest.mark.parametrize("sunday", ["0", "7", "SUN", "sun"])
def test_sunday_has_several_names(sunday: str) -> None:
    assert slots(f"0 0 * * {sunday}", "2026-01-01", 2) == ["2026-01-04 00:00", "2026-01-11 00:00"]


@pytest.mark.parametrize("weekend", ["SAT-SUN", "6-7", "6,0", "sat,sun", "6/1,0"])
def test_a_range_of_days_may_end_with_sunday(weekend: str) -> None:
    expected = ["2026-01-03 00:00", "2026-01-04 00:00", "2026-01-10 00:00"]
    assert slots(f"0 0 * * {weekend}", "2026-01-01", 3) == expected


def test_either_day_is_enough_when_both_are_restricted() -> None:
    expected = ["2026-03-06 00:00", "2026-03-13 00:00", "2026-03-15 00:00", "2026-03-20 00:00"]
    assert slots("0 0 15 * FRI", "2026-03-01") == expected


def test_a_day_field_that_begins_with_a_star_restricts_the_other() -> None:
    expected = ["2026-03-09 00:00", "2026-03-23 00:00", "2026-04-13 00:00", "2026-04-27 00:00"]
    assert slots("0 0 */2 * MON", "2026-03-01") == expected


@pytest.mark.parametrize("macro", MACROS)
def test_a_macro_is_its_expression(macro: str) -> None:
    start = "2026-02-03 04:05:06"
    assert slots(macro, start) == slots(MACROS[macro], start) == slots(macro.upper(), start)


def test_a_slot_is_later_than_the_time_that_is_asked_about() -> None:
    assert slots("0 12 * * *", "2026-01-01 12:00:00", 1) == ["2026-01-02 12:00"]
    assert slots("0 12 * * *", "2026-01-01 11:59:59.999999", 1) == ["2026-01-01 12:00"]
    assert slots("0 12 * * *", "2026-01-01 12:00:00.000001", 1) == ["2026-01-02 12:00"]


# --- clocks that jump ---


def test_a_time_in_the_gap_fires_at_its_end() -> None:
    assert slots("30 2 * * *", "2026-03-27 12:00", 3, BERLIN) == [
        "2026-03-28 01:30",
        "2026-03-29 01:00",  # 02:30 is skipped; at 03:00 it is summer
        "2026-03-30 00:30",
    ]
    assert slots("30 2 * * *", "2026-03-07 12:00", 2, NEW_YORK) == [
        "2026-03-08 07:00",
        "2026-03-09 06:30",
    ]


def test_many_times_in_the_gap_fire_once() -> None:
    assert slots("*/10 2,3 * * *", "2026-03-29 00:00", 3, BERLIN) == [
        "2026-03-29 01:00",  # 02:00 to 02:50, and 03:00 itself
        "2026-03-29 01:10",
        "2026-03-29 01:20",
    ]
    assert slots("* * 2 * * *", "2026-03-29 00:59:59", 2, BERLIN)[1] == "2026-03-30 00:00"


def test_a_time_that_comes_twice_fires_the_first_time() -> None:
    assert slots("30 2 * * *", "2026-10-24 12:00", 2, BERLIN) == [
        "2026-10-25 00:30",  # 02:30 in summer time; an hour later it is 02:30 again
        "2026-10-26 01:30",
    ]
    assert slots("30 1 * * *", "2026-10-31 12:00", 2, NEW_YORK) == [
        "2026-11-01 05:30",
        "2026-11-02 06:30",
    ]


def test_the_repeated_hour_is_passed_over() -> None:
    assert slots("*/30 * * * *", "2026-10-25 00:00", 3, BERLIN) == [
        "2026-10-25 00:30",  # 02:30 in summer time
        "2026-10-25 02:00",  # 03:00 in winter time
        "2026-10-25 02:30",
    ]


def test_asked_within_the_repeated_hour_what_comes_after_it_is_next() -> None:
    for minute in range(0, 60, 7):
        asked = f"2026-10-25 01:{minute:02}"
        assert slots("* * * * *", asked, 1, BERLIN) == ["2026-10-25 02:00"]


def test_lord_howe_jumps_by_half_an_hour() -> None:
    assert slots("15 2 * * *", "2026-10-02 20:00", 2, LORD_HOWE) == [
        "2026-10-03 15:30",  # 02:15 is skipped: 02:00 is 02:30 at once
        "2026-10-04 15:15",
    ]
    assert slots("45 1 * * *", "2026-04-03 20:00", 2, LORD_HOWE) == [
        "2026-04-04 14:45",  # the first of two
        "2026-04-05 15:15",
    ]
    assert slots("45 2 * * *", "2026-10-02 20:00", 1, LORD_HOWE) == ["2026-10-03 15:45"]


def test_utc_never_jumps() -> None:
    assert slots("30 2 * * *", "2026-03-28 03:00", 2) == ["2026-03-29 02:30", "2026-03-30 02:30"]


@pytest.mark.parametrize("tz", [BERLIN, NEW_YORK, LORD_HOWE, "UTC", "Asia/Kathmandu"])
@patient
@given(
    minute=st.integers(0, 59),
    hour=st.integers(0, 23),
    start=st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1)),
)
def test_a_daily_schedule_fires_once_on_every_day(
    tz: str, minute: int, hour: int, start: datetime
) -> None:
    when, zone = cron(f"{minute} {hour} * * *", tz), ZoneInfo(tz)
    slot = when.next(start.replace(tzinfo=UTC))
    for _ in range(3):
        following = when.next(slot)
        days = following.astimezone(zone).date() - slot.astimezone(zone).date()
        assert days == timedelta(days=1)
        slot = following


@patient
@given(
    expression=st.sampled_from(["*/7 * * * *", "*/15 1-3 * * *", "0 */2 * * *", "0 0 13 * FRI"]),
    start=st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)),
    tz=st.sampled_from([BERLIN, NEW_YORK, LORD_HOWE, "UTC"]),
    share=st.floats(0, 0.999),
)
def test_whoever_asks_between_two_slots_hears_of_the_same_one(
    expression: str, start: datetime, tz: str, share: float
) -> None:
    when = cron(expression, tz)
    first = when.next(start.replace(tzinfo=UTC))
    second = when.next(first)
    assert when.next(first + (second - first) * share) == second


# --- speed ---


@pytest.mark.parametrize(
    "expression", ["0 0 29 2 *", "59 59 23 31 12 *", "0 0 29 2 */6", "* * * * * *"]
)
def test_years_are_not_walked_through_minute_by_minute(expression: str) -> None:
    when, slot = cron(expression, BERLIN), datetime(2096, 3, 1, tzinfo=UTC)
    began = time.process_time()
    for _ in range(20):
        slot = when.next(slot)
    assert time.process_time() - began < 0.5


def test_the_leap_day_of_a_century_is_waited_for() -> None:
    assert slots("0 0 29 2 *", "2096-03-01", 1) == ["2104-02-29 00:00"]


# --- refusals ---


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("", "it has 0 fields"),
        ("* * * *", "it has 4 fields; write five"),
        ("* * * * * * *", "it has 7 fields"),
        ("60 * * * *", "minute '60': 60 is out of range; it is 0 to 59"),
        ("* 24 * * *", "hour '24': 24 is out of range; it is 0 to 23"),
        ("* * 0 * *", "day of month '0': 0 is out of range"),
        ("* * * 13 *", "month '13': 13 is out of range"),
        ("* * * * 8", "day of week '8': 8 is out of range"),
        ("* * * foo *", "'foo' is no month; it is 1 to 12, or JAN FEB"),
        ("mon * * * *", "'mon' is no minute"),
        ("50-10 * * * *", "the range runs backwards; write two, 50-59 and 0-10"),
        ("*/0 * * * *", "a step is between 1 and 60, and this one is 0"),
        ("*/90 * * * *", "a step is between 1 and 60, and this one is 90"),
        ("1,,2 * * * *", "'' is not understood"),
        ("-5 * * * *", "'-5' is not understood"),
        ("1.5 * * * *", "'1.5' is not understood"),
        ("² * * * *", "'²' is no minute"),
        ("0 0 L * *", "'l' is no day of month"),
        ("@reboot", "there is no such macro; use @yearly"),
        ("0 0 30 2 *", "it never happens, because none of its months has a day 30"),
        ("0 0 31 4,6,9,11 *", "it never happens"),
        ("0 0 31 2 */2", "it never happens"),
        (None, "an expression is text"),
    ],
)
def test_an_expression_that_cannot_be_says_why(expression: object, said: str) -> None:
    with pytest.raises(DefinitionError) as refused:
        cron(cast("str", expression))
    assert said in str(refused.value)


def test_a_day_that_never_comes_is_allowed_beside_a_weekday() -> None:
    assert slots("0 0 30 2 MON", "2026-02-01", 2) == ["2026-02-02 00:00", "2026-02-09 00:00"]


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "../etc/passwd", "europe", 3, None])
def test_a_zone_that_is_none_is_refused(zone: object) -> None:
    with pytest.raises(DefinitionError, match="there is no time zone"):
        cron("@daily", cast("str", zone))
