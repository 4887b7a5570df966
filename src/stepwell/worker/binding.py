"""A step made ready to run: which decoder reads which parameter is decided once, not per task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from stepwell.define.flow import Flow
from stepwell.define.payload import decoder
from stepwell.define.registry import Registry
from stepwell.define.step import Parameter, Step
from stepwell.errors import PayloadError
from stepwell.worker.context import TaskContext

Read = Callable[[bytes | str], Any]
outputs = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Binding:
    """From a task's JSON to the arguments of its handler."""

    def __init__(self, flow: Flow[Any, Any], step: Step[..., Any]) -> None:
        self.step = step
        self.handler: Callable[..., Any] = step.handler
        self.is_async = step.is_async
        self.takes_input = step.takes_input
        self.input_type: Any = flow.input_type
        self._parameters = [(p, self._reader(p)) for p in step.parameters]
        self._has_dependencies = any(p.source == "dependency" for p in step.parameters)

    def arguments(self, task_input: str | None, context: TaskContext) -> dict[str, Any]:
        """What the handler is called with; PayloadError when a value does not fit its type."""
        given = outputs.decode(task_input) if self._has_dependencies and task_input else {}
        values: dict[str, Any] = {}
        for parameter, read in self._parameters:
            match parameter.source:
                case "dependency":
                    value = self._dependency(parameter, read, given)
                case "element":
                    value = self._read(parameter, read, task_input or "null")
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


def bind_all(registry: Registry) -> dict[tuple[str, str], Binding]:
    """Every step of every flow that a worker serves, by flow and step."""
    return {
        (flow.slug, step.slug): Binding(flow, step)
        for flow in registry.flows.values()
        for step in flow.steps.values()
    }
