"""Jobs: one function with its arguments."""

from __future__ import annotations

from functools import partial
from typing import Any

from stepwell.db.claim import Task
from stepwell.define.job import Job
from stepwell.define.outcome import Outcome
from stepwell.errors import PayloadError
from stepwell.worker.answer import outcome_of
from stepwell.worker.body import Hands
from stepwell.worker.context import TaskContext
from stepwell.worker.failure import failed
from stepwell.worker.guard import Handler, Raised, Returned
from stepwell.worker.middleware import call
from stepwell.worker.policy import policy_of
from stepwell.worker.transactional import within


class JobCall:
    """From a task's JSON to the arguments of the function."""

    takes_input = False
    input_type: Any = Any

    def __init__(self, job: Job[..., Any, ...]) -> None:
        self.job = job
        self.transactional = job.transactional
        self.policy = policy_of(job.options)
        self._is_async = job.is_async

    async def attempt(self, task: Task, context: TaskContext, hands: Hands) -> Outcome:
        try:
            arguments = self.job.read(task.input or "{}")
        except Exception as error:  # a type of theirs may refuse in any way; PayloadError is final
            return failed(error, permanent=isinstance(error, PayloadError))
        if self.job.context_name:
            arguments[self.job.context_name] = context
        handler = Handler(partial(self.job.handler, **arguments), self._is_async)
        ended = await call(task, within(handler, context), context, hands)
        return await self.over(ended, task, context, hands)

    async def over(
        self, ended: Returned | Raised, task: Task, context: TaskContext, hands: Hands
    ) -> Outcome:
        return outcome_of(task, ended)
