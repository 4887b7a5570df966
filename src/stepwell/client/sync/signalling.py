# made by tools/sync.py out of client/signalling.py: change that, and run `python -m tools.sync`
"""Send signals, and start their target first if need be. For SyncClient."""

from __future__ import annotations

from stepwell.client.batch import Batch, begun, wakes_of
from stepwell.client.identity import Target, address_of
from stepwell.client.signals import RACES, Message, Signalled, message_of, start_of, wake_of
from stepwell.client.sync.flows import SyncFlows
from stepwell.db.theirs import TheirsSync
from stepwell.define.startable import Startable
from stepwell.errors import NoTarget


class SyncSignalling(SyncFlows):
    """Signals are kept in an inbox of the run until a step goes on with them."""

    def signal(
        self,
        target: Target,
        name: str,
        payload: object = None,
        *,
        dedup_key: str | None = None,
        start: Startable | None = None,
        conn: TheirsSync | None = None,
    ) -> Signalled:
        """Leave a signal for a live run, by its id, its key or its handle; NoTarget when there is
        none, also when it ends at this very moment.

        A run takes one signal per `dedup_key`, however long ago the first came. With `start`, the
        run that the key addresses is started if none is live, in the same transaction. With
        `conn`, the signal is part of your transaction.
        """
        address = address_of(target)
        message = message_of(
            address,
            name,
            payload,
            dedup_key,
            repeatable=conn is None,
            most=self._session.max_payload,
        )
        if start is not None:
            return self._start_and_signal(start_of(start, address), message, conn)
        [row] = self._session.pool.run(message.call, conn)
        self._wake(wake_of(row), conn)
        return message.sent(row)

    def _start_and_signal(
        self, batch: Batch, message: Message, conn: TheirsSync | None
    ) -> Signalled:
        for race in range(RACES):
            try:
                *rows, row = self._started([batch], [message.call], conn)
            except NoTarget:  # the run was live when it was found, and ended before the signal came
                if conn is not None or race == RACES - 1:
                    raise
            else:
                self._wake(wakes_of([batch], begun([batch], rows)) + wake_of(row), conn)
                return message.sent(row)
        raise AssertionError
