# made by tools/sync.py out of client/client.py: change that, and run `python -m tools.sync`
"""The client: start runs, find them, signal and steer them."""

from __future__ import annotations

from typing import Any, Self, TypeVar, overload
from uuid import UUID

from stepwell.client.identity import Target, actor_of, run_id_of, settings_of
from stepwell.client.reading import LONGEST_LIST, RunInfo, checked_limit, reader_of
from stepwell.client.sync.feed import SyncFeed
from stepwell.client.sync.finding import SyncFinding
from stepwell.client.sync.following import SyncFollowing
from stepwell.client.sync.gathering import SyncGathering
from stepwell.client.sync.keeping import SyncKeeping
from stepwell.client.sync.messaging import SyncMessaging
from stepwell.client.sync.run import SyncRun
from stepwell.client.sync.schedules import SyncSchedules
from stepwell.client.sync.session import SyncSession
from stepwell.client.sync.signalling import SyncSignalling
from stepwell.client.sync.steering import SyncSteering
from stepwell.client.sync.waiter import SyncWaiter
from stepwell.client.versions import Versions
from stepwell.client.wakes import SyncWakes
from stepwell.db.explain import Reason
from stepwell.db.steer import AuditEntry, audit_of
from stepwell.db.sync.pool import SyncPool
from stepwell.define.definition import AnyFlow, AnyJob
from stepwell.define.flow import Flow
from stepwell.observe.traces import Traces
from stepwell.settings import Settings

Out = TypeVar("Out")


class SyncClient(
    SyncSignalling,
    SyncSteering,
    SyncFinding,
    SyncGathering,
    SyncFollowing,
    SyncMessaging,
    SyncKeeping,
):
    """Starts runs and waits for them. It opens connections when it needs them, so making one
    costs nothing; close it, or use it in `with`. SyncClient has the same calls for programs
    without an event loop, and threads may share it.

    With `conn`, a connection of your own, or a session or connection of SQLAlchemy, a start or a
    signal is part of your transaction: nothing is started when you roll back.

    >>> client = SyncClient("postgresql://ada@db.example/shop")
    """

    def __init__(self, dsn: str | None = None, *, settings: Settings | None = None) -> None:
        self._settings = settings_of(dsn, settings)
        pool = self._open_pool(self._settings)
        self._session = SyncSession(
            pool,
            SyncWaiter(pool),
            SyncWakes(pool),
            SyncFeed(pool),
            actor_of(self._settings),
            self._settings.max_payload,
        )
        self._versions = Versions()
        self._traces = Traces(self._settings.traces)
        self._retention = self._settings.retention

    @property
    def schedules(self) -> SyncSchedules:
        """The schedules of the database."""
        return SyncSchedules(self._session)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. Who waits in its event loop for a run or events gets an error."""
        self._session.close()

    def _open_pool(self, settings: Settings) -> SyncPool:
        """The testing kit has one whose connections see another time."""
        return SyncPool(
            settings.dsn,
            timeout=settings.connect_timeout,
            application_name="stepwell client",
        )

    @overload
    def run(self, run_id: UUID | str) -> SyncRun[Any]: ...
    @overload
    def run(self, run_id: UUID | str, of: Flow[Any, Out]) -> SyncRun[Out]: ...
    @overload
    def run(self, run_id: UUID | str, of: AnyJob) -> SyncRun[Any]: ...
    def run(self, run_id: UUID | str, of: AnyFlow | AnyJob | None = None) -> SyncRun[Any]:
        """A handle on a run that was started before, by whomever; `of` is the flow or job that
        types its result."""
        return SyncRun(run_id_of(run_id), False, self._session, reader_of(of))

    def get(self, target: Target) -> RunInfo:
        """The run of that id or key as it is now; NotFound when there is none."""
        return self.find(target).info()

    def explain(self, target: Target) -> list[Reason]:
        """Why the run of that id or key is not moving, what is worst first."""
        return self.find(target).explain()

    def audit(self, target: Target | None = None, limit: int = 100) -> list[AuditEntry]:
        """What was done by hand, newest first: to one run, or to all."""
        run_id = None if target is None else self.find(target).id
        return self._session.pool.run(audit_of(run_id, checked_limit(limit, LONGEST_LIST)))
