"""Values become JSON that jsonb holds unchanged, or are refused with their place."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import msgspec
import pytest

from stepwell.define.payload import decoder, encode
from stepwell.errors import PayloadError


class Colour(Enum):
    RED = "red"


class Point(msgspec.Struct):
    x: float
    y: float = 0.0


@dataclass
class Order:
    id: UUID
    total: Decimal
    placed: datetime
    colour: Colour
    tags: set[str]
    at: Point


class Opaque:
    pass


ORDER = Order(
    UUID(int=7), Decimal("10.50"), datetime(2030, 1, 1, tzinfo=UTC), Colour.RED, {"a"}, Point(1.5)
)


@pytest.mark.parametrize("value", [0, "", False, None, [], {}, 0.5, "é", [None, {"a": None}]])
def test_plain_values_keep_their_value(value: Any) -> None:
    assert decoder(Any)(encode(value)) == value
    assert type(decoder(Any)(encode(value))) is type(value)


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (ORDER, Order),
        ([ORDER], list[Order]),
        (Point(1, 2), Point),
        (timedelta(hours=1), timedelta),
        (date(2030, 1, 1), date),
        ({"a": 1}, dict[str, int]),
        ((1, "a"), tuple[int, str]),
        (b"\x00\xff", bytes),
        (None, Order | None),
        (2**80, int),
    ],
)
def test_typed_values_work_both_ways(value: Any, wanted: Any) -> None:
    assert decoder(wanted)(encode(value)) == value


def test_text_is_read_as_well_as_bytes() -> None:
    assert decoder(int)("5") == decoder(int)(b"5") == 5


def test_what_is_not_json_is_named_with_its_type_and_place() -> None:
    with pytest.raises(PayloadError, match=r"type Opaque at \$\.pages\[1\]\.owner "):
        encode({"pages": [1, {"owner": Opaque()}]})


def test_the_place_inside_dataclasses_and_structs_is_named() -> None:
    @dataclass
    class Page:
        body: Any

    with pytest.raises(PayloadError, match=r"at \$\.body\.x cannot be written as JSON: return"):
        encode(Page(Point(Opaque())))  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_number_that_json_does_not_have_is_refused(number: float) -> None:
    with pytest.raises(PayloadError, match=r"at \$\.a\[1\] is not a JSON number; send None"):
        encode({"a": [None, number]})
    with pytest.raises(PayloadError, match=r"at \$\.y "):
        encode(Point(1, number))


def test_json_that_is_already_written_goes_through() -> None:
    assert encode([msgspec.Raw(b'{"a":null}'), None]) == b'[{"a":null},null]'


def test_a_zero_character_is_refused_because_postgres_cannot_store_it() -> None:
    with pytest.raises(PayloadError, match=r"\$\.a\[0\] contains the character U\+0000.*remove it"):
        encode({"a": ["x\0y"]})
    with pytest.raises(PayloadError, match=r"U\+0000"):
        encode({"\0": 1})


def test_a_backslash_before_u0000_is_only_text() -> None:
    assert decoder(str)(encode("\\u0000")) == "\\u0000"


@pytest.mark.parametrize("value", ["\ud800", {"a": "\udfff"}, {"\ud800": 1}])
def test_half_a_surrogate_pair_is_refused(value: Any) -> None:
    with pytest.raises(PayloadError, match=r"at \$.*surrogate.*remove it"):
        encode(value)


def test_a_value_that_contains_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(PayloadError, match="contains itself"):
        encode(loop)


def test_a_generator_is_refused() -> None:
    def numbers() -> Iterator[int]:
        yield 1

    with pytest.raises(PayloadError, match="generator"):
        encode(numbers())


def test_a_key_that_is_no_text_is_refused() -> None:
    with pytest.raises(PayloadError, match=r"dict at \$\.a .*keys"):
        encode({"a": {(1, 2): 3}})


@pytest.mark.parametrize(
    ("payload", "wanted", "words"),
    [
        (b'{"x": "far"}', Point, r"does not fit Point.*float.*\$\.x"),
        (b'[{"x": 1}, 5]', list[Point], r"does not fit list\[.*\$\[1\]"),
        (b"{nope", dict, "malformed"),
        (b'"\xff"', str, "does not fit str"),
    ],
)
def test_json_that_does_not_fit_says_where(payload: bytes, wanted: Any, words: str) -> None:
    with pytest.raises(PayloadError, match=words):
        decoder(wanted)(payload)


def test_an_annotation_that_no_json_fits_is_refused_when_the_reader_is_made() -> None:
    with pytest.raises(PayloadError, match="cannot be read from JSON"):
        decoder(Point | Order)
