"""Flows by pgflow's names: start them, look at them, make and delete them. For Client."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any, TypeVar, Unpack, overload
from uuid import UUID

from stepwell.client.batch import batch_of_one
from stepwell.client.enqueuing import Enqueuing
from stepwell.client.flow_run import (
    LONGEST_WAIT,
    POLL_INTERVAL,
    FlowRun,
    FlowRunWithStates,
    check_completed,
    id_of,
    run_in,
    run_with_states_in,
    wait_of,
    with_steps_of,
)
from stepwell.client.identity import Handle
from stepwell.client.options import StartChoices
from stepwell.client.run import Run
from stepwell.client.upserting import (
    NEWS,
    FlowData,
    StepData,
    UpsertedFlow,
    deleted,
    deleting,
    existing,
    upserted,
    upserting,
)
from stepwell.client.waiter import LONGEST
from stepwell.db.inspect import run_steps
from stepwell.db.states import get_run, get_run_with_states
from stepwell.db.theirs import Theirs
from stepwell.define.definition import AnyFlow, Definition
from stepwell.define.duration import Duration
from stepwell.define.flow import Flow
from stepwell.errors import RunTimeout

In = TypeVar("In")
Out = TypeVar("Out")


class Flows(Enqueuing):
    """What pgflow's clients can do, by the names that they have for it."""

    @overload
    async def start_flow(
        self,
        flow: Flow[None, Out],
        input: None = None,
        *,
        conn: Theirs | None = None,
        **choices: Unpack[StartChoices],
    ) -> Run[Out]: ...
    @overload
    async def start_flow(
        self,
        flow: Flow[In, Out],
        input: In,
        *,
        conn: Theirs | None = None,
        **choices: Unpack[StartChoices],
    ) -> Run[Out]: ...
    @overload
    async def start_flow(
        self,
        flow: str,
        input: object = None,
        *,
        conn: Theirs | None = None,
        **choices: Unpack[StartChoices],
    ) -> Run[Any]: ...
    async def start_flow(
        self,
        flow: AnyFlow | str,
        input: object = None,
        *,
        conn: Theirs | None = None,
        **choices: Unpack[StartChoices],
    ) -> Run[Any]:
        """Start a run of a flow, or of what is deployed under a name: `start` by pgflow's name.
        NotFound when nothing is."""
        [run] = await self._start([batch_of_one(flow, input, choices)], conn)
        return run

    async def start_flow_sync(
        self,
        flow: AnyFlow | str,
        input: object = None,
        *,
        timeout: Duration | None = LONGEST_WAIT,
        poll_interval: Duration = POLL_INTERVAL,
        **choices: Unpack[StartChoices],
    ) -> FlowRunWithStates:
        """Start a run and wait until it has ended; the run when it completed. RunFailed or
        RunCancelled when it did not: the run is in its `run`. RunTimeout, with the run's id, when
        it takes longer than `timeout` seconds; it goes on. Its end is seen `poll_interval` seconds
        late at most, and never later than any other wait of this client sees it."""
        limit, interval = wait_of(timeout, poll_interval)
        run = await self.start_flow(flow, input, **choices)
        await ended(run, limit, interval)
        found = await self.get_run_with_states(run.id)
        while found.status == "started":  # somebody retried it in between
            await ended(run, limit, interval)
            found = await self.get_run_with_states(run.id)
        check_completed(found, await run.info())
        return found

    async def get_run(self, run_id: UUID | str | Handle) -> FlowRun:
        """A run as it is now; NotFound when there is none, InvalidArgument (`invalid_id`) for what
        is no id."""
        wanted = id_of(run_id)
        return run_in(await self._session.pool.run(get_run(wanted)), wanted)

    async def get_run_with_states(self, run_id: UUID | str | Handle) -> FlowRunWithStates:
        """The same, with the states of its steps, all of one moment."""
        wanted = id_of(run_id)
        pool = self._session.pool
        found = run_with_states_in(await pool.run(get_run_with_states(wanted)), wanted)
        if found.kind == "flow":
            return found
        return with_steps_of(found, await pool.run(run_steps(wanted)))

    async def upsert_flow(
        self,
        slug: str,
        *,
        steps: Sequence[StepData],
        replace: bool = False,
        conn: Theirs | None = None,
        actor: str | None = None,
        **options: Unpack[FlowData],
    ) -> UpsertedFlow:
        """Make a flow of plain data, and what starts by its name get from now on. Runs of a flow
        that looked different go on as they are: it stays, as a version. With `replace` it is
        deleted instead, with every run of it. InvalidDefinition, with a `reason`, for what can be
        no flow.

        A worker serves it that has a `handler` for its slug, or code for a flow of that name."""
        shape, call = upserting(
            slug, steps, options, replace=replace, actor=actor or self._session.actor
        )
        [row] = await self._session.pool.run(call, conn)
        await self._wake([NEWS], conn)
        return upserted(shape, row, replace=replace)

    async def delete_flow(
        self, flow: Definition | str, *, conn: Theirs | None = None, actor: str | None = None
    ) -> bool:
        """Delete a flow, machine or job with every run of it; what still runs is cancelled first.
        False when there is none by this name."""
        [row] = await self._session.pool.run(deleting(flow, actor or self._session.actor), conn)
        return deleted(flow, row)

    async def flow_exists(self, flow: Definition | str) -> bool:
        """Whether a flow, machine or job is in the database, by its name or as its code is called
        here. InvalidDefinition (`invalid_slug`) for what nothing can be called."""
        return (await self._session.pool.run(existing(flow)))[0].exists


async def ended(run: Run[Any], timeout: float | None, interval: float) -> None:
    """Wait for a run; RunTimeout when it takes longer."""
    if interval >= LONGEST:
        await run.wait(timeout)
        return
    deadline = None if timeout is None else time.monotonic() + timeout
    while (await run.info()).status == "started":
        rest = interval if deadline is None else min(interval, deadline - time.monotonic())
        if timeout is not None and rest <= 0:
            raise RunTimeout(run.id, timeout)
        await asyncio.sleep(rest)
