"""COMMIT and CLAIM in one round trip: write what ended, take on what fits.

While one turn is being written the next one gathers, so batches grow under load and a lone
outcome never waits for a timer. Two turns may be under way, so that Postgres writes one batch
while handlers make the next.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from uuid import UUID

import psycopg

from stepwell.db import claim, presence
from stepwell.db.claim import Task
from stepwell.db.commit import Entry, Turn, commit_and_claim, observed_turn, refused, take_turn
from stepwell.db.link import LONGEST_PAUSE, Link
from stepwell.observe.emit import emit
from stepwell.observe.events import (
    BatchCommitted,
    CommitFailed,
    OutcomeDropped,
    OutcomeHeld,
)
from stepwell.worker.batches import MOST, Batches
from stepwell.worker.caps import Ask, Caps
from stepwell.worker.desk import Desk, Ended
from stepwell.worker.lanes import Lanes
from stepwell.worker.spans import run_ended

AT_ONCE = 2
FIRST_PAUSE = 0.05
AGAIN = 1.0  # until an outcome is tried again whose run somebody held
NOTHING = Turn(frozenset(), (), ())
NO_MORE = Ask(0, [], [])
CONTENDED = 0.02  # until work is looked for again that was in other hands just now
PATIENCE = 5  # tries of a batch that Postgres turns down for a passing reason
PASSING = ("40", "53", "55", "57")  # rollbacks, no resources, locks, operator intervention
OUTAGE = ("53100", "53300", "57P")  # a full disk, no connection left: no entry is to blame


class Turns:
    """The loop between the desk and the database."""

    def __init__(
        self,
        worker: UUID,
        desk: Desk,
        lanes: Lanes,
        *,
        poll: float,
        knows: Callable[[Task], bool],
        begin: Callable[[Turn], None],
        more_ready: Callable[[Sequence[str]], None],
        delayed: Callable[[], None],
        most: Mapping[str, int],
        observes: Callable[[], bool] = lambda: False,
    ) -> None:
        self._caps = Caps(most, desk, lanes)
        self._batches = Batches(desk)
        self._observes = observes
        self._worker = worker
        self._desk = desk
        self._lanes = lanes
        self._poll = poll
        self._knows = knows
        self._begin = begin
        self._more_ready = more_ready
        self._delayed = delayed
        self._pause = FIRST_PAUSE
        self._look_at = 0.0  # when the loops, taken together, look again without being told
        self._permits = asyncio.Semaphore(AT_ONCE)
        self._recovering = asyncio.Lock()
        self._fruitless = 0  # claims in a row that failed, and no task was to blame
        self._suspect = False  # a turn broke off: it may have claimed what nobody here knows of
        self._closed = False

    def close(self) -> None:
        """End the loops once everything that ended is written."""
        self._closed = True
        self._desk.changed.set()

    async def run(self, link: Link) -> None:
        """Take turns until closed. Run it AT_ONCE times, each with a link of its own."""
        while not (self._closed and self._desk.empty):
            await self._something_to_do()
            await asyncio.sleep(0)  # handlers that can end now share the batch
            await self._take(link)
        self._desk.changed.set()  # for the other loop

    async def _something_to_do(self) -> None:
        desk = self._desk
        while not (
            self._batches.waiting or (desk.look and desk.free) or (self._closed and desk.empty)
        ):
            desk.changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(self._look_at if desk.free else None):
                    await desk.changed.wait()
                    continue
            if asyncio.get_running_loop().time() >= self._look_at:
                self._look_in(min(self._pause * 2, self._poll))
                desk.look = True

    def _look_in(self, pause: float) -> None:
        self._pause = pause
        self._look_at = asyncio.get_running_loop().time() + pause

    async def _take(self, link: Link) -> None:
        desk = self._desk
        batch = self._batches.take()
        if self._batches.holds_large(batch):
            want = 0  # what it claims would wait with it
        else:
            want = min(desk.free, MOST, -(-desk.concurrency // AT_ONCE))
        if not batch and not (want and desk.look):
            return
        desk.look = desk.look and not want
        try:
            with self._caps.asking(want) as ask:
                await self._turn(link, batch, ask)
        finally:
            self._batches.done(batch)

    async def _turn(self, link: Link, batch: list[Ended], ask: Ask) -> None:
        desk = self._desk
        desk.coming += ask.want
        tokens = {ended.task.claim_token for ended in batch}
        desk.writing |= tokens
        began = time.perf_counter()
        try:
            patient = not any(ended.held for ended in batch)
            turn = await self._write(link, [e.entry for e in batch], ask, patient)
        finally:
            desk.coming -= ask.want
            desk.writing -= tokens
        strange = tuple(task for task in turn.tasks if not self._knows(task))
        if strange:  # somebody added a step to a version that we serve
            self._lanes.forget({task.version_id for task in strange})
        unwanted = turn.tasks if desk.closing else strange
        wanted = tuple(task for task in turn.tasks if task not in unwanted)
        # before anything is awaited: else the other loop takes their places, or gives them back
        self._settle(batch, replace(turn, tasks=wanted), ask, time.perf_counter() - began)
        if unwanted:
            await self._give_back(link, unwanted)

    async def _give_back(self, link: Link, tasks: Sequence[Task]) -> None:
        """What was claimed while the worker was told to stop, or has no code here, is not begun."""
        tokens = [task.claim_token for task in tasks]
        await link.run(claim.release_tasks([task.message_id for task in tasks], tokens))

    def _settle(self, batch: list[Ended], turn: Turn, ask: Ask, seconds: float) -> None:
        for ended in batch:
            self._answer(ended, turn)
        if turn.ready or turn.delayed or any(e.entry.delays for e in batch):
            self._delayed()  # perhaps: what became ready may have a start delay
        if ask.want:
            pause = CONTENDED if turn.contended else self._pause
            self._look_in(FIRST_PAUSE if turn.tasks else pause)
        if ask.want and len(turn.tasks) == ask.want:
            self._desk.wake()
            self._more_ready(turn.ready)
        else:  # of the lanes that we asked for nothing is left
            if turn.ready and not ask.want:
                self._desk.wake()
            self._more_ready([queue for queue in turn.ready if queue not in ask.queues])
        written = [e for e in batch if e.entry.outcome != "released"]
        if written or turn.tasks:
            stale = sum(e.entry.token in turn.stale for e in written)
            emit(BatchCommitted(len(written), stale, len(turn.tasks), seconds))
        for run in turn.ended:
            emit(run_ended(run))
        self._begin(turn)

    def _answer(self, ended: Ended, turn: Turn) -> None:
        """What became of one outcome; most are written, and there is nothing to say."""
        if ended.task.claim_token in turn.stale:
            if ended.entry.outcome != "released":
                emit(OutcomeDropped(*facts(ended.task)))
        elif ended.task.claim_token in turn.busy:
            if not ended.held:
                emit(OutcomeHeld(*facts(ended.task)))
            self._desk.put_aside(ended, AGAIN)

    async def _write(
        self, link: Link, entries: list[Entry], ask: Ask, patient: bool = True
    ) -> Turn:
        """One batch, however long the database is away. What Postgres refuses is found by halving
        and written as a failed attempt, so that it harms no other entry. A run that somebody
        holds is no reason to refuse: the batch is written without it."""
        tries, pause = 0, FIRST_PAUSE
        while entries or ask.want:
            try:
                return await self._once(link, entries, ask, patient)
            except psycopg.Error as error:
                if isinstance(error, psycopg.ProgrammingError) and not said_by_us(error):
                    raise  # the schema is not the one this code was written for
                if link.broken:
                    self._suspect = True
                elif not (error.sqlstate or "").startswith(OUTAGE):
                    tries += 1
                    if gives_up(error, tries, entries):
                        return await self._halve(link, entries, ask, error)
                    patient = patient and not isinstance(error, psycopg.errors.LockNotAvailable)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)
            ask = NO_MORE if self._desk.closing else ask
        return NOTHING

    async def _once(self, link: Link, entries: Sequence[Entry], ask: Ask, patient: bool) -> Turn:
        if self._suspect or link.broken:
            await self._recover(link)
        take = observed_turn if self._observes() else commit_and_claim
        call = take(
            self._worker,
            entries,
            ask.queues,
            ask.versions,
            ask.want,
            patient=patient,
        )
        async with self._permits:
            turn = await link.once(lambda conn: take_turn(conn, call))
        self._fruitless = 0 if ask.want else self._fruitless
        return turn

    async def _halve(
        self, link: Link, entries: list[Entry], ask: Ask, error: psycopg.Error
    ) -> Turn:
        if ask.want:  # perhaps it is not the entries: the next turn claims again
            self._desk.wake()
        if not entries:
            return await self._sift(link, ask, error)
        if ask.want:
            return await self._write(link, entries, NO_MORE)
        if len(entries) == 1:
            if (error.sqlstate or "").startswith(PASSING):  # others are in the way, not the entry
                return replace(NOTHING, busy=frozenset({entries[0].token}))
            return await self._refuse(link, entries[0], error)
        half = len(entries) // 2
        first = await self._write(link, entries[:half], NO_MORE)
        second = await self._write(link, entries[half:], NO_MORE)
        return Turn(
            stale=first.stale | second.stale,
            ready=first.ready + second.ready,
            tasks=(),
            busy=first.busy | second.busy,
            contended=first.contended or second.contended,
            delayed=first.delayed or second.delayed,
            ended=first.ended + second.ended,
        )

    async def _sift(self, link: Link, ask: Ask, error: psycopg.Error) -> Turn:
        """A task that cannot be claimed must not keep all others from being claimed."""
        call = claim.refuse_tasks(self._worker, ask.queues, ask.versions, ask.want)
        found = (await link.run(call))[0].count
        self._fruitless = 0 if found else self._fruitless + 1
        if self._fruitless > PATIENCE:  # others may have been quicker, but not so often
            raise error
        await asyncio.sleep(self._fruitless * FIRST_PAUSE)
        return NOTHING

    async def _refuse(self, link: Link, entry: Entry, error: psycopg.Error) -> Turn:
        reason = (error.diag.message_primary or str(error)).strip()
        emit(CommitFailed(entry.message_id, reason))
        if entry.error_type == "OutputRefused" or entry.outcome == "released":
            return NOTHING  # left to the step's deadline
        return await self._write(link, [refused(entry, reason)], NO_MORE)

    async def _recover(self, link: Link) -> None:
        """Connect again, and give back claims of a turn whose answer never came."""
        async with self._recovering:
            beat = (await link.run(presence.heartbeat(self._worker)))[0]
            if not self._suspect:
                return
            for _ in range(AT_ONCE):  # no other turn is under way while we look
                await self._permits.acquire()
            try:
                beat = (await link.run(presence.heartbeat(self._worker)))[0]
                orphans = set(beat.held) - self._desk.known
                await link.run(claim.release_held(self._worker, sorted(orphans)))
                known = sorted(self._desk.known | self._desk.lost.keys())
                await link.run(claim.free_strays(self._worker, known))
                self._suspect = False
            finally:
                for _ in range(AT_ONCE):
                    self._permits.release()


def said_by_us(error: psycopg.Error) -> bool:
    """What an outcome asks for cannot be: a child of a kind that is not there, a key of others."""
    return (error.sqlstate or "").startswith("PF")


def gives_up(error: psycopg.Error, tries: int, entries: Sequence[Entry]) -> bool:
    """Whether to look for the entry to blame, instead of trying the whole batch again."""
    if not (error.sqlstate or "").startswith(PASSING):
        return True
    patience = 1 if isinstance(error, psycopg.errors.LockNotAvailable) else PATIENCE
    return tries > patience and bool(entries)


def facts(task: Task) -> tuple[UUID, str, str, int, int]:
    return task.run_id, task.flow_slug, task.step_slug, task.task_index, task.attempt
