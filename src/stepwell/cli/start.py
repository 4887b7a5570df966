"""`stepwell start` and `stepwell enqueue`: start a run, and wait for it if asked."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from stepwell.cli.begin import How, begin, meant, read, told
from stepwell.cli.database import AsJson, Dsn
from stepwell.cli.exits import UsageError
from stepwell.cli.runs import connected
from stepwell.define.job import Job

Wait = Annotated[
    bool, Parameter(negative=(), help="Wait and print the output; exit 1 unless it completes.")
]
Timeout = Annotated[float | None, Parameter(help="Seconds to wait at most.")]


async def start(
    target: Annotated[
        str,
        Parameter(help="The slug of a deployed flow, machine or job, or app.py:name, module:name."),
    ],
    /,
    *,
    input: Annotated[
        str | None,
        Parameter(
            help="JSON, @FILE, or - for stdin. Else null, or {} for a machine or job of the code.",
            allow_leading_hyphen=True,
        ),
    ] = None,
    how: How | None = None,
    wait: Wait = False,
    timeout: Timeout = None,
    dsn: Dsn = None,
    json: AsJson = False,
) -> int:
    """Start a run and print its id.

    The input of a machine is its first state, that of a job its arguments:
    a JSON object.
    With --wait print the output instead, and exit 1 if the run fails or is
    cancelled.
    """
    wanted, given, how = meant(target), read(input), how or How()
    async with connected(dsn) as client:
        run = await begin(client, wanted, given, how)
        return await told(client, run, how, wait=wait, timeout=timeout, json=json)


async def enqueue(
    job: Annotated[str, Parameter(help="The slug of a deployed job, or app.py:name, module:name.")],
    /,
    arguments: Annotated[
        str,
        Parameter(
            name="--input",
            help="A JSON object, @FILE, or - for stdin.",
            allow_leading_hyphen=True,
        ),
    ] = "{}",
    *,
    how: How | None = None,
    wait: Wait = False,
    timeout: Timeout = None,
    dsn: Dsn = None,
    json: AsJson = False,
) -> int:
    """Have a job done and print the id of its run.

    With --wait print the output instead, and exit 1 if the run fails or is
    cancelled.
    """
    wanted, given, how = meant(job), read(arguments), how or How()
    if not isinstance(wanted, Job | str):
        raise UsageError(f"{job} is no job: see stepwell start --help")
    async with connected(dsn) as client:
        run = await begin(client, wanted, given, how)
        return await told(client, run, how, wait=wait, timeout=timeout, json=json)
