"""The steps of flows: a handler each, or a wait that is over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import msgspec

from stepwell.db.claim import Task
from stepwell.define.flow import Flow
from stepwell.define.limited import Limits
from stepwell.define.moves import spawn_of
from stepwell.define.outcome import Completed, Moved, Outcome, Spawn
from stepwell.define.payload import decoder
from stepwell.define.step import Parameter, Step
from stepwell.errors import PayloadError
from stepwell.worker.answer import finally_failed, outcome_of
from stepwell.worker.body import Hands
from stepwell.worker.context import TaskContext
from stepwell.worker.failure import failed, failed_as
from stepwell.worker.guard import Handler, Raised, Returned
from stepwell.worker.joined import join_of, results
from stepwell.worker.middleware import call
from stepwell.worker.policy import UNSAID, policy_of
from stepwell.worker.transactional import within

Read = Callable[[bytes | str], Any]
outputs = msgspec.json.Decoder(dict[str, msgspec.Raw])


class FlowStep:
    """From a task's JSON to the arguments of its handler; which decoder reads which parameter is
    decided once, not per task."""

    def __init__(self, flow: Flow[Any, Any], step: Step[..., Any], limits: Limits | None) -> None:
        self._limits = limits
        self.step = step
        self.takes_input = step.takes_input
        self.transactional = step.transactional
        self._is_async = step.is_async
        self.input_type: Any = flow.input_type
        self.policy = policy_of(flow.options, step.options)
        self._parameters = [(p, self._reader(p)) for p in step.parameters]
        self._has_dependencies = any(p.source == "dependency" for p in step.parameters)

    async def attempt(self, task: Task, context: TaskContext, hands: Hands) -> Outcome:
        if join := join_of(task):  # the handler spawned, and what it waited for has come
            return await results(task, join, hands.asking)
        try:
            arguments = self._arguments(task.input, context)
        except Exception as error:  # a type of theirs may refuse in any way; PayloadError is final
            return failed(error, permanent=isinstance(error, PayloadError))
        handler = Handler(partial(self.step.handler, **arguments), self._is_async)
        ended = await call(task, within(handler, context), context, hands)
        return await self.over(ended, task, context, hands)

    async def over(
        self, ended: Returned | Raised, task: Task, context: TaskContext, hands: Hands
    ) -> Outcome:
        if isinstance(ended, Returned) and isinstance(ended.value, Spawn):
            return spawned(ended.value, self._limits)
        return outcome_of(task, ended)

    def _arguments(self, task_input: str | None, context: TaskContext) -> dict[str, Any]:
        """What the handler is called with; PayloadError when a value does not fit its type."""
        given = outputs.decode(task_input) if self._has_dependencies and task_input else {}
        values: dict[str, Any] = {}
        for parameter, read in self._parameters:
            match parameter.source:
                case "dependency":
                    value = self._dependency(parameter, read, given)
                case "element":
                    value = self._read(parameter, read, task_input or "null")
                case "outputs":
                    value = self._read(parameter, read, task_input or "{}")
                case "flow_input":
                    value = self._read(parameter, read, context.flow_input_json or "null")
                case "context":
                    value = context
            values[parameter.name] = value
        return values

    def _dependency(
        self, parameter: Parameter, read: Read, given: Mapping[str, msgspec.Raw]
    ) -> Any:
        raw = given.get(parameter.dependency or parameter.name)
        if raw is None:
            return parameter.default  # its step was skipped
        return self._read(parameter, read, bytes(raw))

    def _read(self, parameter: Parameter, read: Read, payload: bytes | str) -> Any:
        try:
            return read(payload)
        except PayloadError as error:
            raise PayloadError(
                f"step {self.step.slug!r}, parameter {parameter.name!r}: {error}"
            ) from error

    def _reader(self, parameter: Parameter) -> Read:
        if parameter.source == "flow_input" and parameter.type is Any:
            return decoder(self.input_type)
        return decoder(Any if parameter.source == "context" else parameter.type)


class Wait:
    """A step without a handler: time has passed, or a signal came, or it did not."""

    takes_input = False
    transactional = False
    input_type: Any = Any
    policy = UNSAID

    def __init__(self, step: Step[..., Any]) -> None:
        self.step = step

    async def attempt(self, task: Task, context: TaskContext, hands: Hands) -> Outcome:
        if self.step.kind == "sleep":
            return Completed(b"null")
        try:
            payloads = payloads_of(task.signals or "[]")
        except Exception as error:  # nested deeper than Python goes
            return failed(error, permanent=True)
        if not payloads:
            said = f"the signal {self.step.signal!r} did not come within the timeout of the step"
            return failed_as("SignalTimedOut", said, permanent=True)
        return Completed(payloads[0])


class _Payload(msgspec.Struct):
    payload: msgspec.Raw


_payloads = msgspec.json.Decoder(list[_Payload])


def payloads_of(signals: str) -> list[bytes]:
    """The payloads as they were sent; nobody here looks into them."""
    return [bytes(signal.payload) for signal in _payloads.decode(signals)]


def spawned(spawn: Spawn, limits: Limits | None) -> Outcome:
    try:
        return Moved("spawn", spawn_of(spawn, limits=limits))
    except Exception as error:  # a `then`, an unknown limit, or an input that is not JSON
        return finally_failed(Raised(error, failed(error))).failed
