"""Keeping a fleet and its database in shape: a worker that prunes, and the client and the command
line for doing it by hand."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import LiteralString

import pytest

from stepwell import Client, NotFound, PayloadError, Stepwell, job
from stepwell.cli.exits import Exit
from stepwell.cli.main import run
from stepwell.observe.events import AuditPruned, RunsPruned, WorkerStarted
from stepwell.settings import Settings
from tests.engine.cli_programs import Command, working

from .workshop import Workshop

PATIENCE = 30.0
OLD: LiteralString = (
    "update pgflow.runs set started_at = now() - interval '41 days',"
    " completed_at = now() - interval '40 days' where status = 'completed'"
)


@job
async def short(n: int) -> int:
    return n


@job(retention=0)
async def kept(n: int) -> int:
    return n


@job(retention=timedelta(days=90))
async def long(n: int) -> int:
    return n


APP = Stepwell(jobs=[short, kept, long])


async def some_runs(workshop: Workshop, count: int = 3) -> None:
    for each in (short, kept, long):
        for run_ in await workshop.client.enqueue_many([each.call(n=n) for n in range(count)]):
            await run_.result(PATIENCE)
    workshop.rows(OLD)


def left(workshop: Workshop) -> dict[str, int]:
    rows = workshop.rows("select flow_slug, count(*) from pgflow.runs group by 1")
    return {slug: count for slug, count in rows}


async def test_a_worker_lets_go_of_what_ended_long_ago(workshop: Workshop) -> None:
    async with workshop.worker(app=APP, retention=0.0):
        await some_runs(workshop)
    workshop.rows("update pgflow.pruning set finished_at = null")  # a round is due
    async with workshop.worker(app=APP) as serving:
        pruned = await serving.events.first(RunsPruned)
        assert (pruned.runs, pruned.workers) == (3, 0)
        assert left(workshop) == {"kept": 3, "long": 3}
        run_ = await workshop.client.enqueue(short.call(n=7))
        assert await run_.result(PATIENCE) == 7


async def test_settings_say_how_long_where_a_definition_does_not(workshop: Workshop) -> None:
    async with workshop.worker(app=APP, retention=0.0):
        await some_runs(workshop)
    workshop.rows("update pgflow.pruning set finished_at = null")
    async with workshop.worker(app=APP, retention=0.0) as serving:
        await workshop.until(
            "select 1 from pgflow.pruning where finished_at is not null", patience=PATIENCE
        )
        assert serving.events.of(RunsPruned) == []
        assert left(workshop) == {"short": 3, "kept": 3, "long": 3}
    workshop.rows("update pgflow.pruning set finished_at = null")
    async with workshop.worker(app=APP, retention=39.0) as serving:
        pruned = await serving.events.first(RunsPruned)
        assert (pruned.runs, pruned.workers) == (3, 0)
        assert left(workshop) == {"kept": 3, "long": 3}


async def test_a_worker_forgets_what_was_done_long_ago(workshop: Workshop) -> None:
    await workshop.client.pause_queue("slow", actor="ann")
    await workshop.client.resume_queue("slow", actor="bob")
    workshop.rows("update pgflow.audit set at = at - interval '50 days' where actor = 'ann'")
    async with workshop.worker(app=APP, audit_retention=0.0) as serving:
        await serving.events.first(WorkerStarted)
        assert len(await workshop.client.audit()) == 2
    async with workshop.worker(app=APP, audit_retention=49.0) as serving:
        assert (await serving.events.first(AuditPruned)).rows == 1
    assert [entry.actor for entry in await workshop.client.audit()] == ["bob"]


async def test_the_client_prunes_at_once(workshop: Workshop) -> None:
    async with workshop.worker(app=APP, retention=0.0):
        await some_runs(workshop)
        live = await workshop.client.enqueue(short.call(n=9), delay=timedelta(days=3))
        client = workshop.client
        assert await client.prune(older_than=timedelta(days=45)) == {}
        assert await client.prune(short, actor="ann") == {"short": 3}
        assert await client.prune(kept) == {}  # by its retention: for ever
        assert await client.prune(older_than=timedelta(days=35)) == {"long": 3}
        assert await client.prune("kept", older_than=timedelta(days=35)) == {"kept": 3}
        assert left(workshop) == {"short": 1}
        assert (await live.info()).status == "started"
        noted = [(e.actor, e.action, e.target) for e in await client.audit()]
        assert ("ann", "prune", "short") in noted and len(noted) == 3
        with pytest.raises(NotFound, match=r"'shorts' in this database \(did you mean 'short'\?\)"):
            await client.prune("shorts")
        with pytest.raises(PayloadError, match="older_than"):
            await client.prune(older_than=timedelta(days=-1))


async def test_the_sync_client_does_the_same(workshop: Workshop) -> None:
    async with workshop.worker(app=APP, lease=6.0) as serving:
        await some_runs(workshop)

        def by_hand() -> None:
            with Client.sync(workshop.dsn) as client:
                assert client.prune() == {"short": 3}
                assert client.prune(long, older_than=timedelta(days=1)) == {"long": 3}
                assert client.is_served("short") and not client.is_served("mail")
                [worker] = client.workers()
                assert (worker.health, worker.queues) == ("healthy", ["kept", "long", "short"])
                assert client.drain(worker.id) == [worker.id]
                assert client.drain(worker.id) == []

        await asyncio.to_thread(by_hand)
        await serving.stopped(PATIENCE)


async def test_retention_of_the_clients_settings_counts_for_it(workshop: Workshop) -> None:
    async with workshop.worker(app=APP, retention=0.0):
        await some_runs(workshop)
        async with Client(settings=Settings(dsn=workshop.dsn, retention=0.0)) as client:
            assert await client.prune() == {}
        async with Client(settings=Settings(dsn=workshop.dsn, retention=1.0)) as client:
            assert await client.prune() == {"short": 3}


async def test_a_worker_that_is_told_to_go_ends_what_runs(workshop: Workshop) -> None:
    async with workshop.worker(app=APP, lease=6.0) as one, workshop.worker(app=APP) as other:
        first = (await one.events.first(WorkerStarted)).worker_id
        assert await workshop.client.drain(first) == [first]
        await one.stopped(PATIENCE)
        assert not other.task.done()
        run_ = await workshop.client.enqueue(short.call(n=1))
        assert await run_.result(PATIENCE) == 1


# --- the command line ---


def test_the_command_line_lists_and_drains_workers(command: Command, dsn: str) -> None:
    assert "no workers" in command("workers", "list")[2]
    assert command("workers", "drain", "nobody")[0] == Exit.FAILED
    with working(APP, dsn):
        code, out, _ = command("workers", "list")
        assert code == Exit.OK
        assert "healthy" in out and "kept, long, short" in out
        [worker] = json.loads(command("workers", "list", "--json")[1])
        assert (worker["health"], worker["draining"]) == ("healthy", False)
        code, out, _ = command("workers", "drain", worker["id"][:8], "--actor", "ann")
        assert (code, "is told to go" in out) == (Exit.OK, True)
        code, out, _ = command("workers", "drain", worker["name"])
        assert code == Exit.FAILED and ("was told before" in out or not out)
    code, out, _ = command("workers", "list", "--all")
    assert "dead stopped" in out
    assert "ann" in command("audit")[1]


async def test_the_command_line_prunes(
    workshop: Workshop, dsn: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with workshop.worker(app=APP, retention=0.0):
        await some_runs(workshop)

    def command(*words: str) -> tuple[int, str]:
        code = run(["prune", *words, "--dsn", dsn])
        return code, capsys.readouterr().out

    def by_hand() -> None:
        assert command("--older-than", "45d") == (Exit.OK, "")
        assert command("--older-than", "35d", "--flow", "long") == (Exit.OK, "3 long\n")
        code, out = command("--json")
        assert (code, json.loads(out)) == (
            Exit.OK,
            {"deleted": {"short": 3}, "refused": []},
        )
        assert command("--older-than", "30")[0] == Exit.USAGE
        assert command("--flow", "nothing")[0] == Exit.FAILED

    await asyncio.to_thread(by_hand)
    assert left(workshop) == {"kept": 3}


async def test_a_flow_from_data_says_how_long_its_runs_are_kept(workshop: Workshop) -> None:
    await workshop.client.upsert_flow("acct", steps=[{"slug": "a"}], retention=timedelta(days=2))
    assert workshop.rows("select opt_retention from pgflow.flows") == [(2.0,)]


async def test_old_events_are_forgotten_by_workers(workshop: Workshop) -> None:
    workshop.rows(
        "insert into pgflow.events (run_id, event, payload, at, xid)"
        " select gen_random_uuid(), 'run:started', '{}', now() - interval '1 day', '3'::xid8"
    )
    async with workshop.worker(app=APP):
        await workshop.until("select 1 from pgflow.events having count(*) = 0")
