"""What a run can be started of, whichever kind it is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from stepwell.compile.flows import compile_flow
from stepwell.compile.jobs import compile_job
from stepwell.compile.machines import compile_machine
from stepwell.define.calls import called
from stepwell.define.definition import Definition, slug_of
from stepwell.define.flow import Flow, FlowCall
from stepwell.define.job import Job, JobCall
from stepwell.define.payload import encode
from stepwell.define.results import result_of
from stepwell.define.startable import Startable
from stepwell.errors import PayloadError


def shape_of(definition: Definition, *, archive: bool = False) -> str:
    """The definition as the database stores it, as JSON; `archive`: of an app that archives."""
    if isinstance(definition, Flow):
        shape = compile_flow(definition)
    elif isinstance(definition, Job):
        shape = compile_job(definition)
    else:
        shape = compile_machine(definition)
    return (shape.archived() if archive else shape).to_json()


def output_type_of(definition: Definition | str | None) -> Any:
    """What the result of its runs is read as."""
    if isinstance(definition, Flow):
        return definition.output_type
    return result_of(definition.returns) if isinstance(definition, Job) else Any


def parts_of(startable: Startable) -> tuple[Definition, str]:
    """The definition, and the input as JSON text."""
    payload = called(startable).input.decode()
    owner: Any = type(startable)
    if isinstance(startable, JobCall | FlowCall):
        call = cast("JobCall[Any] | FlowCall[Any]", startable)
        owner = call.job if isinstance(call, JobCall) else call.flow
    return owner, payload


def written_inputs(definition: Definition | str, inputs: Iterable[object]) -> list[str]:
    """Inputs as JSON text; PayloadError says which one cannot be one and why."""
    written: list[str] = []
    for value in inputs:
        try:
            written.append(written_input(definition, value))
        except PayloadError as error:
            raise PayloadError(f"input {len(written)}: {error}") from error
    return written


def written_input(definition: Definition | str, value: object) -> str:
    if isinstance(definition, Flow):
        return definition.call(value).payload.decode()
    if isinstance(definition, str):
        return encode(value).decode()
    if isinstance(value, Startable):
        owner, payload = parts_of(value)
        if owner is definition:
            return payload
    raise PayloadError(f"{value!r} does not start {slug_of(definition)!r}")
