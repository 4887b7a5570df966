"""The metrics of a worker: what its events count, how it is, and what it asks the database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import psycopg

from stepwell.db.link import Link
from stepwell.db.measure import Measured, measure
from stepwell.errors import SettingsError, StepwellError
from stepwell.observe.emit import emit, subscribed
from stepwell.observe.events import Event, MeasuringFailed, WorkerStarted
from stepwell.observe.metrics import Metrics, metrics_of
from stepwell.settings import Settings
from stepwell.worker.binding import Bindings
from stepwell.worker.vitals import Vitals

EVERY = 15.0  # seconds between two looks at the database
PATIENCE = 15.0  # seconds for its answer


class Measuring:
    """Off, it is nothing. The database is asked every so often, by one bounded statement, however
    often the metrics are read."""

    def __init__(self, settings: Settings, vitals: Vitals) -> None:
        self._vitals = vitals
        if settings.metrics == "on" and not settings.health_port:
            raise SettingsError(
                "metrics are on, and there is no health_port to read them at: set one, or set "
                "metrics to shared to have them in the registry of your program"
            )
        self.metrics: Metrics | None = metrics_of(settings.metrics)
        self._started = asyncio.Event()

    @asynccontextmanager
    async def counting(self) -> AsyncGenerator[None]:
        """Count what happens inside."""
        if self.metrics is None:
            yield
            return
        forget = self.metrics.watch(self._vitals.gauges)
        try:
            with subscribed(self.metrics, self._heard):
                yield
        finally:
            forget()

    def expect(self, bindings: Bindings) -> None:
        """What may go wrong here is told before it does."""
        if self.metrics is not None:
            self.metrics.expect(bindings.steps(), [each.queue for each in bindings.queues])

    def _heard(self, event: Event) -> None:
        if isinstance(event, WorkerStarted):  # a worker more than at the last look
            self._started.set()

    async def sample(self, link: Link) -> None:
        """Ask the database, again and again; what it does not answer in time is not told."""
        failed = False
        while self.metrics is not None:
            rows: list[Measured] | None = None
            self._started.clear()
            try:
                async with asyncio.timeout(PATIENCE):
                    rows = await link.run(measure())
                failed = False
            except TimeoutError:
                pass
            except (psycopg.Error, StepwellError) as error:  # the worker works without
                if not failed:
                    emit(MeasuringFailed(str(error).strip()))
                failed = True
            self.metrics.sampled(rows)
            with suppress(TimeoutError):
                async with asyncio.timeout(EVERY):
                    await self._started.wait()
