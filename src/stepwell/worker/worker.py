"""One worker: claim, execute, commit, until told to stop. Start reading here, then incarnation.py
(the nesting of lifetimes), turns.py (claim and commit) and execute.py (one handler)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, cast

from stepwell.compile import deploy
from stepwell.compile.schedules import deploy_schedules
from stepwell.db import migrate
from stepwell.db.link import Link, Outage
from stepwell.define.app import Stepwell
from stepwell.define.flow import Flow
from stepwell.errors import DefinitionError
from stepwell.settings import Settings
from stepwell.worker.binding import Bindings
from stepwell.worker.incarnation import Incarnation
from stepwell.worker.lanes import Lanes


class Worker:
    """Runs the handlers of an app. Many workers may serve the same app, on any machines.

    It deploys its app when it starts, claims only versions it has code for, and survives a
    database that goes away. `run` ends after `stop`.
    """

    def __init__(
        self,
        app: Stepwell | Iterable[Flow[Any, Any]],
        settings: Settings | None = None,
        *,
        name: str | None = None,
    ) -> None:
        self._app = app if isinstance(app, Stepwell) else Stepwell(flows=app)
        if not self._app.registry.slugs:
            raise DefinitionError(
                "a worker needs something to run: Stepwell(flows=[...], machines=[...], jobs=[...])"
            )
        self._settings = settings or Settings.from_env()
        self._name = name or self._app.name or self._settings.name
        self._lanes = Lanes()
        self._stopping = asyncio.Event()
        self._current: Incarnation | None = None

    def stop(self, *, now: bool = False) -> None:
        """Claim nothing more and let handlers end within the grace period; `now`: cut them off."""
        self._stopping.set()
        if self._current:
            self._current.stop(now=now)

    async def run(self) -> None:
        """Serve until stopped. SchemaError when the database is not of this version."""
        outage = Outage()
        link = Link(self._settings.dsn, outage, self._settings.connect_timeout)
        try:
            async with asyncio.TaskGroup() as group:
                stopping = group.create_task(self._stopping.wait())
                preparing = group.create_task(self._prepare(link))
                await asyncio.wait({stopping, preparing}, return_when=asyncio.FIRST_COMPLETED)
                if preparing.done():
                    refreshing = group.create_task(self._keep_fresh(link))
                    await self._serve(outage)
                    refreshing.cancel()
                preparing.cancel()
                stopping.cancel()
        except BaseExceptionGroup as group:
            raise first_of(group) from group
        finally:
            await link.close()

    async def _prepare(self, link: Link) -> None:
        migrate.check(await link.keep(migrate.read_schema))
        await deploy.deploy(link, self._app)
        await deploy_schedules(link, self._app.schedules)
        await self._refresh(link)

    async def _serve(self, outage: Outage) -> None:
        """One incarnation after the other: a lapsed lease is never taken up again."""
        bindings = Bindings(self._app)
        while not self._stopping.is_set():
            current = Incarnation(self._settings, self._name, bindings, self._lanes, outage)
            self._current = current
            await current.run()
            if not current.lapsed:
                self._stopping.set()  # drained from outside

    async def _keep_fresh(self, link: Link) -> None:
        """Others deploy too: look now and then for versions that this code can serve."""
        while True:
            await self._lanes.stale(after=self._settings.lease / 3)
            if await self._refresh(link) and self._current:
                self._current.lanes_changed()

    async def _refresh(self, link: Link) -> bool:
        found = zip(*await deploy.lanes(link, self._app), strict=True)
        served = [lane for lane in found if self._settings.serves(lane[0])]
        return self._lanes.replace([q for q, _ in served], [version for _, version in served])


def first_of(error: BaseException) -> BaseException:
    """The error that ended the worker, out of the task groups that it went through."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    return first_of(cast("BaseExceptionGroup[BaseException]", error).exceptions[0])
