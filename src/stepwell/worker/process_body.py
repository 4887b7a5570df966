"""A body that runs in a child process: the whole attempt does, from its JSON to its outcome."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from stepwell.db.claim import Task
from stepwell.define.outcome import Completed, Failed, Moved, Outcome
from stepwell.define.payload import decoder
from stepwell.observe.traces import carried
from stepwell.worker.body import Body, Hands
from stepwell.worker.context import TaskContext
from stepwell.worker.failure import FailedElsewhere
from stepwell.worker.flow_step import FlowStep
from stepwell.worker.guard import Handler, Raised, Returned
from stepwell.worker.imported import Importable, path_of
from stepwell.worker.middleware import call
from stepwell.worker.policy import UNSAID
from stepwell.worker.process_wire import Bound, Run

_plain = decoder(Any)


class Here(Body, Protocol):
    """The same body in this process."""

    async def over(
        self, ended: Returned | Raised, task: Task, context: TaskContext, hands: Hands
    ) -> Outcome:
        """What becomes of what the handler returned or raised."""
        ...


class ProcessBody:
    """Around the body that would run here. The child says what became of the attempt; what only the
    worker sees (a timeout, a child that died) is dealt with here, as the body says."""

    transactional = False
    policy = UNSAID  # it is applied where the error is at hand

    def __init__(self, definition: Importable, here: Here, bound: Bound | None = None) -> None:
        self._definition = definition
        self._bound = bound
        self._here = here
        self.takes_input = here.takes_input
        self.input_type = here.input_type

    async def attempt(self, task: Task, context: TaskContext, hands: Hands) -> Outcome:
        if hands.processes is None or (task.children and isinstance(self._here, FlowStep)):
            answer = await self._here.attempt(task, context, hands)
            return self._here.policy.judged(answer, task.attempt)
        processes, path, seen = hands.processes, path_of(self._definition), bool(hands.middleware)

        async def run(begins: Callable[[], None]) -> object:
            given = (context.flow_input_json, context.worker_id, carried())
            asked = Run(path, task, *given, self._bound)
            outcome = await processes.run(asked, context, begins, hands.linger)
            if isinstance(outcome, Failed):
                raise FailedElsewhere(outcome)
            if seen and isinstance(outcome, Completed):
                return _plain(outcome.output_json)
            return outcome

        ended = await call(task, Handler(run, is_async=False, elsewhere=True), context, hands)
        if isinstance(ended, Returned) and isinstance(ended.value, Completed | Moved):
            return ended.value
        if isinstance(ended, Raised) and isinstance(ended.error, FailedElsewhere):
            return ended.failed
        answer = await self._here.over(ended, task, context, hands)
        return self._here.policy.judged(answer, task.attempt)
