"""`stepwell queues`, for messages: make queues, send, and look after dead letters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from cyclopts import Parameter
from rich.table import Table
from rich.text import Text

from stepwell.cli.begin import read
from stepwell.cli.database import AsJson, Dsn
from stepwell.cli.exits import Exit, UsageError
from stepwell.cli.lanes import Queue, queues
from stepwell.cli.output import (
    compact,
    complain,
    console,
    note,
    plain,
    print_json,
    shortened,
    visible,
)
from stepwell.cli.runs import Actor, Limit, connected
from stepwell.cli.show import narrow_table
from stepwell.client.letters import DeadLetter
from stepwell.define.payload import decoder
from stepwell.errors import PayloadError

All = Annotated[
    bool, Parameter(name="--all", negative=(), help="All of the queue, instead of ids.")
]
Ids = Annotated[int, Parameter(help="Ids of dead letters; see `stepwell queues dead`.")]


@queues.command
async def create(queue: Queue, /, *, dsn: Dsn = None, json: AsJson = False) -> int:
    """Make a queue of messages. One that is there stays as it is."""
    async with connected(dsn) as client:
        created = await client.create_queue(queue)
    if json:
        print_json({"name": queue, "created": created})
    elif created:
        print(f"created {visible(queue)}")
    else:
        note(f"the queue {visible(queue)} is there already")
    return Exit.OK


@queues.command
async def send(
    queue: Queue,
    message: Annotated[
        str, Parameter(help="JSON, @FILE, or - for stdin.", allow_leading_hyphen=True)
    ],
    /,
    *,
    delay: Annotated[float, Parameter(help="Seconds until it is visible.")] = 0.0,
    headers: Annotated[str | None, Parameter(help="JSON that goes beside it.")] = None,
    dsn: Dsn = None,
    json: AsJson = False,
) -> int:
    """Put a message into a queue, and print its id."""
    value, beside = value_of("message", message), value_of("headers", headers)
    async with connected(dsn) as client:
        msg_id = await client.send(queue, value, delay=delay, headers=beside)
    if json:
        print_json({"queue": queue, "msg_id": msg_id})
    else:
        print(msg_id)
    return Exit.OK


@queues.command
async def dead(
    queue: Annotated[str | None, Parameter(help="Only of this queue.")] = None,
    /,
    *,
    limit: Limit = 20,
    traceback: Annotated[
        bool, Parameter(negative=(), help="Also how the last try of each failed.")
    ] = False,
    dsn: Dsn = None,
    json: AsJson = False,
) -> int:
    """List messages that no try could deal with, newest first."""
    async with connected(dsn) as client:
        letters = await client.dead_letters(queue, limit=limit)
    if json:
        print_json(plain(letters))
    elif letters:
        console().print(letter_table(letters))
        for each in letters if traceback else ():
            console().print(Text(f"\n{each.id}", "bold"))
            print(visible(each.traceback or each.error_message))
    else:
        note("no dead letters")
    return Exit.OK


@queues.command
async def resend(
    queue: Queue,
    /,
    *ids: Ids,
    all: All = False,
    limit: Limit = 1000,
    actor: Actor = None,
    dsn: Dsn = None,
    json: AsJson = False,
) -> int:
    """Send dead letters of a queue again, oldest first, as new messages."""
    check_chosen(ids, all)
    async with connected(dsn) as client:
        sent = await client.resend(queue, ids=ids or None, limit=limit, actor=actor)
    if json:
        print_json(plain(sent))
    for each in () if json else sent:
        print(f"resent {each.id} as {each.msg_id}")
    return ended(queue, len(sent), ids, "sent again")


@queues.command
async def forget(
    queue: Queue,
    /,
    *ids: Ids,
    all: All = False,
    limit: Limit = 1000,
    actor: Actor = None,
    dsn: Dsn = None,
    json: AsJson = False,
) -> int:
    """Drop dead letters of a queue, oldest first. The archive of the queue keeps the messages."""
    check_chosen(ids, all)
    async with connected(dsn) as client:
        gone = await client.forget_dead_letters(queue, ids=ids or None, limit=limit, actor=actor)
    if json:
        print_json({"queue": queue, "forgotten": gone})
    elif gone:
        print(f"forgot {gone}")
    return ended(queue, gone, ids, "forgotten")


def check_chosen(ids: Sequence[int], all: bool) -> None:
    if bool(ids) == all:
        raise UsageError("say which dead letters: their ids (`stepwell queues dead`), or --all")


def ended(queue: str, done: int, ids: Sequence[int], what: str) -> int:
    """Exit 1 when one that was named is not there."""
    if done < len(set(ids)):
        complain(f"{len(set(ids)) - done} of them are no dead letters of {queue}: not {what}")
        return Exit.FAILED
    if not done:
        note(f"no dead letters of {queue}")
    return Exit.OK


def value_of(what: str, typed: str | None) -> Any:
    if typed is None:
        return None
    try:
        return decoder(Any)(read(typed) or "null")
    except PayloadError as error:
        raise UsageError(f"the {what}: {error}") from error


def letter_table(letters: Sequence[DeadLetter]) -> Table:
    table = narrow_table("id", "queue", "message", "tries", "died", "error")
    for each in letters:
        table.add_row(
            str(each.id),
            visible(each.queue),
            compact(each.message, 40),
            str(each.read_ct),
            each.died_at.astimezone().strftime("%d %b %H:%M:%S"),
            shortened(f"{each.error_type}: {each.error_message}", 60),
        )
    return table
