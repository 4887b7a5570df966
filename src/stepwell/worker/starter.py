"""Bring up what an app defines, piece by piece: each module on its own, again and again until it is
up or cannot come up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from stepwell.client.flow_run import timeout_of
from stepwell.define.definition import Definition
from stepwell.define.duration import Duration
from stepwell.errors import NotReady
from stepwell.observe.emit import emit
from stepwell.observe.events import (
    StarterAttempt,
    StarterFailed,
    StarterReady,
    StarterRetryScheduled,
    StarterSuccess,
)
from stepwell.worker.modules import (
    OVER,
    Backoff,
    Module,
    ModuleError,
    ModuleState,
    Phase,
    StarterStatus,
    name_of,
)

PATIENCE = 60.0  # seconds for one phase; longer is a failed attempt


class Starter:
    """Takes each module through its phases, all modules at the same time. A transient error starts
    the module's phases again after a pause, for ever; a permanent one gives the module up. What
    one module does delays no other. Phases must be such that doing them again is harmless.

    All methods are for the event loop that `run` is in.
    """

    def __init__(
        self,
        modules: Iterable[Module],
        phases: Sequence[Phase],
        *,
        backoff: Backoff | None = None,
        patience: float = PATIENCE,
    ) -> None:
        self._phases = tuple(phases)
        self._backoff = backoff or Backoff()
        self._patience = patience
        self._tracks = {each.name: Track(each) for each in modules}
        self._began = 0.0
        self._started_at: datetime | None = None
        self._ready_at: datetime | None = None
        self._converged = asyncio.Event()
        self._group: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Attempt every module now, and each as often as it needs, until cancelled. Raises only
        what is no module's own: a schema that does not fit, a password that is wrong."""
        self._began = time.monotonic()
        self._started_at = now()
        self._look()
        async with asyncio.TaskGroup() as group:
            self._group = group
            for track in self._tracks.values():
                track.timer = group.create_task(self._keep(track))
            await asyncio.Event().wait()

    def keep_to(self, modules: Iterable[Module]) -> bool:
        """From now on these, and no others: new ones begin at once, changed ones are attempted
        again. True when that changes anything."""
        wanted = {each.name: each for each in modules}
        gone = self._tracks.keys() - wanted.keys()
        for name in gone:
            if timer := self._tracks.pop(name).timer:
                timer.cancel()
        known = {name: track.module for name, track in self._tracks.items()}
        fresh = [each for name, each in wanted.items() if known.get(name) != each]
        for each in fresh:
            self._take_in(each)
        self._look()
        return bool(gone or fresh)

    def _take_in(self, module: Module) -> None:
        if track := self._tracks.get(module.name):
            track.module = module
            track.state = replace(track.state, type=module.type)
            track.poked.set()
            return
        track = self._tracks[module.name] = Track(module)
        if self._group is not None:
            track.timer = self._group.create_task(self._keep(track))

    def status(self) -> StarterStatus:
        """All modules as they are now."""
        return StarterStatus(
            self.ready(),
            self.healthy(),
            self._started_at,
            self._ready_at,
            tuple(track.state for track in self._tracks.values()),
        )

    def module_status(self, module: Definition | str) -> ModuleState | None:
        """One module, by its slug or definition; None when there is no such module."""
        track = self._tracks.get(name_of(module))
        return track.state if track else None

    def ready(self) -> bool:
        """Every module has come up or was given up; also when there is none. It says nothing about
        how it went: for that ask `healthy`."""
        return all(track.state.status in OVER for track in self._tracks.values())

    def healthy(self) -> bool:
        """One module at least has come up, or there is none at all."""
        states = [track.state.status for track in self._tracks.values()]
        return "succeeded" in states or not states

    async def await_ready(self, timeout: Duration | None = 5.0) -> None:
        """Return once `ready`; NotReady names what is missing after `timeout`, in seconds or as a
        timedelta. None: wait for as long as it takes."""
        limit = timeout_of(timeout)
        try:
            async with asyncio.timeout(limit):
                await self._converged.wait()
        except TimeoutError:
            missing = [t.state for t in self._tracks.values() if t.state.status not in OVER]
            raise NotReady(limit or 0.0, [described(state) for state in missing]) from None

    def retry_now(self, module: Definition | str) -> None:
        """Attempt a module at once, also one that is up or was given up. An unknown one is ignored,
        and one that is being attempted is attempted again."""
        if track := self._tracks.get(name_of(module)):
            track.poked.set()

    def retry_waiting(self) -> None:
        """Attempt at once what failed for a reason that may be gone now."""
        for track in self._tracks.values():
            if track.state.status == "retrying" and not track.trying:
                track.poked.set()

    def first_error(self) -> Exception | None:
        """What made the first of those fail that were given up."""
        errors = (track.given_up for track in self._tracks.values())
        return next((error for error in errors if error), None)

    async def _keep(self, track: Track) -> None:
        """One module's timer: an attempt, a pause, an attempt; a poke ends the pause."""
        while True:
            track.poked.clear()
            track.trying = True
            pause = await self._attempt(track)
            track.trying = False
            try:
                async with asyncio.timeout(pause):
                    await track.poked.wait()
            except TimeoutError:
                pass

    async def _attempt(self, track: Track) -> float | None:
        """All phases in order. Answers with the pause until the next attempt; None: there is none
        unless somebody asks for it."""
        if track.state.status in OVER:
            track.state = replace(track.state, attempts=0)
        emit(StarterAttempt(*facts(track.state), attempt=track.state.attempts + 1, at=now()))
        began = time.monotonic()
        for phase in self._phases:
            try:
                async with asyncio.timeout(self._patience):
                    await phase.run(track.module)
            except Exception as error:
                return self._failed(track, phase, error)
        self._say(track, status="succeeded", last_error=None)
        track.given_up = None
        emit(StarterSuccess(*facts(track.state), seconds=time.monotonic() - began))
        self._look()
        return None

    def _failed(self, track: Track, phase: Phase, error: Exception) -> float | None:
        verdict = phase.verdict(error)
        if verdict is None:
            raise error
        why = ModuleError(verdict, phase.name, reason_of(error, self._patience), now())
        if verdict == "permanent":
            track.given_up = error
            self._say(track, status="failed_permanent", last_error=why)
            emit(StarterFailed(*facts(track.state)))
            self._look()
            return None
        failed = track.state.attempts + 1
        pause = self._backoff.after(failed)
        self._say(track, status="retrying", attempts=failed, last_error=why)
        emit(StarterRetryScheduled(*facts(track.state), attempt=failed, delay=pause))
        self._look()
        return pause

    def _say(self, track: Track, **changes: Any) -> None:
        track.state = replace(track.state, updated_at=now(), **changes)

    def _look(self) -> None:
        if not self.ready():
            self._converged.clear()
            return
        self._converged.set()
        if self._ready_at is None:
            self._ready_at = now()
            seconds = time.monotonic() - self._began
            emit(StarterReady(modules=len(self._tracks), seconds=seconds, at=self._ready_at))


@dataclass(slots=True)
class Track:
    """A module on its way."""

    module: Module
    state: ModuleState = field(init=False)
    poked: asyncio.Event = field(default_factory=asyncio.Event)
    given_up: Exception | None = None
    timer: asyncio.Task[None] | None = None
    trying: bool = False

    def __post_init__(self) -> None:
        self.state = ModuleState(self.module.name, self.module.type, "pending", 0, None, now())


def facts(state: ModuleState) -> tuple[str, str, str, int, str | None, str | None, str | None]:
    """What every event of the starter says."""
    error = state.last_error
    return (
        state.module,
        state.type,
        state.status,
        state.attempts,
        error.error_class if error else None,
        error.phase if error else None,
        error.reason if error else None,
    )


def reason_of(error: Exception, patience: float) -> str:
    if isinstance(error, TimeoutError) and not str(error):
        return f"it took longer than {patience:g} s"
    return str(error).strip() or type(error).__name__


def described(state: ModuleState) -> str:
    """A module that is not up, for a message."""
    if state.last_error is None:
        return f"{state.type} {state.module!r} ({state.status})"
    return f"{state.type} {state.module!r} ({state.last_error.phase}: {state.last_error.reason})"


def now() -> datetime:
    return datetime.now(UTC)
