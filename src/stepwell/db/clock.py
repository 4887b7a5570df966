"""The clock of one connection: the real one, until somebody moves it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from stepwell.db.call import Call

SETTING = "pgflow.now"


@dataclass(frozen=True, slots=True)
class Moved:
    at: datetime


def move_clock(at: datetime) -> Call[Moved]:
    """From now on it is `at` for everything that this connection calls."""
    return Call(
        "select set_config(%s, %s::timestamptz::text, false)::timestamptz as at",
        (SETTING, at),
        Moved,
    )
