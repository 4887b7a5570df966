"""The client: start runs, find them, signal and steer them."""

from __future__ import annotations

from typing import Any, Self, TypeVar, overload
from uuid import UUID

from stepwell.client.feed import Feed
from stepwell.client.finding import Finding
from stepwell.client.following import Following
from stepwell.client.gathering import Gathering
from stepwell.client.identity import Target, actor_of, run_id_of, settings_of
from stepwell.client.keeping import Keeping
from stepwell.client.messaging import Messaging
from stepwell.client.reading import LONGEST_LIST, RunInfo, checked_limit, reader_of
from stepwell.client.run import Run
from stepwell.client.schedules import Schedules
from stepwell.client.session import Session
from stepwell.client.signalling import Signalling
from stepwell.client.steering import Steering
from stepwell.client.sync.client import SyncClient  # async only
from stepwell.client.versions import Versions
from stepwell.client.waiter import Waiter
from stepwell.client.wakes import Wakes
from stepwell.db.explain import Reason
from stepwell.db.pool import Pool
from stepwell.db.steer import AuditEntry, audit_of
from stepwell.define.definition import AnyFlow, AnyJob
from stepwell.define.flow import Flow
from stepwell.observe.traces import Traces
from stepwell.settings import Settings

Out = TypeVar("Out")


class Client(Signalling, Steering, Finding, Gathering, Following, Messaging, Keeping):
    """Starts runs and waits for them. It opens connections when it needs them, so making one
    costs nothing; close it, or use it in `async with`. SyncClient has the same calls for programs
    without an event loop, and threads may share it.

    With `conn`, a connection of your own, or a session or connection of SQLAlchemy, a start or a
    signal is part of your transaction: nothing is started when you roll back.

    >>> client = Client("postgresql://ada@db.example/shop")
    """

    def __init__(self, dsn: str | None = None, *, settings: Settings | None = None) -> None:
        self._settings = settings_of(dsn, settings)
        pool = self._open_pool(self._settings)
        self._session = Session(
            pool,
            Waiter(pool),
            Wakes(pool),
            Feed(pool),
            actor_of(self._settings),
            self._settings.max_payload,
        )
        self._versions = Versions()
        self._traces = Traces(self._settings.traces)
        self._retention = self._settings.retention

    @property
    def schedules(self) -> Schedules:
        """The schedules of the database."""
        return Schedules(self._session)

    @staticmethod
    def sync(  # async only
        dsn: str | None = None, *, settings: Settings | None = None
    ) -> SyncClient:
        """A client with the same calls for programs without an event loop."""
        return SyncClient(dsn, settings=settings)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections. Who waits in its event loop for a run or events gets an error."""
        await self._session.close()

    def _open_pool(self, settings: Settings) -> Pool:
        """The testing kit has one whose connections see another time."""
        return Pool(
            settings.dsn,
            timeout=settings.connect_timeout,
            application_name="stepwell client",
        )

    @overload
    def run(self, run_id: UUID | str) -> Run[Any]: ...
    @overload
    def run(self, run_id: UUID | str, of: Flow[Any, Out]) -> Run[Out]: ...
    @overload
    def run(self, run_id: UUID | str, of: AnyJob) -> Run[Any]: ...
    def run(self, run_id: UUID | str, of: AnyFlow | AnyJob | None = None) -> Run[Any]:
        """A handle on a run that was started before, by whomever; `of` is the flow or job that
        types its result."""
        return Run(run_id_of(run_id), False, self._session, reader_of(of))

    async def get(self, target: Target) -> RunInfo:
        """The run of that id or key as it is now; NotFound when there is none."""
        return await (await self.find(target)).info()

    async def explain(self, target: Target) -> list[Reason]:
        """Why the run of that id or key is not moving, what is worst first."""
        return await (await self.find(target)).explain()

    async def audit(self, target: Target | None = None, limit: int = 100) -> list[AuditEntry]:
        """What was done by hand, newest first: to one run, or to all."""
        run_id = None if target is None else (await self.find(target)).id
        return await self._session.pool.run(audit_of(run_id, checked_limit(limit, LONGEST_LIST)))
