"""Several worker processes under one supervisor. One that dies is replaced; all end together."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from stepwell.observe.emit import emit
from stepwell.observe.events import ProcessEnded, ProcessStarted
from stepwell.worker.health import endpoint
from stepwell.worker.member import Member
from stepwell.worker.modules import Backoff

SILENCE = 15.0  # seconds without a word after which a process counts as hanging
STEADY = 60.0  # seconds after which an earlier death is forgotten
MARGIN = 15.0  # seconds past the grace period that a process gets for its last words


class Crew:
    """Keeps `processes` workers running, numbered from 1. The first starts alone: what no worker
    can do, such as importing the app, is said once, and ends the crew with that exit code.

    Once one has come up, a process that ends is replaced: at once when it was drained from outside
    (the new one has the code of now), after a growing pause when it died.
    """

    def __init__(
        self,
        command: Callable[[int], Sequence[str]],
        environment: Mapping[str, str],
        processes: int,
        *,
        grace: float,
        backoff: Backoff | None = None,
    ) -> None:
        self._command = command
        self._environment = environment
        self._processes = processes
        self._patience = grace + MARGIN
        self._backoff = backoff or Backoff()
        self._members: dict[int, Member] = {}
        self._deaths: dict[int, int] = {}
        self._up = asyncio.Event()
        self._stopping = asyncio.Event()
        self._code = 0

    def stop(self, *, now: bool = False) -> None:
        """Tell every process to end what runs and go; a second time, or `now`: at once."""
        first = not self._stopping.is_set()
        self._stopping.set()
        for member in self._members.values():
            member.tell(signal.SIGTERM)
            if first and now:
                member.tell(signal.SIGTERM)

    async def run(self, host: str = "", port: int = 0) -> int:
        """Until stopped, with a health endpoint for all if there is a port; the exit code: 0, or
        that of a process that could not come up, or had to be killed."""
        async with endpoint(self, host, port), asyncio.TaskGroup() as group:
            keeping = [group.create_task(self._keep(1))]
            if await self._first_is_up(keeping[0]):
                more = range(2, self._processes + 1)
                keeping += [group.create_task(self._keep(number)) for number in more]
            await self._stopping.wait()
            _, late = await asyncio.wait(keeping, timeout=self._patience)
            if late:
                self._code = self._code or 1
                for member in self._members.values():
                    member.kill()
        return self._code

    def live(self) -> bool:
        """No process hangs."""
        return all(member.silence < SILENCE for member in self._members.values())

    def ready(self) -> bool:
        """All of them are there, and each is ready."""
        ready = [member.report.get("ready") for member in self._members.values()]
        return len(ready) == self._processes and all(ready) and self.live()

    def status(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "state": "draining" if self._stopping.is_set() else "serving",
            "live": self.live(),
            "ready": self.ready(),
            "processes": [
                {
                    "number": number,
                    "pid": member.pid,
                    "deaths": self._deaths.get(number, 0),
                    "silence": round(member.silence, 1),
                    **member.report,
                }
                for number, member in sorted(self._members.items())
            ],
        }

    async def _first_is_up(self, keeping: asyncio.Task[None]) -> bool:
        waits = {asyncio.create_task(each.wait()) for each in (self._up, self._stopping)}
        try:
            await asyncio.wait({*waits, keeping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()
        return self._up.is_set() and not self._stopping.is_set()

    async def _keep(self, number: int) -> None:
        while not self._stopping.is_set():
            member = self._members[number] = Member(number)
            code = await self._one(member)
            del self._members[number]
            if self._stopping.is_set():
                return
            if code > 0 and not self._up.is_set():  # it has said why; another would say the same
                self._code = code
                self.stop()
                return
            pause = self._pause(member, code)
            emit(ProcessEnded(number, member.pid, code, pause))
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._stopping.wait()

    async def _one(self, member: Member) -> int:
        """One process from its start to its end."""
        running = asyncio.create_task(member.run(self._command(member.number), self._environment))
        watching = asyncio.create_task(self._watch(member))
        try:
            return await running
        finally:
            watching.cancel()

    async def _watch(self, member: Member) -> None:
        told = False
        while not member.up:
            if member.pid and not told:
                told = True
                emit(ProcessStarted(member.number, member.pid))
                if self._stopping.is_set():  # told in between
                    member.tell(signal.SIGTERM)
            await asyncio.sleep(0.05)
        self._up.set()

    def _pause(self, member: Member, code: int) -> float:
        """Seconds until the next one begins."""
        if code == 0:
            return 0.0
        lasted = time.monotonic() - member.started_at
        failed = 1 if lasted > STEADY else self._deaths.get(member.number, 0) + 1
        self._deaths[member.number] = failed
        return self._backoff.after(failed)
