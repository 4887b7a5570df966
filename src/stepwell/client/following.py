"""What happens to runs, as it happens. For Client."""

from __future__ import annotations

from uuid import UUID

from stepwell.client.identity import Target, address_of
from stepwell.client.reading import the_run
from stepwell.client.session import Session
from stepwell.client.stream import EventStream
from stepwell.db.inspect import find_run


class Following:
    """Streams of events."""

    _session: Session

    def events(self, target: Target) -> EventStream:
        """What happens to the run of that id or key from now on, to the event that ends it; of a
        run that has ended that one alone. NotFound when there is none."""
        session, address = self._session, address_of(target)

        async def found() -> UUID:
            if isinstance(address, UUID):
                return address
            return the_run(address, await session.pool.run(find_run(address)))

        return EventStream(session.feed, found)

    def all_events(self) -> EventStream:
        """What happens to all runs from now on. It does not end."""
        return EventStream(self._session.feed, None)
