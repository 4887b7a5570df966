"""What `start` and `enqueue` share: the run that is meant, its input, and how it is to run."""

from __future__ import annotations

import sys
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, cast
from uuid import UUID

from cyclopts import Parameter

from stepwell.cli.exits import WHAT_NOW, Exit, UsageError, message_of
from stepwell.cli.labels import Pairs, pairs_of
from stepwell.cli.load import load_definition
from stepwell.cli.output import complain, note, print_json
from stepwell.cli.stuck import saying_why
from stepwell.client.client import Client
from stepwell.client.options import StartChoices
from stepwell.client.run import Run
from stepwell.define.definition import Definition
from stepwell.define.flow import Flow
from stepwell.define.job import Job
from stepwell.define.payload import decoder
from stepwell.errors import PayloadError, RunFailed, RunTimeout


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class How:
    """How the run is to run."""

    key: Annotated[str | None, Parameter(help="Same key, same run.")] = None
    unique: Annotated[
        Literal["live", "kept"],
        Parameter(
            help="How long the key is taken: while the run is live, or as long as it is stored."
        ),
    ] = "live"
    priority: Annotated[
        int | None, Parameter(help="Lower goes first.", allow_leading_hyphen=True)
    ] = None
    queue: Annotated[
        str | None, Parameter(help="Another queue than its own (machines and jobs).")
    ] = None
    delay: Annotated[
        float | None, Parameter(help="Seconds until it may begin.", allow_leading_hyphen=True)
    ] = None
    at: Annotated[
        datetime | None,
        Parameter(help="When it may begin, with an offset: 2030-01-31T09:00+01:00."),
    ] = None
    concurrency: Annotated[
        str | None, Parameter(help="A key: one run with it at a time (machines and jobs).")
    ] = None
    tag: Annotated[
        tuple[str, ...], Parameter(negative=(), help="To find it by; may be repeated.")
    ] = ()
    metadata: Annotated[
        Pairs, Parameter(negative=(), help="To be read beside it: shop=7; may be repeated.")
    ] = ()

    def choices(self) -> StartChoices:
        said = {field.name: getattr(self, field.name) for field in fields(self)}
        said["tags"] = said.pop("tag") or None
        said["metadata"] = pairs_of(said["metadata"], "metadata") or None
        return cast(StartChoices, said)


async def begin(client: Client, wanted: Definition | str, given: str | None, how: How) -> Run[Any]:
    """Start what is meant with what was typed."""
    try:
        value = decoder(Any)(given or "null") if isinstance(wanted, str) else call_of(wanted, given)
    except PayloadError as error:
        raise UsageError(f"the input: {error}") from error
    if isinstance(wanted, str):
        return await client.start(wanted, value, **how.choices())
    return await client.start(value, **how.choices())


def call_of(wanted: Definition, given: str | None) -> Any:
    """The input is checked by the code that is at hand."""
    if isinstance(wanted, Flow):
        return wanted.call(decoder(wanted.input_type)(given or "null"))
    if isinstance(wanted, Job):
        return wanted.call(**decoder(dict[str, Any])(given or "{}"))
    return wanted.decode(given or "{}")


async def told(
    client: Client, run: Run[Any], how: How, *, wait: bool, timeout: float | None, json: bool
) -> int:
    """Say which run that is, or wait for it and print its output."""
    if wait:
        return await finish(client, run, timeout, json)
    if json:
        print_json({"id": run.id, "created": run.created})
    else:
        print(run.id)
        if not run.created:
            note(f"key {how.key!r} was taken: this is the run that has it")
    return Exit.OK


async def finish(client: Client, run: Run[Any], timeout: float | None, json: bool) -> int:
    """Wait for the run to end, and say how it did."""
    note(f"run {run.id}")
    try:
        async with saying_why(client, run.id):
            output: Any = await run.result(timeout=timeout)
    except (RunFailed, RunTimeout) as error:
        if json:
            print_json(await facts(client, run))
        complain(f"{message_of(error)}\n{what_now(error, run.id)}")
        return Exit.FAILED
    print_json(await facts(client, run) if json else output)
    return Exit.OK


def what_now(error: RunFailed | RunTimeout, run_id: UUID) -> str:
    if isinstance(error, RunTimeout):
        return f"see: stepwell runs explain {run_id}"
    return WHAT_NOW.format(run_id)


async def facts(client: Client, run: Run[Any]) -> dict[str, object]:
    info = await client.get(run.id)
    return {
        "id": info.id,
        "created": run.created,
        "status": info.status,
        "output": info.output,
        "failed_step": info.failed_step,
        "error_type": info.error_type,
        "error_message": info.error_message,
    }


def meant(typed: str) -> Definition | str:
    """The definition that was named, or the slug of a deployed one. A slug has no colon, dot or
    slash."""
    is_target = ":" in typed or typed.endswith(".py") or "/" in typed
    return load_definition(typed) if is_target else typed


def read(typed: str | None) -> str | None:
    """JSON as it was typed, or out of a file, or from stdin."""
    if typed == "-":
        return sys.stdin.read()
    if typed is not None and typed.startswith("@"):
        try:
            return Path(typed[1:]).read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{typed[1:]} cannot be read: {error}") from error
    return typed
