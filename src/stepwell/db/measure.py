"""What a database has before it, as numbers. One bounded statement."""

from __future__ import annotations

from dataclasses import dataclass

from stepwell.db.call import Call


@dataclass(frozen=True, slots=True)
class Measured:
    """A number, by its metric and what it is of; no label: of the database."""

    metric: str
    label: str
    value: float


def measure() -> Call[Measured]:
    return Call("select * from pgflow.measure()", (), Measured)
