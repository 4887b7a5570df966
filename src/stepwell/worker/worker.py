"""One worker: claim, execute, commit, until told to stop. Start reading here, then incarnation.py
(the nesting of lifetimes), turns.py (claim and commit) and execute.py (one handler)."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Iterator, Set
from contextlib import suppress
from typing import Any, cast

from stepwell.compile import deploy
from stepwell.compile.adopt import Adopted
from stepwell.db.link import Link, Outage
from stepwell.define.app import Stepwell
from stepwell.define.flow import Flow
from stepwell.errors import DefinitionError, NotReady
from stepwell.observe.emit import emit
from stepwell.observe.events import SettingUnused
from stepwell.settings import Settings
from stepwell.worker.binding import Bindings
from stepwell.worker.health import endpoint
from stepwell.worker.imported import check_findable
from stepwell.worker.incarnation import Incarnation
from stepwell.worker.lanes import Lanes
from stepwell.worker.measuring import Measuring
from stepwell.worker.modules import Backoff
from stepwell.worker.starter import Starter
from stepwell.worker.starting import Starting, modules_of
from stepwell.worker.vitals import Vitals
from stepwell.worker.wake import Ears

TOGETHER = 0.2  # seconds


class Worker:
    """Runs the handlers of an app. Many workers may serve the same app, on any machines.

    It brings up what its app defines, each definition by itself, and serves what has come up while
    it goes on trying the rest (`starter` says how far it is). It claims only versions it has code
    for, and survives a database that goes away. `run` ends after `stop`.
    """

    def __init__(
        self,
        app: Stepwell | Iterable[Flow[Any, Any]],
        settings: Settings | None = None,
        *,
        name: str | None = None,
        backoff: Backoff | None = None,
        number: int | None = None,
    ) -> None:
        """`number`: which of several processes it is; its name says so."""
        self._app = app if isinstance(app, Stepwell) else Stepwell(flows=app)
        if not (self._app.registry.slugs or self._app.queues or self._app.handlers):
            raise DefinitionError(
                "a worker needs something to run: Stepwell(flows=[...], machines=[...], "
                "jobs=[...], queues=[...], handlers=[...])"
            )
        self._settings = settings or Settings.from_env()
        named = name or self._app.name or self._settings.name
        self._name = named if number is None else f"{named}-{number}"
        self._lanes = Lanes()
        self._adopted = Adopted(check_findable)
        self._stopping = asyncio.Event()
        self._has_run = False
        self._complained = False
        self._outage = Outage()
        listens = self._settings.wake == "notify"
        self._ears = Ears(self._settings.listen_dsn or self._settings.dsn) if listens else None
        self._starting = Starting(self._app, self._settings, self._ears)
        self._starter = Starter(modules_of(self._app), self._starting.phases, backoff=backoff)
        self._bindings: Bindings | None = None
        self._vitals = Vitals(self._name, self._starter, self._lanes, self._outage)
        self._measuring = Measuring(self._settings, self._vitals)

    def stop(self, *, now: bool = False) -> None:
        """Claim nothing more and let handlers end within the grace period; `now`: cut them off."""
        self._stopping.set()
        self._vitals.stopping = True
        if current := self._vitals.current:
            current.stop(now=now)

    @property
    def starter(self) -> Starter:
        """How far each flow, machine and job is on its way to being served."""
        return self._starter

    def status(self) -> dict[str, Any]:
        """How it is, as its health endpoint says it."""
        return self._vitals.status()

    async def run(self) -> None:
        """Serve until stopped. SchemaError when the database is not of this version; when nothing
        at all can be served, what the first definition failed with."""
        if self._has_run:
            raise RuntimeError("this worker runs, or has run; make another Worker for another run")
        self._has_run = True
        settings = self._settings
        link = Link(settings.dsn, self._outage, settings.connect_timeout)
        try:
            async with (
                self._measuring.counting(),
                endpoint(
                    self._vitals,
                    settings.health_host,
                    settings.health_port,
                    self._measuring.metrics,
                ),
                asyncio.TaskGroup() as group,
            ):
                tasks = [group.create_task(each) for each in self._around(link)]
                if await self._something_to_serve():
                    await self._serve()
                for task in tasks:
                    task.cancel()
        except BaseExceptionGroup as group:
            raise first_of(group) from group
        finally:
            await self._starting.close()
            await link.close()

    def _around(self, link: Link) -> Iterator[Coroutine[Any, Any, None]]:
        """What goes on beside serving."""
        yield self._starter.run()
        yield self._keep_fresh(link)
        yield self._give_up()
        yield self._measuring.sample(link)
        if self._ears:
            yield self._ears.run(self._woken)

    def _woken(self, queue: str) -> None:
        if not queue:  # there may be a version that nobody had before; and the database is there
            self._lanes.look()
            self._starter.retry_waiting()
        if current := self._vitals.current:
            current.woken(queue)

    async def _something_to_serve(self) -> bool:
        """False: stopped before. Definitions that come up together are served together."""
        if not await before(self._starting.some, self._stopping):
            return False
        with suppress(NotReady):
            await self._starter.await_ready(TOGETHER)
        return True

    async def _give_up(self) -> None:
        await self._starter.await_ready(None)
        others = self._app.handlers or self._app.queues
        error = self._starter.first_error()
        if error and not others and not self._starter.healthy():
            raise error

    async def _serve(self) -> None:
        """One incarnation after the other: a lapsed lease is never taken up again."""
        self._bindings = bindings = Bindings(self._app, self._adopted)
        self._measuring.expect(bindings)
        while not self._stopping.is_set():
            current = Incarnation(self._settings, self._name, bindings, self._lanes, self._outage)
            self._vitals.current = current
            await current.run()
            if not current.lapsed:
                self._stopping.set()  # drained from outside

    async def _keep_fresh(self, link: Link) -> None:
        """Others deploy too: look now and then for versions that this code can serve."""
        await link.keep(self._starting.check_schema)
        self._starter.retry_waiting()  # the database is there
        while True:
            self._take_in()
            waiting = self._starting.looking()
            changed = await self._refresh(link)
            if changed and (current := self._vitals.current):
                current.lanes_changed()
            self._starting.seen(waiting)
            await before(self._starting.look, self._lanes.stale(after=self._settings.lease / 3))

    def _take_in(self) -> None:
        """Definitions may be registered, or taken back, while we run."""
        modules = modules_of(self._app)
        if self._starter.keep_to(modules):
            self._starting.started &= {each.name for each in modules}
            if self._bindings:
                self._bindings.renew()
                self._measuring.expect(self._bindings)

    async def _refresh(self, link: Link) -> bool:
        coming = set(self._app.registry.slugs) - self._starting.started
        found = await deploy.served_lanes(link, self._app, without=coming, adopted=self._adopted)
        if self._starter.ready() and not self._complained:
            self._complained = True
            self._complain({lane.queue for lane in found})
        served = [lane for lane in found if self._settings.serves(lane.queue)]
        return self._lanes.replace(
            [lane.queue for lane in served],
            [lane.version_id for lane in served],
            {lane.version_id: lane.flow_slug for lane in served},
        )

    def _complain(self, queues: Set[str]) -> None:
        """Of names in the settings that nothing here has."""
        queues = queues | {each.queue for each in self._app.queues}
        slugs = set(self._app.registry.slugs)
        by_pattern = self._app.handlers
        named = [("queues", name, queues) for name in self._settings.queue_names] + [
            ("flow_concurrency", slug, slugs)
            for slug in self._settings.most_of
            if not any(handler.matches(slug) for handler in by_pattern)
        ]
        for setting, name, known in named:
            if name not in known:
                emit(SettingUnused(setting, name, tuple(sorted(known))))


async def before(wanted: asyncio.Event, other: asyncio.Event | Coroutine[Any, Any, None]) -> bool:
    """Wait for either; whether it was the first."""
    waits = [
        asyncio.create_task(wanted.wait()),
        asyncio.create_task(other.wait() if isinstance(other, asyncio.Event) else other),
    ]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        return wanted.is_set()
    finally:
        for each in waits:
            each.cancel()


def first_of(error: BaseException) -> BaseException:
    """The error that ended the worker, out of the task groups that it went through."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    return first_of(cast("BaseExceptionGroup[BaseException]", error).exceptions[0])
