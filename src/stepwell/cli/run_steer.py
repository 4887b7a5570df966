"""`stepwell runs cancel`, `retry`, `restart`, `delete`: of one run, or of all that fit."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any
from uuid import UUID

from cyclopts import Parameter

from stepwell.cli.database import AsJson, Dsn
from stepwell.cli.exits import Exit, UsageError
from stepwell.cli.output import complain, console, note, plain, print_json
from stepwell.cli.run_list import InStates, OfFlows, OfKind, Which
from stepwell.cli.runs import Actor, Limit, RunId, Status, connected, resolve, told
from stepwell.cli.show import run_table
from stepwell.client.client import Client
from stepwell.client.run import Run
from stepwell.db.inspect import RunSummary
from stepwell.errors import DatabaseUnavailable, StepwellError

YES = ("y", "yes")
ENDED: tuple[Status, ...] = ("completed", "failed", "cancelled")

Act = Callable[[Run[Any]], Awaitable[bool | UUID]]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Several:
    """Which runs, where none is named, beside what a list can be told; and whether to ask."""

    flow: OfFlows = ()
    kind: OfKind = None
    status: InStates = ()
    limit: Limit = 1000
    dry_run: Annotated[bool, Parameter(negative=(), help="Only list which that would be.")] = False
    yes: Annotated[bool, Parameter(("--yes", "-y"), negative=(), help="Do not ask first.")] = False


@dataclass(frozen=True, slots=True)
class Verb:
    """What is done to a run. Where no state is asked for it is one of `states`."""

    name: str
    done: str
    otherwise: str
    states: Sequence[Status]
    act: Act = field(repr=False)


RunName = RunId | None


async def cancel(
    run: RunName = None,
    *,
    several: Several | None = None,
    which: Which | None = None,
    reason: Annotated[str | None, Parameter(help="Kept with the run.")] = None,
    actor: Actor = None,
    dsn: Dsn = None,
    json: AsJson = False,
) -> int:
    """End a run now, and its children; or all live runs that fit. Running steps are told to stop;
    what they return is dropped."""
    verb = Verb(
        "cancel",
        "cancelled",
        "it had ended already",
        ("started",),
        lambda r: r.cancel(reason, actor=actor),
    )
    return await steered(run, several or Several(), which or Which(), verb, dsn, json)


async def retry(
    run: RunName = None,
    *,
    several: Several | None = None,
    which: Which | None = None,
    actor: Actor = None,
    dsn: Dsn = None,
    json: AsJson = False,
) -> int:
    """Let a failed or cancelled run go on from where it ended, or all that fit. Completed steps
    stay."""
    verb = Verb(
        "retry",
        "retried",
        "only an ended run that failed can go on",
        ("failed", "cancelled"),
        lambda r: r.retry(actor=actor),
    )
    return await steered(run, several or Several(), which or Which(), verb, dsn, json)


async def delete(
    run: RunName = None,
    *,
    several: Several | None = None,
    which: Which | None = None,
    actor: Actor = None,
    dsn: Dsn = None,
    json: AsJson = False,
) -> int:
    """Forget a run that has ended, with all that it left, or all ended ones that fit."""
    verb = Verb("delete", "deleted", "it is live", ENDED, lambda r: r.delete(actor=actor))
    return await steered(run, several or Several(), which or Which(), verb, dsn, json)


async def restart(
    run: RunName = None,
    *,
    several: Several | None = None,
    which: Which | None = None,
    from_step: Annotated[
        str | None, Parameter(help="Take over what came before this step.")
    ] = None,
    actor: Actor = None,
    dsn: Dsn = None,
    json: AsJson = False,
) -> int:
    """Start a new run with the input of an old one, and print its id; or one for each ended run
    that fits."""

    async def again(old: Run[Any]) -> UUID:
        return (await old.restart(from_step, actor=actor)).id

    verb = Verb("restart", "restarted", "", ENDED, again)
    return await steered(run, several or Several(), which or Which(), verb, dsn, json)


async def steered(
    run: str | None, several: Several, which: Which, verb: Verb, dsn: str | None, json: bool
) -> int:
    chosen = several.flow or several.kind or several.status or which != Which()
    if (run is None) != bool(chosen):
        raise UsageError(
            f"name a run to {verb.name}, or say which ones: --flow, --status, --tag, --since, … "
            "(not both)"
        )
    async with connected(dsn) as client:
        if run is None:
            return await many(client, several, which, verb, json)
        return await one(client, run, verb, json)


async def one(client: Client, typed: str, verb: Verb, json: bool) -> int:
    run = client.run(await resolve(client, typed))
    answer = await verb.act(run)
    if isinstance(answer, UUID):
        print_json({"id": answer}) if json else print(answer)
        return Exit.OK
    otherwise = verb.otherwise
    if not answer and (status := (await run.info()).status) != "started":
        otherwise = f"{otherwise} ({status})"
    return told("run", run.id, verb.done, answer, otherwise, json)


async def many(client: Client, several: Several, which: Which, verb: Verb, json: bool) -> int:
    found = await fitting(client, several, which, verb)
    if several.dry_run:
        if json:
            print_json(plain(found))
        elif found:
            console().print(run_table(found))
    elif found:
        if not (several.yes or agreed(verb, len(found))):
            note("nothing was done")
            return Exit.FAILED
        return await acted(client, found, verb, json)
    if not found:
        note("no such runs")
        if json and not several.dry_run:
            print_json([])
    return Exit.OK


async def fitting(client: Client, several: Several, which: Which, verb: Verb) -> list[RunSummary]:
    filters = which.filters()
    if parent := filters.get("parent"):
        filters["parent"] = await resolve(client, str(parent))
    states, limit = several.status or verb.states, several.limit
    found = await client.list(several.flow or None, states, None, limit, several.kind, **filters)
    if len(found) == limit:
        note(f"there may be more: these are the newest {limit}")
    return found


def agreed(verb: Verb, count: int) -> bool:
    """Whether somebody wants it; UsageError where there is nobody to ask."""
    runs = "1 run" if count == 1 else f"{count} runs"
    if not sys.stdin.isatty():
        raise UsageError(f"this would {verb.name} {runs}: say --yes, or --dry-run to list them")
    return input(f"{verb.name} {runs}? [y/N] ").strip().lower() in YES


async def acted(client: Client, found: Sequence[RunSummary], verb: Verb, json: bool) -> int:
    """One after the other; what is refused of one is no reason to leave the others."""
    answers: list[dict[str, object]] = []
    for each in found:
        answer: dict[str, object] = {"id": each.id, verb.done: False}
        try:
            done = await verb.act(client.run(each.id))
            answer[verb.done] = bool(done)
            if isinstance(done, UUID):
                answer["new_id"] = done
        except DatabaseUnavailable:
            raise
        except StepwellError as error:
            answer["error"] = str(error)
        answers.append(answer)
        if not json:
            tell(answer, verb)
    if json:
        print_json(answers)
    return Exit.FAILED if any("error" in answer for answer in answers) else Exit.OK


def tell(answer: dict[str, object], verb: Verb) -> None:
    if "error" in answer:
        complain(f"run {answer['id']} was not {verb.done}: {answer['error']}")
    elif answer[verb.done]:
        new = f" as {answer['new_id']}" if "new_id" in answer else ""
        print(f"{verb.done} {answer['id']}{new}")
    else:  # its parent took it along, or somebody was quicker
        note(f"run {answer['id']} was not {verb.done}: {verb.otherwise}")
