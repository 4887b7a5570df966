"""What bodies say while they run: gathered here, written together about once a second, and at the
latest before the outcome of who said it. Bodies may speak from any thread."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock

import psycopg

from stepwell.db.call import Call
from stepwell.db.claim import Task
from stepwell.db.connect import raise_if_hopeless
from stepwell.db.link import LONGEST_PAUSE, Link
from stepwell.db.notes import Line, Noted, Said, write_notes
from stepwell.errors import StepwellError
from stepwell.observe.emit import emit
from stepwell.observe.events import NotesLost
from stepwell.worker.failure import clean

Write = Callable[[Call[Noted]], Awaitable[list[Noted]]]

EVERY = 1.0  # seconds between two writes, as long as no outcome waits for one
LONGEST_LINE = 10_000
LONGEST_MESSAGE = 500
making = Lock()  # of a notebook, in whichever thread it is needed first
PAGE = 2000  # lines of one write, and those of the last notebook in it
TRIES = 5  # while somebody holds the task, or the tables
FIRST_PAUSE = 0.05


@dataclass(frozen=True, slots=True)
class Share:
    """How far a body is."""

    share: float | None
    message: str | None
    at: float


@dataclass(frozen=True, slots=True)
class Kept:
    """A line of a notebook."""

    n: int
    at: float
    level: str
    message: str


class Notebook:
    """What was said under one claim and is not written yet."""

    __slots__ = ("dropped", "full", "lines", "n", "over", "share", "size", "task", "told")

    def __init__(self, task: Task) -> None:
        self.task = task
        self.share: Share | None = None
        self.lines: list[Kept] = []
        self.n = 0  # lines that were kept, written ones too
        self.size = 0  # of these, in bytes
        self.full = False
        self.dropped = 0
        self.told = 0  # of the dropped
        self.over = False  # the claim is: nobody wants to know any more

    @property
    def token(self) -> int:
        return self.task.claim_token

    @property
    def empty(self) -> bool:
        return not self.lines and self.share is None and self.told == self.dropped


@dataclass(frozen=True, slots=True)
class Page:
    """What one write has of a notebook."""

    book: Notebook
    share: Share | None
    lines: Sequence[Kept]
    dropped: int


async def nowhere(_call: Call[Noted]) -> list[Noted]:
    """Nobody keeps it."""
    return []


class Notes:
    """The notebooks of a worker. An attempt keeps its first `lines` lines and `size` bytes; a last
    line says how many more there were. Where nobody says anything nothing is done."""

    def __init__(
        self,
        write: Write = nowhere,
        *,
        lines: int = 1000,
        size: int = 256 * 1024,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write = write
        self._most_lines = lines
        self._most_bytes = size
        self._now = now
        self._loop = asyncio.get_running_loop()
        self._lock = Lock()  # held for moments, by the loop and by threads of handlers
        self._unwritten: dict[int, Notebook] = {}  # by token
        self._news = asyncio.Event()
        self._writing = asyncio.Lock()

    def progress(self, book: Notebook, share: float | None, message: str | None) -> None:
        """How far it is; only the last word is kept."""
        told = Share(
            shared(share),
            None if message is None else clean(str(message), LONGEST_MESSAGE),
            self._now(),
        )
        with self._lock:
            book.share = told
            self._is_unwritten(book)

    def log(self, book: Notebook, level: str, message: str) -> None:
        """A line behind the others, unless there are too many."""
        text = clean(str(message), LONGEST_LINE)
        size = len(text.encode())
        with self._lock:
            if book.over or not self._most_lines:
                return
            full = book.n >= self._most_lines or book.size + size > self._most_bytes
            if book.full or full:
                book.full = True
                book.dropped += 1
            else:
                book.n += 1
                book.size += size
                book.lines.append(Kept(book.n, self._now(), level, text))
            self._is_unwritten(book)

    def take(
        self,
        book: Notebook,
        share: tuple[float | None, str | None, float] | None,
        lines: Sequence[tuple[float, str, str]],
        dropped: int,
    ) -> None:
        """What a notebook of a child process had, which has the same clock and the same bounds."""
        with self._lock:
            book.share = book.share if share is None else Share(*share)
            for at, level, message in lines:
                book.n += 1
                book.lines.append(Kept(book.n, at, level, message))
            book.dropped += dropped
            self._is_unwritten(book)

    async def run(self) -> None:
        """Write what there is, again and again."""
        while True:
            await self._news.wait()
            self._news.clear()
            async with self._writing:
                await self._write_all()
            if self._unwritten:  # somebody held a task, or more was said meanwhile
                self._news.set()
            await asyncio.sleep(EVERY)

    async def settle(self, token: int) -> None:
        """When this returns, what the claim said is written, or it is lost and that was told."""
        pause = FIRST_PAUSE
        for _ in range(TRIES):
            if token not in self._unwritten:
                return
            async with self._writing:  # many outcomes share what one of them writes
                if token in self._unwritten:
                    await self._write_all()
            if token in self._unwritten:
                await asyncio.sleep(pause)
                pause *= 2

    async def close(self) -> None:
        """The last words of bodies that were cut off."""
        async with self._writing:
            await self._write_all()

    def _is_unwritten(self, book: Notebook) -> None:
        if book.over or book.token in self._unwritten:
            return
        self._unwritten[book.token] = book
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._news.set)

    async def _write_all(self) -> None:
        """Each notebook once."""
        with self._lock:
            left = list(self._unwritten.values())
        while left:
            pages: list[Page] = []
            while left and sum(len(page.lines) for page in pages) < PAGE:
                pages.append(self._page(left.pop(0)))
            await self._write_pages(pages)

    def _page(self, book: Notebook) -> Page:
        with self._lock:
            return Page(book, book.share, list(book.lines), book.dropped)

    async def _write_pages(self, pages: Sequence[Page]) -> None:
        """What Postgres refuses of one must not be lost of the others."""
        now = self._now()
        lines = sorted(
            (line for page in pages for line in self._lines(page, now)), key=lambda line: -line.ago
        )
        call = write_notes([said_of(page, now) for page in pages], lines)
        try:
            answers = {row.token: row.verdict for row in await self._write(call)}
        except (psycopg.Error, StepwellError) as error:
            if len(pages) > 1:
                for page in pages:
                    await self._write_pages([page])
                return
            answers = {pages[0].book.token: "lost"}
            task, said = pages[0].book.task, str(error).strip()
            what = (task.run_id, task.flow_slug, task.step_slug, task.task_index, task.attempt)
            emit(NotesLost(*what, len(lines), said or type(error).__name__))
        for page in pages:
            self._written(page, answers.get(page.book.token, "stale"))

    def _lines(self, page: Page, now: float) -> list[Line]:
        token = page.book.token
        found = [
            Line(token, line.n, now - line.at, line.level, line.message) for line in page.lines
        ]
        if page.dropped > page.book.told:
            said = (
                f"{page.dropped:,} more {'line was' if page.dropped == 1 else 'lines were'} "
                f"dropped: an attempt keeps {self._most_lines:,} lines and "
                f"{self._most_bytes:,} bytes"
            )
            found.append(Line(token, page.book.n + 1, 0.0, "warning", said))
        return found

    def _written(self, page: Page, verdict: str) -> None:
        book = page.book
        with self._lock:
            if verdict == "busy":
                return
            if verdict == "stale":
                book.over = True
                book.lines.clear()
            else:
                del book.lines[: len(page.lines)]
            if verdict == "stale" or book.share is page.share:
                book.share = None
            book.told = book.dropped if verdict == "stale" else page.dropped
            if book.empty:
                del self._unwritten[book.token]


def said_of(page: Page, now: float) -> Said:
    book, share = page.book, page.share
    if share is None:
        return Said(book.task.message_id, book.token)
    return Said(book.task.message_id, book.token, share.share, share.message, now - share.at)


def shared(share: float | None) -> float | None:
    """A share of one; a body that counted wrong is at one of its ends."""
    if share is None:
        return None
    if isinstance(share, bool) or not isinstance(share, int | float):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"progress is a share from 0 to 1, not {share!r}")
    if math.isnan(share):
        raise ValueError("progress is a share from 0 to 1, not NaN")
    return min(max(float(share), 0.0), 1.0)


def through(link: Link) -> Write:
    """However long the database is away; what it goes on to refuse is lost."""

    async def write(call: Call[Noted]) -> list[Noted]:
        pause, refused = FIRST_PAUSE, 0
        while True:
            try:
                return await link.once(call.on)
            except psycopg.OperationalError as error:
                raise_if_hopeless(error)
                refused += not link.broken  # somebody is in the way, or the disk is full
                if refused >= TRIES:
                    raise
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    return write
