# made by tools/sync.py out of client/following.py: change that, and run `python -m tools.sync`
"""What happens to runs, as it happens. For SyncClient."""

from __future__ import annotations

from uuid import UUID

from stepwell.client.identity import Target, address_of
from stepwell.client.reading import the_run
from stepwell.client.sync.session import SyncSession
from stepwell.client.sync.stream import SyncEventStream
from stepwell.db.inspect import find_run


class SyncFollowing:
    """Streams of events."""

    _session: SyncSession

    def events(self, target: Target) -> SyncEventStream:
        """What happens to the run of that id or key from now on, to the event that ends it; of a
        run that has ended that one alone. NotFound when there is none."""
        session, address = self._session, address_of(target)

        def found() -> UUID:
            if isinstance(address, UUID):
                return address
            return the_run(address, session.pool.run(find_run(address)))

        return SyncEventStream(session.feed, found)

    def all_events(self) -> SyncEventStream:
        """What happens to all runs from now on. It does not end."""
        return SyncEventStream(self._session.feed, None)
