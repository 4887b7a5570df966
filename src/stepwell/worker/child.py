"""A child process of a worker: it makes one attempt after the other, as its worker says. Its stdin
is empty, its stdout and stderr are the worker's; it ends when the pipe to the worker does."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from math import inf
from typing import Any, NoReturn
from uuid import UUID

from stepwell.db.claim import Task
from stepwell.define.flow import flow_of
from stepwell.define.machine import machine_of
from stepwell.define.outcome import Completed, Outcome
from stepwell.observe.capture import speaking
from stepwell.observe.traces import Traces, resumed
from stepwell.settings import Settings
from stepwell.worker.asking import Asking
from stepwell.worker.body import Body, Hands
from stepwell.worker.context import ON_ERROR, TaskContext
from stepwell.worker.failure import failed
from stepwell.worker.flow_step import FlowStep
from stepwell.worker.imported import definition_at
from stepwell.worker.job_call import JobCall
from stepwell.worker.machine_step import MachineBody
from stepwell.worker.notes import Notes, Page
from stepwell.worker.process_wire import (
    Began,
    Handle,
    Message,
    Note,
    Run,
    Settle,
    Stop,
    ended,
    read,
    written,
)
from stepwell.worker.queue_attempt import attempt, policy_of
from stepwell.worker.queue_message import Held
from stepwell.worker.threads import Threads
from stepwell.worker.transactions import Transactions

PR_SET_PDEATHSIG = 1
SLACK = 5.0  # seconds that the worker waits for an on_error beyond its timeout

Send = Callable[[Message], None]


def main(descriptor: int, parent: int) -> None:
    """Serve the worker at the other end of that socket."""
    end_with(parent)
    for number in (signal.SIGTERM, signal.SIGINT):  # the worker decides when we end, and how
        signal.signal(number, lambda _number, _frame: None)
    os.set_inheritable(descriptor, False)
    asyncio.run(serve(socket.socket(fileno=descriptor)))


def end_with(parent: int) -> None:
    """Die with the worker, however it dies, and also in the middle of something that lets nothing
    else run. Elsewhere than on Linux the end of the pipe has to do."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


async def serve(pipe: socket.socket) -> NoReturn:
    reader, writer = await asyncio.open_connection(sock=pipe)
    settle = await read(reader)
    if isinstance(settle, Settle):
        bench = Bench(settle, lambda message: writer.write(written(message)))
        keeping = asyncio.create_task(bench.notes.run())
        while (message := await read(reader)) is not None:
            match message:
                case Run() | Handle():
                    bench.begin(message)
                case Stop(late):
                    bench.stop(late=late)
                case _:
                    pass
        keeping.cancel()
    leave()


def leave() -> NoReturn:
    """Whatever still runs in a thread."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            continue
    os._exit(0)


class Bench:
    """Where one attempt at a time is made."""

    def __init__(self, settle: Settle, send: Send) -> None:
        self.notes = PipedNotes(send, lines=settle.log_lines, size=settle.log_bytes)
        self._send = send
        self._settings = Settings(dsn=settle.dsn, connect_timeout=settle.connect_timeout)
        self._asking = Asking(self._settings)
        self._threads = Threads(1, self._linger)
        self._lingering = 0
        self._stopping = False
        self._context: ChildContext | ChildHeld | None = None
        self._running: asyncio.Task[None] | None = None

    def begin(self, asked: Run | Handle) -> None:
        self._running = asyncio.create_task(self._run(asked))

    def stop(self, *, late: bool) -> None:
        """Nobody wants the outcome: leave as soon as the body has."""
        self._stopping = True
        if self._context is not None:
            self._context.late = late
            self._context.lose()
        if self._running is None or self._running.done():
            leave()
        self._running.cancel()
        self._running.add_done_callback(lambda _: self._leave_if_done())

    async def _run(self, asked: Run | Handle) -> None:
        try:
            handles = isinstance(asked, Handle)
            outcome = await (self._handled(asked) if handles else self._outcome(asked))
        except Exception as error:
            outcome = failed(error)
        if self._stopping:
            return
        self._send(ended(outcome))
        if self._lingering:  # of an on_error that did not end
            await asyncio.sleep(0.1)
            leave()

    async def _outcome(self, run: Run) -> Outcome:
        task = run.task
        body = body_at(run, task)
        context = ChildContext(
            task, run.worker_id, self._asking, run.flow_input, body.input_type, notes=self.notes
        )
        self._context = context.telling(self._send)
        speaking.set(context)
        with resumed(run.trace):
            self._send(Began())
            answer = await body.attempt(task, context, self._hands(run.worker_id))
        outcome = body.policy.judged(answer, task.attempt)
        await context.noted()
        return outcome

    async def _handled(self, asked: Handle) -> Outcome:
        """What its handler returned is nobody's business."""
        definition: Any = definition_at(asked.path, "message", asked.queue)
        held = ChildHeld(definition, asked.message, asked.worker_id)
        self._context = held
        with resumed(asked.trace):
            self._send(Began())
            failure = await attempt(held, self._hands(asked.worker_id))
        if failure is None:
            return Completed(b"null")
        return policy_of(definition).judged(failure, held.read_ct)

    def _hands(self, worker: UUID) -> Hands:
        transactions = Transactions(self._settings)
        return Hands(worker, self._threads, self._asking, Traces("off"), transactions=transactions)

    def _linger(self, _token: int, change: int) -> None:
        self._lingering += change
        if self._stopping:
            self._leave_if_done()

    def _leave_if_done(self) -> None:
        if not self._lingering:
            leave()


class ChildContext(TaskContext):
    """The worker holds the handler to its timeout."""

    __slots__ = ("_send",)

    def telling(self, send: Send) -> ChildContext:
        self._send = send
        return self

    def begins(self) -> None:
        self.timeout = inf
        self.deadline = datetime.now(UTC) + timedelta(seconds=self._task.timeout)

    def after(self) -> TaskContext:
        self._send(Began(min(self._task.timeout, ON_ERROR) + SLACK))
        return super().after()


class ChildHeld(Held):
    """The worker holds the handler to its timeout."""

    def begins(self) -> None:
        self.timeout = inf


class PipedNotes(Notes):
    """What a body says goes to the worker, which keeps it with what all its bodies say."""

    def __init__(self, send: Send, *, lines: int, size: int) -> None:
        super().__init__(lines=lines, size=size)
        self._send = send

    async def _write_pages(self, pages: Sequence[Page]) -> None:
        for page in pages:
            share = page.share
            self._send(
                Note(
                    None if share is None else (share.share, share.message, share.at),
                    [(line.at, line.level, line.message) for line in page.lines],
                    page.dropped - page.book.told,
                )
            )
            self._written(page, "written")


def body_at(run: Run, task: Task) -> Body:
    """What runs for a task, out of the definition that is imported."""
    if (bound := run.bound) is not None:
        handler: Any = definition_at(run.path, "handler", bound.pattern)
        step = handler.step(task.flow_slug, task.step_slug, bound.kind, bound.dependencies)
        return FlowStep(flow_of(task.flow_slug, [step]), step, None)
    definition: Any = definition_at(run.path, task.kind, task.flow_slug, task.version)
    match task.kind:
        case "flow":
            return FlowStep(definition, definition.steps[task.step_slug], None)
        case "job":
            return JobCall(definition)
        case _:
            facts = machine_of(definition)
            return MachineBody(facts, facts.steps[task.step_slug], None)
