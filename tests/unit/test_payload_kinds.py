"""Values of every kind come back as they were, for the program and in between for jsonb."""

from __future__ import annotations

import json
import sys
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stepwell.define.compatible import never_fits
from stepwell.define.fits import never_json
from stepwell.define.payload import decoder, encode

from .payload_kinds import KINDS, Values, plain

few = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize(("wanted", "values"), KINDS, ids=[str(kind) for kind, _ in KINDS])
def test_a_value_comes_back_as_it_was(wanted: Any, values: Values) -> None:
    assert never_json(wanted) is None
    read = decoder(wanted)

    @few
    @given(values)
    def comes_back(value: Any) -> None:
        for payload in (encode(value), as_jsonb(encode(value))):
            again = read(payload)
            assert again == value
            assert type(again) is type(value)

    comes_back()


@few
@given(st.lists(plain, min_size=5))
def test_what_has_no_annotation_keeps_its_type(value: Any) -> None:
    again = decoder(Any)(as_jsonb(encode(value)))
    assert again == value
    assert shape(again) == shape(value)


NEWER = """
from dataclasses import dataclass

type Rows = list[Row]

@dataclass
class Row:
    id: int

@dataclass
class Box[T]:
    content: T
"""


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the syntax is that of Python 3.12")
def test_types_in_the_syntax_of_newer_pythons() -> None:
    names: dict[str, Any] = {"__name__": __name__}
    exec(NEWER, names)
    rows_type, box = names["Rows"], names["Box"]
    rows = [names["Row"](1)]
    for wanted, value in (
        (rows_type, rows),
        (list[rows_type], [rows]),
        (box[rows_type], box(rows)),
        (rows_type | None, None),
    ):
        assert decoder(wanted)(encode(value)) == value
    assert str(never_fits(rows_type, list[str])) == "Row can never be read as str at $[0]"


def as_jsonb(payload: bytes) -> bytes:
    """As jsonb gives it back: a number is a numeric, an object has its keys in another order."""
    value = json.loads(payload, parse_float=Number, parse_int=Number)
    return written(value).encode()


class Number(Decimal):
    """Written in full, as numeric is."""


def written(value: Any) -> str:
    if isinstance(value, Number):
        return format(value, "f")
    if isinstance(value, dict):
        pairs: Any = sorted(value.items(), key=lambda pair: (len(pair[0]), pair[0]))  # pyright: ignore
        parts = ", ".join(f"{json.dumps(key)}: {written(part)}" for key, part in pairs)
        return f"{{{parts}}}"
    if isinstance(value, list):
        return f"[{', '.join(written(each) for each in value)}]"  # pyright: ignore
    return json.dumps(value)


def shape(value: Any) -> Any:
    """The types in a value, as 1 == 1.0 == True."""
    if isinstance(value, dict):
        return {key: shape(part) for key, part in value.items()}  # pyright: ignore
    return [shape(part) for part in value] if isinstance(value, list) else type(value)  # pyright: ignore
