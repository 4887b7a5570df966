"""Child processes for bodies that compute: bounded, started when needed, and never left behind.

Each is a new interpreter, never a fork of ours. A child runs one body at a time, and is used
again. One whose body was given up (timeout, cancel, a lost claim) gets a moment to end and is then
killed, with what it started. The kernel kills a child when we are gone.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from stepwell.define.outcome import Outcome
from stepwell.errors import ProcessDied
from stepwell.settings import Settings
from stepwell.worker.guard import Bounds
from stepwell.worker.process_wire import (
    Began,
    Ended,
    Handle,
    Message,
    Note,
    Run,
    Settle,
    Stop,
    outcome_of,
    read,
    written,
)

MOMENT = 1.0  # seconds that a body gets to end once nobody wants its outcome
LONGEST_REST = 60.0  # seconds until a child that nobody needs is ended
BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[3]); "
    "from stepwell.worker.child import main; main(int(sys.argv[1]), int(sys.argv[2]))"
)


Lingering = Callable[[int, int], None]
Lingers = Callable[[int], None]


class Hears(Bounds, Protocol):
    """The context of a body that runs in a child."""

    def heard(
        self,
        share: tuple[float | None, str | None, float] | None,
        lines: Sequence[tuple[float, str, str]],
        dropped: int,
    ) -> None:
        """What the body said there."""
        ...


@dataclass(slots=True, eq=False)
class Child:
    """A process, and the pipe to it."""

    process: asyncio.subprocess.Process
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    used: bool = False
    rests_since: float = 0.0

    async def tell(self, message: Message) -> None:
        with suppress(ConnectionError):  # the end of the pipe will say it
            self.writer.write(written(message))
            await self.writer.drain()

    async def gone(self, patience: float = 0.0) -> int:
        """Its exit code, once it has ended; when it does not in that time, it is killed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self.process.wait()
        if self.process.returncode is None:
            with suppress(ProcessLookupError):  # the group: what its body started goes too
                os.killpg(self.process.pid, signal.SIGKILL)
        code = await self.process.wait()
        self.writer.close()
        return code


class Processes:
    """At most `limit` children (0: as many as there are cores). Whoever finds none free waits for
    one. A body that was given up occupies its place until its child is gone."""

    def __init__(self, limit: int, settings: Settings) -> None:
        self._free = asyncio.Semaphore(limit or cores())
        self._settle = Settle(
            settings.dsn, settings.connect_timeout, settings.log_lines, settings.log_bytes
        )
        self._children: set[Child] = set()
        self._resting: list[Child] = []
        self._ending: set[asyncio.Task[None]] = set()
        self._sweep: asyncio.TimerHandle | None = None

    async def run(
        self, asked: Run | Handle, context: Hears, begins: Callable[[], None], lingering: Lingering
    ) -> Outcome:
        """Have a child make an attempt. `begins` is told when the time of the handler begins;
        `lingering` of one that was given up, whose it is and +1, and -1 when its child is gone.
        ProcessDied: its child did."""
        await self._free.acquire()
        child: Child | None = None
        try:
            child = await self._taken()
            while (outcome := await self._attempt(child, asked, context, begins)) is None:
                self._children.discard(child)
                child = await self._started()
        except BaseException as error:
            lingers = None
            if isinstance(error, asyncio.CancelledError):
                lingers = partial(lingering, context.token)
            self._give_up(child, lingers, late=not context.lost)
            raise
        self._rest(child)
        self._free.release()
        return outcome

    async def close(self) -> None:
        """Nobody wants what still runs."""
        if self._sweep is not None:
            self._sweep.cancel()
        children = list(self._children)
        self._resting.clear()
        await asyncio.gather(*(child.gone() for child in children), *self._ending)
        self._children.clear()

    async def _attempt(
        self, child: Child, asked: Run | Handle, context: Hears, begins: Callable[[], None]
    ) -> Outcome | None:
        """None: the child had died before it was asked."""
        begun = False
        await child.tell(asked)
        while (message := await read(child.reader)) is not None:
            match message:
                case Began(timeout):
                    begun = True
                    context.timeout = context.timeout if timeout is None else timeout
                    begins()
                case Note(share, lines, dropped):
                    context.heard(share, lines, dropped)
                case Ended():
                    child.used = True
                    return outcome_of(message)
                case _:
                    pass
        code = await child.gone(MOMENT)
        if child.used and not begun:
            return None
        raise ProcessDied(died(child.process.pid, code, begun))

    async def _taken(self) -> Child:
        return self._resting.pop() if self._resting else await self._started()

    async def _started(self) -> Child:
        """From the loop's thread: the kernel kills a child when the thread ends that made it."""
        ours, theirs = socket.socketpair()
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *subprocess._args_from_interpreter_flags(),  # pyright: ignore
                "-c",
                BOOT,
                str(theirs.fileno()),
                str(os.getpid()),
                json.dumps(sys.path),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
            theirs.close()
            child = Child(process, *await asyncio.open_connection(sock=ours))
        except BaseException:
            ours.close()  # a child that is there already hears of it, and ends
            raise
        finally:
            theirs.close()
        self._children.add(child)
        child.writer.write(written(self._settle))
        return child

    def _rest(self, child: Child) -> None:
        loop = asyncio.get_running_loop()
        child.rests_since = loop.time()
        self._resting.append(child)
        if self._sweep is None:
            self._sweep = loop.call_later(LONGEST_REST, self._end_rested)

    def _end_rested(self) -> None:
        """The last one that rested is the first to be taken, so the others get old."""
        loop = asyncio.get_running_loop()
        self._sweep = None
        old = [c for c in self._resting if loop.time() - c.rests_since >= LONGEST_REST]
        self._resting = [child for child in self._resting if child not in old]
        for child in old:
            child.writer.close()  # it hears of it, and ends
            self._end(child, None, None)
        if self._resting:
            next_look = self._resting[0].rests_since + LONGEST_REST
            self._sweep = loop.call_at(next_look, self._end_rested)

    def _give_up(self, child: Child | None, lingers: Lingers | None, *, late: bool) -> None:
        if child is None:
            self._free.release()
            return
        if lingers is not None:
            lingers(+1)
        self._end(child, lingers, Stop(late), slot=True)

    def _end(
        self, child: Child, lingers: Lingers | None, last_word: Stop | None, *, slot: bool = False
    ) -> None:
        ending = asyncio.create_task(self._ended(child, lingers, last_word, slot))
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)

    async def _ended(
        self, child: Child, lingers: Lingers | None, last_word: Stop | None, slot: bool
    ) -> None:
        try:
            if last_word is not None and child.process.returncode is None:
                with suppress(TimeoutError):
                    async with asyncio.timeout(MOMENT):
                        await child.tell(last_word)
            await child.gone(MOMENT)
        finally:
            self._children.discard(child)
            if slot:
                self._free.release()
            if lingers is not None:
                lingers(-1)


def died(pid: int, code: int, begun: bool) -> str:
    """What can be said of a child's end."""
    where = f"the child process in which it ran (pid {pid})"
    if not begun:
        where = f"a child process (pid {pid}) for it did not come up: it"
    if code >= 0:
        return f"{where} ended with exit code {code} in the middle of it; its stderr may say why"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hint = "; perhaps there was no memory left" if name == "SIGKILL" else ""
    return f"{where} was ended by {name}{hint}"


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
