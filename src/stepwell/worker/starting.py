"""The phases of a worker's starter: what it takes until a definition is served."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg
from psycopg import AsyncConnection

from stepwell.client.definition import shape_of
from stepwell.compile.deploy import deploy_limits, deploy_shapes
from stepwell.compile.schedules import deploy_schedules
from stepwell.db import migrate
from stepwell.db.call import Call
from stepwell.db.connect import raise_if_hopeless
from stepwell.db.pool import Pool
from stepwell.define.app import Stepwell
from stepwell.define.definition import Definition
from stepwell.define.limited import limits_of
from stepwell.errors import DatabaseUnavailable, SchemaError, StepwellError
from stepwell.settings import Settings
from stepwell.worker.imported import check_findable
from stepwell.worker.modules import ErrorClass, Module, Phase
from stepwell.worker.wake import Ears

Row = TypeVar("Row")

CONNECTIONS = 4
LONGEST_LOOK = 10.0  # seconds; by then the database is away, and the next attempt will tell
# what no later try mends: values, constraints, names and rights, features
PERMANENT = ("22", "23", "42", "0A")


def modules_of(app: Stepwell) -> list[Module]:
    """What an app serves, a module for each slug."""
    found: dict[str, Module] = {flow.slug: Module(flow.slug, "flow", (flow,)) for flow in app.flows}
    machines: dict[str, list[Definition]] = {}
    for facts in app.registry.machines.values():
        machines.setdefault(facts.slug, []).append(facts.cls)
    found |= {slug: Module(slug, "machine", tuple(all_)) for slug, all_ in machines.items()}
    return [*found.values(), *(Module(job.slug, "job", (job,)) for job in app.jobs)]


class Starting:
    """Takes definitions from code to being served. `started` has the slugs that a claim may ask
    for; `some` is set with the first of them."""

    def __init__(self, app: Stepwell, settings: Settings, ears: Ears | None) -> None:
        self.started: set[str] = set()
        self.some = asyncio.Event()
        self.look = asyncio.Event()  # there is something new to be served
        self._app = app
        self._ears = ears
        self._shapes: dict[str, list[str]] = {}
        self._checked = False
        self._deploying = 0
        self._waiting: list[asyncio.Future[None]] = []
        self._pool = Pool(
            settings.dsn,
            max_size=CONNECTIONS,
            timeout=settings.connect_timeout,
            application_name="stepwell worker",
        )

    @property
    def phases(self) -> tuple[Phase, ...]:
        """`notify` is for workers that listen."""
        return (
            Phase("registry", self._register, lambda _: "permanent"),
            Phase("worker", self._deploy, verdict_of),
            *([Phase("notify", self._listen, verdict_of)] if self._ears else []),
        )

    async def check_schema(self, conn: AsyncConnection[Any]) -> None:
        """SchemaError when the database is not of this version."""
        if not self._checked:
            migrate.check(await migrate.read_schema(conn))
            self._checked = True

    def looking(self) -> list[asyncio.Future[None]]:
        """Who waits for a look at the versions to serve that begins now; for `seen`."""
        self.look.clear()
        waiting, self._waiting = self._waiting, []
        return waiting

    def seen(self, waiting: Iterable[asyncio.Future[None]]) -> None:
        """They are served now. Who began to wait since is not: that look was without them."""
        waiting, app = list(waiting), self._app
        for each in waiting:
            if not each.done():
                each.set_result(None)
        if waiting or app.handlers or app.queues or not app.registry.slugs:
            self.some.set()

    async def close(self) -> None:
        await self._pool.close()

    async def _register(self, module: Module) -> None:
        """What can be said about the code alone: that it has a shape, and that a child process
        finds what is to run in one."""
        self._shapes[module.name] = [
            shape_of(each, archive=self._app.archive_hook is not None)
            for each in module.definitions
        ]
        for each in module.definitions:
            check_findable(each)

    async def _deploy(self, module: Module) -> None:
        """The database knows it, and this worker claims of it."""
        self._deploying += 1
        try:
            async with self._pool.connection() as conn:
                await self._tell(Once(conn), module.name)
        except psycopg.OperationalError as error:
            raise_if_hopeless(error)
            raise
        finally:
            self._deploying -= 1
            if not self._deploying:  # once all is up, nobody needs these connections
                await self._pool.close()
        self.started.add(module.name)
        seen = asyncio.get_running_loop().create_future()
        self._waiting.append(seen)
        self.look.set()
        try:
            async with asyncio.timeout(LONGEST_LOOK):
                await seen
        except TimeoutError:
            raise TimeoutError("the database did not say which versions there are") from None

    async def _tell(self, once: Once, name: str) -> None:
        await self.check_schema(once.conn)
        limits = limits_of(self._app.limits, self._app.registry)  # it may have grown
        await deploy_limits(once, limits.values())
        await deploy_shapes(once, self._shapes[name])
        await deploy_schedules(once, self._schedules_of(name))

    async def _listen(self, _: Module) -> None:
        """Its queues are heard of as soon as somebody names them."""
        if self._ears:
            await self._ears.check()

    def _schedules_of(self, slug: str) -> list[Any]:
        """Those that start it; with any module those that start what this app does not have."""
        known = self._app.registry.slugs
        return [
            each
            for each in self._app.schedules
            if each.started.slug == slug or each.started.slug not in known
        ]


@dataclass(frozen=True, slots=True)
class Once:
    """Runs calls on one connection and never again: trying again is the starter's."""

    conn: AsyncConnection[Any]

    async def run(self, call: Call[Row], /) -> list[Row]:
        return await call.on(self.conn)


def verdict_of(error: Exception) -> ErrorClass | None:
    """Whether a later try may help. A schema that does not fit, or a wrong password, is the same
    for all modules: the worker ends. So it does with a defect of ours."""
    match error:
        case SchemaError() | DatabaseUnavailable():
            return None
        case StepwellError():
            return "permanent"
        case psycopg.Error():
            return "permanent" if (error.sqlstate or "").startswith(PERMANENT) else "transient"
        case OSError():  # and TimeoutError, which is one
            return "transient"
        case _:
            return None
