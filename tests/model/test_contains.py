"""`@>` as Postgres answers it."""

from __future__ import annotations

import json

import pytest

from .contains import contains

TRUE = [
    ("{}", "{}"),
    ('{"a":1}', "{}"),
    ('{"a":{"b":1,"c":2}}', '{"a":{"b":1}}'),
    ('{"a":[1,2,3]}', '{"a":[3,1,1]}'),
    ('{"a":[{"b":1,"c":2}]}', '{"a":[{"b":1}]}'),
    ('{"a":[[1,2]]}', '{"a":[[2]]}'),
    ('{"a":null}', '{"a":null}'),
    ('{"a":1.0}', '{"a":1}'),
    ('{"a":[]}', '{"a":[]}'),
]
FALSE = [
    ("5", "{}"),
    ("[]", "{}"),
    ("null", "{}"),
    ("{}", '{"a":null}'),
    ('{"a":1}', '{"a":true}'),
    ('{"a":0}', '{"a":false}'),
    ('{"a":"1"}', '{"a":1}'),
    ('{"a":[1]}', '{"a":1}'),
    ('{"a":[1]}', '{"a":{}}'),
    ('{"a":{}}', '{"a":[]}'),
    ('{"a":[1]}', '{"a":[1,2]}'),
    ('{"a":[1]}', '{"a":[[1]]}'),
]


@pytest.mark.parametrize(("left", "right"), TRUE)
def test_contained(left: str, right: str) -> None:
    assert contains(json.loads(left), json.loads(right))


@pytest.mark.parametrize(("left", "right"), FALSE)
def test_not_contained(left: str, right: str) -> None:
    assert not contains(json.loads(left), json.loads(right))
