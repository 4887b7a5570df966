"""What happens to runs, as it happens, for programs without an event loop."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Self
from uuid import UUID

import psycopg

from stepwell.client.events import (
    GROWTH,
    LEASE,
    LONGEST,
    OUTAGE,
    PAGE,
    RENEWED,
    SETTLING,
    SHORTEST,
    Place,
    RunEvent,
)
from stepwell.db.call import Call, Row
from stepwell.db.connect import hopeless, passing
from stepwell.db.events import (
    events_between,
    events_of,
    keep_listening,
    listen_to,
    stop_listening,
    transactions,
)
from stepwell.db.sync_pool import SyncPool
from stepwell.errors import DatabaseUnavailable, EventsMissed, StepwellError

Address = Callable[[], UUID]


class SyncEventStream(Iterator[RunEvent]):
    """What EventStream is, with blocking calls. It asks while somebody waits for an event; who does
    not come back for five minutes has missed some."""

    def __init__(self, pool: SyncPool, address: Address | None) -> None:
        self._pool = pool
        self._address = address
        self._events = deque[RunEvent]()
        self._place: Place | None = None
        self._renewed = 0.0
        self._over = False

    def __enter__(self) -> Self:
        self._begin()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __next__(self) -> RunEvent:
        place = self._begin()
        pause = SHORTEST
        while not self._events:
            if self._over or place is None:
                raise StopIteration
            if not self._read(place):
                time.sleep(pause)
                pause = min(pause * GROWTH, LONGEST)
        event = self._events.popleft()
        if event.ended and self._address is not None:
            self._events.clear()
            self.close()
        return event

    def close(self) -> None:
        """Stop listening; what was not read is gone."""
        over, self._over = self._over, True
        if not over and self._place is not None:
            with suppress(psycopg.Error, StepwellError):  # else it lapses
                with self._pool.connection() as conn:
                    stop_listening([self._place.listener]).on_sync(conn)

    def _begin(self) -> Place | None:
        if self._place is None and not self._over:
            place = Place(None if self._address is None else self._address())
            [begun] = self._pool.run(listen_to(place.listener, place.run_id, LEASE))
            self._renewed = time.monotonic()
            self._place = place
            if (last := place.begin(begun)) is not None:
                self._events.append(last)
            elif place.run_id is None:
                self._settle()
        return self._place

    def _settle(self) -> None:
        """Wait for what was under way before anybody could know of us, but not for long."""
        deadline = time.monotonic() + SETTLING
        [before] = [now] = self._pool.run(transactions())
        while now.oldest < before.next and time.monotonic() < deadline:
            time.sleep(SHORTEST)
            [now] = self._pool.run(transactions())

    def _read(self, place: Place) -> bool:
        """True when there is something new. An outage is waited for."""
        if time.monotonic() - self._renewed > RENEWED and not self._renew(place):
            return bool(self._events)
        if place.run_id is None:
            rows = self._ask(events_between(place.seen, place.until, place.after, PAGE))
            found = place.of_all(rows) if rows else []
        else:
            found = place.of_run(self._ask(events_of([place.run_id], [place.after], PAGE)) or ())
        self._events.extend(found)
        return bool(found)

    def _renew(self, place: Place) -> bool:
        kept = self._ask(keep_listening([place.listener], LEASE))
        if kept is None:
            return False
        self._renewed = time.monotonic()
        if kept:
            return True
        if place.run_id is None:
            self._over = True
            raise EventsMissed
        [begun] = self._pool.run(listen_to(place.listener, place.run_id, LEASE))
        if (last := place.resume(begun)) is not None:
            self._events.append(last)
        return not self._events

    def _ask(self, call: Call[Row]) -> list[Row] | None:
        """None while the database is away."""
        try:
            with self._pool.connection() as conn:
                return call.on_sync(conn)
        except psycopg.OperationalError as error:
            if hopeless(error):
                raise DatabaseUnavailable(str(error).strip()) from error
            if not passing(error):
                raise
            time.sleep(OUTAGE)
            return None
