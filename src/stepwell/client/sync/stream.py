"""A stream of events for programs without an event loop."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Self
from uuid import UUID

from stepwell.client.events import GROWTH, LONGEST, RENEWED, SHORTEST, Place, RunEvent
from stepwell.client.sync.feed import SyncFeed
from stepwell.errors import EventsMissed

Address = Callable[[], UUID]


class SyncEventStream(Iterator[RunEvent]):
    """What EventStream is, with blocking calls. It asks while somebody waits for an event; who does
    not come back for five minutes has missed some."""

    def __init__(self, feed: SyncFeed, address: Address | None) -> None:
        self._feed = feed
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
            self._read(place)
            if not self._events:
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
            self._feed.leave(self._place)

    def _begin(self) -> Place | None:
        if self._place is None and not self._over:
            place = Place(None if self._address is None else self._address())
            self._put(self._feed.join(place))
            self._renewed = time.monotonic()
            self._place = place
        return self._place

    def _read(self, place: Place) -> None:
        """An outage is waited for."""
        if time.monotonic() - self._renewed <= RENEWED or self._renew(place):
            self._events.extend(self._feed.read(place))

    def _renew(self, place: Place) -> bool:
        """Whether there is more to read."""
        kept = self._feed.renew(place)
        if kept is None:
            return False
        self._renewed = time.monotonic()
        if not kept and place.run_id is None:
            self._over = True
            raise EventsMissed
        if not kept:
            self._put(self._feed.again(place))
        return not self._events

    def _put(self, last: RunEvent | None) -> None:
        if last is not None:
            self._events.append(last)
