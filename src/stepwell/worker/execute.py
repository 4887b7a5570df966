"""EXECUTE: run one handler and say how it ended. Whatever the handler does, this returns."""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Callable
from functools import partial

from stepwell.db.claim import Task
from stepwell.define.outcome import Completed, Failed, Outcome
from stepwell.define.payload import encode
from stepwell.errors import PayloadError, PermanentError
from stepwell.observe.emit import emit
from stepwell.observe.events import TaskFailed, TaskStarted, TaskSucceeded
from stepwell.worker.binding import Binding
from stepwell.worker.context import TaskContext
from stepwell.worker.threads import Threads

LONGEST_MESSAGE = 10_000
LONGEST_TRACEBACK = 50_000


async def execute(task: Task, binding: Binding, context: TaskContext, threads: Threads) -> Outcome:
    """One attempt, bounded by the step's timeout. Waiting for a free thread does not count."""
    facts = (task.run_id, task.flow_slug, task.step_slug, task.task_index, task.attempt)
    emit(TaskStarted(*facts))
    began = time.perf_counter()
    try:
        arguments = binding.arguments(task.input, context)
    except Exception as error:  # a type of theirs may refuse in any way; PayloadError is final
        outcome: Outcome = failed(error, permanent=isinstance(error, PayloadError))
    else:
        outcome = await attempt(task, binding, context, threads, arguments)
    seconds = time.perf_counter() - began
    if isinstance(outcome, Failed):
        will_retry = not outcome.permanent and task.attempt < task.max_attempts
        emit(TaskFailed(*facts, seconds, outcome.error_type, outcome.message, will_retry))
    else:
        emit(TaskSucceeded(*facts, seconds))
    return outcome


async def attempt(
    task: Task,
    binding: Binding,
    context: TaskContext,
    threads: Threads,
    arguments: dict[str, object],
) -> Outcome:
    deadline = asyncio.timeout(None)
    begins = partial(begin, task, context, deadline)
    try:
        async with deadline:
            value = await called(binding, threads, arguments, begins)
        return completed(task, value)
    except PermanentError as error:
        return failed(error, permanent=True)
    except asyncio.CancelledError as error:
        if context.cancelled:
            raise  # the worker stops, or the claim is gone
        forget_cancellation()
        return failed(error, says="the handler let a cancellation of its own escape")
    except TimeoutError as error:
        if not deadline.expired():
            return failed(error)
        context.cancelled = True
        return Failed(
            "TimedOut",
            f"step {task.step_slug!r} ran longer than its timeout of {task.timeout} s",
            shown(error),
        )
    except BaseException as error:
        if binding.is_async and isinstance(error, KeyboardInterrupt):
            raise  # Ctrl-C reached the loop in the middle of a handler
        return failed(error)


def begin(task: Task, context: TaskContext, deadline: asyncio.Timeout) -> None:
    """The handler can start: from now on its time counts."""
    deadline.reschedule(asyncio.get_running_loop().time() + task.timeout)
    context.begins()


async def called(
    binding: Binding, threads: Threads, arguments: dict[str, object], begins: Callable[[], None]
) -> object:
    if binding.is_async:
        begins()
        return await binding.handler(**arguments)
    return await threads.run(binding.handler, arguments, begins)


def forget_cancellation() -> None:
    """A handler that cancelled its own task must not cancel what we do after it."""
    current = asyncio.current_task()
    while current and current.cancelling():
        current.uncancel()


def completed(task: Task, value: object) -> Outcome:
    try:
        payload = encode(value)
        payload.decode()  # a msgspec.Raw may hold any bytes
        return Completed(payload)
    except (PayloadError, UnicodeDecodeError) as error:
        return failed(error, says=f"the output of step {task.step_slug!r} is not JSON: {error}")


def failed(error: BaseException, *, permanent: bool = False, says: str | None = None) -> Failed:
    message = says if says is not None else said_by(error)
    return Failed(type(error).__name__, clean(message, LONGEST_MESSAGE), shown(error), permanent)


def said_by(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException:
        return f"(the message of this {type(error).__name__} could not be read)"


def shown(error: BaseException) -> str:
    """The traceback from the handler on, without our own frames; the end matters most."""
    frames = error.__traceback__
    while frames and frames.tb_frame.f_globals.get("__name__", "").startswith("stepwell.worker"):
        frames = frames.tb_next
    try:
        text = "".join(traceback.format_exception(type(error), error, frames))
    except BaseException:
        text = f"{type(error).__name__} (its traceback could not be formatted)"
    return clean(text, LONGEST_TRACEBACK, keep_end=True)


def clean(text: str, longest: int, *, keep_end: bool = False) -> str:
    """What a text column holds: no U+0000, no half characters, no novels."""
    text = text.replace("\0", "\N{REPLACEMENT CHARACTER}")
    text = text.encode("utf-8", "replace").decode()
    if len(text) <= longest:
        return text
    return f"…{text[-longest:]}" if keep_end else f"{text[:longest]}…"
