"""Of two types that are said never to fit, no value of one is one of the other."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, Phase, given, settings

from stepwell.define.compatible import never_fits
from stepwell.define.payload import decoder, encode
from stepwell.errors import PayloadError

from .payload_kinds import KINDS, Values

few = settings(
    max_examples=12,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
EMPTY = (b"[]", b"{}")  # which fit whatever their elements would be


def test_nothing_is_refused_that_fits() -> None:
    payloads = {place: written(values) for place, (_, values) in enumerate(KINDS)}
    refused = 0
    for place, (produced, _) in enumerate(KINDS):
        for wanted, _ in KINDS:
            if never_fits(produced, wanted) is not None:
                refused += 1
                fitting = [each for each in payloads[place] if fits(each, wanted)]
                assert fitting == [], f"{produced} as {wanted}"
    assert refused > len(KINDS) ** 2 / 2


def written(values: Values) -> list[bytes]:
    found: list[bytes] = []

    @few
    @given(values)
    def collect(value: Any) -> None:
        payload = encode(value)
        if value is not None and not any(empty in payload for empty in EMPTY):
            found.append(payload)

    collect()
    return found


def fits(payload: bytes, wanted: Any) -> bool:
    try:
        decoder(wanted)(payload)
    except PayloadError:
        return False
    return True
