"""What a jsonb column gives back is what was put in."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stepwell.define.payload import decoder, encode
from tests.unit.payload_kinds import KINDS, plain
from tests.unit.test_payload_kinds import shape

from .conftest import Connect

some = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
EXTREMES = [1e16, -1e22, 1.7976931348623157e308, 5e-324, 0.1 + 0.2, 1.0, 2**63, -(2**200), 10**300]
everything = st.sampled_from(KINDS).flatmap(lambda kind: st.tuples(st.just(kind[0]), kind[1]))


def test_values_come_back_from_jsonb_with_their_types(connect: Connect) -> None:
    conn = connect()

    def stored(value: Any) -> str:
        payload = encode(value).decode()
        return conn.execute("select (%s::text::jsonb)::text", [payload]).fetchall()[0][0]

    @some
    @given(st.lists(plain, max_size=20))
    def without_annotation(values: list[Any]) -> None:
        again = decoder(Any)(stored(values))
        assert again == values
        assert shape(again) == shape(values)

    @some
    @given(st.lists(everything, min_size=5, max_size=10))
    def by_annotation(pairs: list[tuple[Any, Any]]) -> None:
        for wanted, value in pairs:
            assert decoder(wanted)(stored(value)) == value

    without_annotation()
    by_annotation()
    again = decoder(Any)(stored(EXTREMES))
    assert [(type(each), each) for each in again] == [(type(each), each) for each in EXTREMES]
    assert str(decoder(Any)(stored(-0.0))) == "0.0"  # the one that changes: jsonb has no sign there
