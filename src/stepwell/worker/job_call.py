"""Jobs: one function with its arguments."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from stepwell.db.claim import Task
from stepwell.define.job import Job
from stepwell.define.outcome import Cancel, Outcome, Snooze
from stepwell.errors import PayloadError
from stepwell.worker.answer import outcome_of
from stepwell.worker.body import Hands
from stepwell.worker.context import TaskContext
from stepwell.worker.failure import failed
from stepwell.worker.guard import Handler, Raised, guarded


class JobCall:
    """From a task's JSON to the arguments of the function."""

    takes_input = False
    input_type: Any = Any

    def __init__(self, job: Job[..., Any, ...]) -> None:
        self.job = job
        backoff = job.options.backoff
        self.backoff = backoff if callable(backoff) else None
        self._is_async = job.is_async

    async def attempt(self, task: Task, context: TaskContext, hands: Hands) -> Outcome:
        try:
            arguments = self.job.read(task.input or "{}")
        except Exception as error:  # a type of theirs may refuse in any way; PayloadError is final
            return failed(error, permanent=isinstance(error, PayloadError))
        if self.job.context_name:
            arguments[self.job.context_name] = context
        handler = Handler(partial(self.job.handler, **arguments), self._is_async)
        ended = await guarded(handler, context, hands.threads)
        if isinstance(ended, Raised) and self._is_final(ended.error):
            ended = Raised(ended.error, replace(ended.failed, permanent=True))
        return outcome_of(task, ended)

    def _is_final(self, error: BaseException) -> bool:
        return isinstance(error, self.job.no_retry) and not isinstance(error, Snooze | Cancel)
