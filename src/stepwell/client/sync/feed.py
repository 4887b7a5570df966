"""What Feed is, with blocking calls: each stream asks for itself, while somebody waits for it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress

import psycopg

from stepwell.client.events import LEASE, OUTAGE, PAGE, Place, RunEvent
from stepwell.client.sync.settling import settle
from stepwell.db.call import Call, Row
from stepwell.db.connect import raise_unless_passing
from stepwell.db.events import (
    events_between,
    events_of,
    keep_listening,
    listen_to,
    stop_listening,
)
from stepwell.db.sync.pool import SyncPool
from stepwell.errors import StepwellError


class SyncFeed:
    """Threads may share it. An outage of the database only makes it later, if it is shorter than a
    lease."""

    def __init__(self, pool: SyncPool) -> None:
        self._pool = pool

    def join(self, place: Place) -> RunEvent | None:
        """From now on nothing is missed. A run that has ended has one event."""
        [begun] = self._pool.run(listen_to(place.listener, place.run_id, LEASE))
        last = place.begin(begun)
        if place.run_id is None:
            settle(self._pool)
        return last

    def read(self, place: Place) -> Sequence[RunEvent]:
        """What is new."""
        if place.run_id is not None:
            return place.of_run(self._ask(events_of([place.run_id], [place.after], PAGE)) or ())
        rows = self._ask(events_between(place.seen, place.until, place.after, PAGE))
        return place.of_all(rows) if rows else ()

    def renew(self, place: Place) -> bool | None:
        """False when its lease has lapsed; None while the database is away."""
        kept = self._ask(keep_listening([place.listener], LEASE))
        return None if kept is None else bool(kept)

    def again(self, place: Place) -> RunEvent | None:
        """After a lease that lapsed. Of one run its end is what matters, and that comes."""
        [begun] = self._pool.run(listen_to(place.listener, place.run_id, LEASE))
        return place.resume(begun)

    def leave(self, place: Place) -> None:
        """The database hears of it; if it cannot, the lease lapses."""
        with suppress(psycopg.Error, StepwellError), self._pool.connection() as conn:
            stop_listening([place.listener]).on_sync(conn)

    def _ask(self, call: Call[Row]) -> list[Row] | None:
        """None while the database is away."""
        try:
            with self._pool.connection() as conn:
                return call.on_sync(conn)
        except psycopg.OperationalError as error:
            raise_unless_passing(error)
            time.sleep(OUTAGE)
            return None
