"""Limits to JSON."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from stepwell.compile.shape import canonical
from stepwell.define.limits import ConcurrencyLimit, Limit, QueueLimit, RateLimit


def compile_limits(limits: Iterable[Limit]) -> str:
    """Turn limits into canonical JSON: a list of objects."""
    return canonical([_limit(limit) for limit in limits])


def _limit(limit: Limit) -> dict[str, Any]:
    match limit:
        case RateLimit():
            said = {"capacity": limit.capacity, "perSecond": limit.per_second}
            return {"kind": "rate", "name": limit.name, **said}
        case ConcurrencyLimit():
            return {"kind": "concurrency", "name": limit.name, "capacity": limit.slots}
        case QueueLimit():
            return {"kind": "queue", "name": limit.queue, "capacity": limit.slots}
