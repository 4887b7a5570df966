"""`stepwell signal`: leave a signal for a run."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

from stepwell.cli.begin import read
from stepwell.cli.database import AsJson, Dsn
from stepwell.cli.exits import Exit, UsageError
from stepwell.cli.output import note, plain, print_json
from stepwell.cli.runs import connected, resolve
from stepwell.define.payload import decoder
from stepwell.errors import PayloadError


async def signal(
    run: Annotated[str, Parameter(help="A run id, its beginning, or the key of a live run.")],
    name: Annotated[str, Parameter(help="What the run waits for.")],
    /,
    payload: Annotated[
        str, Parameter(help="JSON, @FILE, or - for stdin.", allow_leading_hyphen=True)
    ] = "null",
    *,
    dedup_key: Annotated[
        str | None, Parameter(help="A run takes one signal with it, however often it is sent.")
    ] = None,
    dsn: Dsn = None,
    json: AsJson = False,
) -> int:
    """Leave a signal for a live run: it is kept until a step goes on with it."""
    try:
        value = decoder(Any)(read(payload) or "null")
    except PayloadError as error:
        raise UsageError(f"the payload: {error}") from error
    async with connected(dsn) as client:
        run_id = await resolve(client, run)
        sent = await client.signal(run_id, name, value, dedup_key=dedup_key)
    if json:
        print_json(plain(sent))
    else:
        print(sent.id)
        if not sent.created:
            note(f"run {sent.run_id} had got that dedup key before: nothing was added")
    return Exit.OK
