"""Values become JSON that jsonb holds unchanged, or are refused with their place."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import msgspec
import pytest

from stepwell.define.faithful import DEEPEST
from stepwell.define.payload import check_size, decoder, encode
from stepwell.errors import PayloadError, PayloadTooLarge


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


class Size(msgspec.Struct):
    x: int


@dataclass
class Line:
    price: Decimal


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


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"a": [{1: "x", "1": "y"}]}, r"dict at \$\.a\[0\] has two keys that are both '1' in JSON"),
        ({Colour.RED: 1, "red": 2}, r"dict at \$ has two keys that are both 'red'"),
        ({date(2030, 1, 1): 1, "2030-01-01": 2}, r"both '2030-01-01'"),
    ],
)
def test_two_keys_that_are_one_in_json_are_refused(value: Any, words: str) -> None:
    with pytest.raises(PayloadError, match=words):
        encode(value)


def test_two_keys_that_are_one_are_found_in_a_large_value_too() -> None:
    rows: list[Any] = [
        {"id": n, "names": {str(n): n}, "long": "x" * (n % 7) * 9_000} for n in range(300)
    ]
    large = {"rows": rows, "rest": ["y" * 70_000, rows]}
    assert decoder(Any)(encode(large)) == large
    with pytest.raises(PayloadError, match=r"\$\.rest\[1\]\[250\]\.names has two keys .* both '7'"):
        encode(large | {"rest": [0, [*rows[:250], {"names": {7: 1, "7": 2}}]]})
    with pytest.raises(PayloadError, match=r"dict at \$ has two keys that are both '7'"):
        encode(large | {7: 1, "7": 2})


def test_an_offset_that_json_would_round_is_refused() -> None:
    old = datetime(1930, 1, 1, tzinfo=timezone(timedelta(minutes=19, seconds=32)))
    with pytest.raises(PayloadError, match=r"time at \$\[0\]\.a is 0:19:32 from UTC.*astimezone"):
        encode([{"a": old}, datetime(2030, 1, 1, tzinfo=timezone(timedelta(hours=5.5)))])
    assert decoder(datetime)(encode(old.astimezone(UTC))) == old


@pytest.mark.parametrize("value", [1e16, -1e22, 1.5e300, 5e-324, 123456789012345678.0, 1e15, -0.0])
def test_a_float_is_written_so_that_jsonb_does_not_make_it_an_integer(value: float) -> None:
    written = encode([value, {"1e16,": "1e16"}]).decode()
    assert json.loads(written, parse_int=lambda _: "an integer") == [value, {"1e16,": "1e16"}]
    assert "e+" not in written


def test_what_is_nested_too_deeply_is_refused_with_the_way_down() -> None:
    assert decoder(Any)(encode(nested(DEEPEST))) == nested(DEEPEST)
    wide = [nested(3)] * 1000 + ['[[["\\' * 300]
    assert decoder(Any)(encode(wide)) == wide
    for depth in (DEEPEST, 900, 5000):
        with pytest.raises(PayloadError, match="nested"):
            encode({"a": nested(depth)})
    with pytest.raises(PayloadError, match=r"begins \$\.a\[1\]\.b\[0\]\[0\].*make it flatter"):
        encode({"a": [1, {"b": nested(DEEPEST)}]})


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


def test_a_payload_that_is_too_large_is_told_from_one_that_fits() -> None:
    check_size(b"x" * 100, 100, "the input")
    check_size("é" * 50, 100, "the input")
    for payload in (b"x" * 101, "é" * 51):
        with pytest.raises(
            PayloadTooLarge, match=r"the input is 10\d bytes of JSON.*allows 100 byt"
        ):
            check_size(payload, 100, "the input")
    with pytest.raises(
        PayloadTooLarge, match=r"is 20\.0 MiB of JSON, and max_payload allows 16\.0 MiB"
    ):
        check_size(b"x" * 20 * 2**20, 16 * 2**20, "the output of step 'a'")


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (Order | Line, "more than one dataclass.*tag=True"),
        (Point | dict[str, int], "more than one dict-like.*tag=True"),
        (Point | Size, "must be tagged.*give each of them tag=True"),
        (list[Order | Line], "tag=True"),
    ],
)
def test_a_union_that_json_cannot_tell_apart_says_what_helps(wanted: Any, words: str) -> None:
    with pytest.raises(PayloadError, match=words):
        decoder(wanted)


def test_an_annotation_that_no_json_fits_is_refused_when_the_reader_is_made() -> None:
    with pytest.raises(PayloadError, match="cannot be read from JSON"):
        decoder(Point | Order)
