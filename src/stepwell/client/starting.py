"""Start runs of every kind. For Client."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar, Unpack, overload

from stepwell.client.batch import (
    Batch,
    Keys,
    batch_of,
    batch_of_one,
    batches_of,
    begun,
    wakes_of,
)
from stepwell.client.options import Choices, StartChoices
from stepwell.client.run import Run
from stepwell.client.sending import answered, sending
from stepwell.client.session import Session
from stepwell.client.versions import Versions
from stepwell.client.wakes import Wake, wake_calls
from stepwell.db.call import Call
from stepwell.db.their_commit import after_commit
from stepwell.db.theirs import Theirs
from stepwell.define.definition import Definition
from stepwell.define.flow import Flow, FlowCall
from stepwell.define.job import JobCall
from stepwell.define.machine import Machine
from stepwell.define.startable import Startable
from stepwell.errors import NoTarget, NotFound
from stepwell.observe.traces import Traces

In = TypeVar("In")
Out = TypeVar("Out")


class Starting:
    """Runs are started by ids of ours, so a start whose answer was lost is repeated, and starts
    nothing twice."""

    _session: Session
    _versions: Versions
    _traces: Traces

    @overload
    async def start(
        self,
        what: Flow[None, Out],
        input: None = None,
        *,
        conn: Theirs | None = None,
        **choices: Unpack[StartChoices],
    ) -> Run[Out]: ...
    @overload
    async def start(
        self,
        what: Flow[In, Out],
        input: In,
        *,
        conn: Theirs | None = None,
        **choices: Unpack[StartChoices],
    ) -> Run[Out]: ...
    @overload
    async def start(
        self,
        what: JobCall[Out] | FlowCall[Out],
        *,
        conn: Theirs | None = None,
        **choices: Unpack[StartChoices],
    ) -> Run[Out]: ...
    @overload
    async def start(
        self, what: Machine, *, conn: Theirs | None = None, **choices: Unpack[StartChoices]
    ) -> Run[Any]: ...
    @overload
    async def start(
        self,
        what: str,
        input: object = None,
        *,
        conn: Theirs | None = None,
        **choices: Unpack[StartChoices],
    ) -> Run[Any]: ...
    async def start(
        self,
        what: Flow[Any, Any] | Startable | str,
        input: object = None,
        *,
        conn: Theirs | None = None,
        **choices: Unpack[StartChoices],
    ) -> Run[Any]:
        """Start a run: of a flow with its input, of a machine with its state, of a call of a job,
        or of what is deployed under a name, with its input.

        While a run with the same `key` is live, the start answers with that run (`created` is
        False): a retry starts nothing twice. `unique` keeps the key for longer. Conflict when a
        run of another definition has it, or with `check_input` one with another input.

        What has its code here is started in the very version of this code; a name in the version
        that is current in the database. With `conn`, the start is part of your transaction.
        """
        [run] = await self._start([batch_of_one(what, input, choices)], conn)
        return run

    @overload
    async def start_many(
        self,
        what: Flow[In, Out],
        inputs: Iterable[In],
        *,
        keys: Keys | None = None,
        conn: Theirs | None = None,
        **choices: Unpack[Choices],
    ) -> list[Run[Out]]: ...
    @overload
    async def start_many(
        self,
        what: type[Machine] | str,
        inputs: Iterable[object],
        *,
        keys: Keys | None = None,
        conn: Theirs | None = None,
        **choices: Unpack[Choices],
    ) -> list[Run[Any]]: ...
    async def start_many(
        self,
        what: Definition | str,
        inputs: Iterable[Any],
        *,
        keys: Keys | None = None,
        conn: Theirs | None = None,
        **choices: Unpack[Choices],
    ) -> list[Run[Any]]:
        """Start a run per input, all of them or none; the runs come in the order of the inputs."""
        return await self._start([batch_of(what, inputs, keys, choices)], conn)

    @overload
    async def enqueue_many(
        self,
        calls: Iterable[JobCall[Out]],
        *,
        keys: Keys | None = None,
        conn: Theirs | None = None,
        **choices: Unpack[Choices],
    ) -> list[Run[Out]]: ...
    @overload
    async def enqueue_many(
        self,
        calls: Iterable[Startable],
        *,
        keys: Keys | None = None,
        conn: Theirs | None = None,
        **choices: Unpack[Choices],
    ) -> list[Run[Any]]: ...
    async def enqueue_many(
        self,
        calls: Iterable[Startable],
        *,
        keys: Keys | None = None,
        conn: Theirs | None = None,
        **choices: Unpack[Choices],
    ) -> list[Run[Any]]:
        """Start a run per call, of one job or of several, all of them or none; the runs come in
        the order of the calls."""
        return await self._start(batches_of(calls, keys, choices), conn)

    async def _start(self, batches: Sequence[Batch], conn: Theirs | None) -> list[Run[Any]]:
        runs = begun(batches, await self._started(batches, [], conn))
        await self._wake(wakes_of(batches, runs), conn)
        return [Run(each.run_id, each.created, self._session, each.read) for each in runs]

    async def _started(
        self, batches: Sequence[Batch], more: Sequence[Call[Any]], conn: Theirs | None
    ) -> list[Any]:
        """The rows of all batches, and of what is called after them in the same transaction."""
        with sending(self._traces, batches) as (sent, span):
            return answered(span, await self._answers(sent, more, conn))

    async def _answers(
        self, batches: Sequence[Batch], more: Sequence[Call[Any]], conn: Theirs | None
    ) -> list[list[Any]]:
        was_known = any(self._versions.of(batch.definition) for batch in batches)
        pool = self._session.pool
        try:
            return await pool.run_all([*await self._calls(batches), *more], conn)
        except NotFound as error:
            if conn is not None or not was_known or isinstance(error, NoTarget):
                raise
            for batch in batches:  # the database was made anew meanwhile
                self._versions.forget(batch.definition)
            return await pool.run_all([*await self._calls(batches), *more])

    async def _wake(self, wakes: Sequence[Wake], conn: Theirs | None) -> None:
        """At once and outside of it all, or when the caller's transaction is committed: by its
        library, else by Postgres."""
        if conn is None:
            await self._session.wakes.wake(*wakes)
        elif wakes and not after_commit(conn, self._session.wakes.soon, wakes):
            await self._session.pool.run_all(wake_calls(wakes), conn)

    async def _calls(self, batches: Sequence[Batch]) -> list[Call[Any]]:
        versions = [await self._version(batch.definition) for batch in batches]
        pairs, most = zip(batches, versions, strict=True), self._session.max_payload
        return [call for batch, version in pairs for call in batch.calls(version, most)]

    async def _version(self, definition: Definition | str) -> int | None:
        """Make the database know the definition, on a connection of ours."""
        if isinstance(definition, str):
            return None
        known = self._versions.of(definition)
        if known is not None:
            return known
        [ensured] = await self._session.pool.run(self._versions.ensure(definition))
        return self._versions.learn(definition, ensured.version_id)
