"""The steps of machines. A step may change the fields as it likes: they are committed with what it
answers, and with nothing else. on_error gets the state as it was before the step."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from stepwell.db.claim import Task
from stepwell.define.limited import Limits
from stepwell.define.machine import Machine, MachineDef
from stepwell.define.moves import move_of
from stepwell.define.outcome import (
    Await,
    Done,
    Failed,
    Moved,
    Next,
    Outcome,
    Retry,
    Spawn,
    Stop,
)
from stepwell.define.reference import MachineStep
from stepwell.worker.answer import finally_failed
from stepwell.worker.body import Hands
from stepwell.worker.context import TaskContext
from stepwell.worker.failure import both, described, failed, failed_as, no_novel
from stepwell.worker.guard import Handler, Raised, Returned, guarded
from stepwell.worker.joined import failed_child, join_of
from stepwell.worker.middleware import call
from stepwell.worker.policy import UNSAID, policy_of
from stepwell.worker.transactional import undone, within

Method = Callable[..., Any]
OUTCOMES = (Next, Retry, Await, Spawn, Done, Stop)
SAYS = "it answers with Next, Retry, Await, Spawn, Done or Stop"


class MachineBody:
    """One step of one version of a machine."""

    takes_input = False
    input_type: Any = Any

    def __init__(
        self, machine: MachineDef, step: MachineStep[Any, Any, Any], limits: Limits | None
    ) -> None:
        self._limits = limits
        self._cls = machine.cls
        self._step: Method = step.method
        self.transactional = step.transactional
        self._on_error: Method | None = getattr(machine.cls, "on_error", None)
        self.policy = policy_of(machine.options, step.options)

    async def attempt(self, task: Task, context: TaskContext, hands: Hands) -> Outcome:
        try:
            machine = self._cls.decode(task.input or "{}")
            raised = await self._of_children(task, hands)
        except Exception as error:  # without a state nobody can be asked: the policy decides
            return failed(error)
        if raised is None:
            step = handler_of(self._step, machine, context)
            ended = await call(task, within(step, context), context, hands)
            return await self._ended(ended, machine, task, context, hands)
        return await self._failed(raised, task, context, hands)

    async def over(
        self, ended: Returned | Raised, task: Task, context: TaskContext, hands: Hands
    ) -> Outcome:
        """What follows when the step ran elsewhere: the fields are as they were before it."""
        machine = self._cls.decode(task.input or "{}")
        return await self._ended(ended, machine, task, context, hands)

    async def _ended(
        self,
        ended: Returned | Raised,
        machine: Machine,
        task: Task,
        context: TaskContext,
        hands: Hands,
    ) -> Outcome:
        answer = ended
        if isinstance(answer, Returned):
            answer = self._answered(answer.value, machine, task, context)
        if not isinstance(answer, Raised):
            return answer
        return await self._failed(finally_failed(answer), task, context, hands)

    async def _failed(
        self, raised: Raised, task: Task, context: TaskContext, hands: Hands
    ) -> Outcome:
        if await undone(context):
            return raised.failed  # the step runs again, as if it had not
        return await self._rescued(raised, task, context.after(), hands)

    def _answered(
        self, outcome: object, machine: Machine, task: Task, context: TaskContext
    ) -> Outcome | Raised:
        """Write the state and the move; what cannot be written is an error of the step."""
        if not isinstance(outcome, OUTCOMES):
            said = f"step {task.step_slug!r} returned {described(outcome)}; {SAYS}"
            return failed_as("BadOutcome", said, permanent=True)
        try:
            word, move = move_of(outcome, state=machine, handed=context.handed, limits=self._limits)
            return Moved(word, move, message=outcome.reason if isinstance(outcome, Stop) else None)
        except Exception as error:
            return Raised(error, failed(error))

    async def _rescued(
        self, raised: Raised, task: Task, context: TaskContext, hands: Hands
    ) -> Outcome:
        """What on_error makes of an error: any outcome, or None for the policy."""
        if self._on_error is None:
            return raised.failed
        machine = self._cls.decode(task.input or "{}")
        handler = handler_of(self._on_error, machine, raised.error, context)
        ended = await guarded(handler, context, hands.threads)
        if isinstance(ended, Raised):
            return both(raised.failed, ended.failed, "on_error failed too")
        if ended.value is None:
            return raised.failed
        answer = self.policy.timed(ended.value, raised.failed, task.attempt)
        if not isinstance(answer, OUTCOMES):
            said = f"it returned {described(ended.value)}; {SAYS}, or with None"
            return both(raised.failed, failed_as("BadOutcome", said), "on_error failed too")
        try:
            word, move = move_of(
                answer,
                state=machine,
                handed=context.handed,
                after_error=True,
                limits=self._limits,
            )
        except Exception as error:
            return both(raised.failed, failed(error), "on_error failed too")
        return with_failure(Moved(word, move), ended.value, raised.failed)

    async def _of_children(self, task: Task, hands: Hands) -> Raised | None:
        """A failed child whose parent is to fail with it: the step is not called."""
        join = join_of(task)
        if join is None or not join.fails:
            return None
        return failed_child(task, await hands.asking.joined(task.message_id, join.total))


class UnknownStep:
    """A run stands at a step that its version has not here: a failed attempt, and no crash."""

    takes_input = False
    transactional = False
    input_type: Any = Any
    policy = UNSAID

    def __init__(self, machine: MachineDef) -> None:
        self._machine = machine

    async def attempt(self, task: Task, context: TaskContext, hands: Hands) -> Outcome:
        machine = self._machine
        return failed_as(
            "UnknownStep",
            f"machine {machine.slug!r}, version {machine.version}, has no step "
            f"{task.step_slug!r} here; its steps are {', '.join(machine.steps)}",
        )


def handler_of(method: Method, *arguments: object) -> Handler:
    return Handler(partial(method, *arguments), inspect.iscoroutinefunction(method))


def with_failure(moved: Moved, outcome: object, failure: Failed) -> Moved:
    """The failed attempt that on_error dealt with is kept beside the move."""
    message = failure.message
    if isinstance(outcome, Stop):  # one text for both: why the run ends, and what came before
        message = no_novel(f"{outcome.reason} ({failure.error_type}: {message})")
    return replace(
        moved, error_type=failure.error_type, message=message, traceback=failure.traceback
    )
