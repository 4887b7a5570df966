"""An app's archive: what a worker, the client, the command line and the testing kit hand to it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, LiteralString, cast

import psycopg
import pytest

from stepwell import (
    ArchivedRun,
    Client,
    Conflict,
    DefinitionError,
    Flow,
    InvalidDefinition,
    Stepwell,
    handler,
    job,
)
from stepwell.cli.exits import Exit
from stepwell.cli.main import run
from stepwell.compile.deploy import shapes_of
from stepwell.observe.events import ArchiveFailed, RunNotArchived, RunsArchived, RunsPruned
from stepwell.testing import Kit, SyncKit, Tally
from tests.unreadable import SAYS, tag_unreadable

from .workshop import Workshop

PATIENCE = 30.0
OLD: LiteralString = (
    "update pgflow.runs set started_at = now() - interval '41 days',"
    " completed_at = now() - interval '40 days' where status = 'completed'"
)
AGAIN: LiteralString = (
    "update pgflow.archiving set started_at = null, finished_at = null, held_until = null"
)


@job
async def keep(n: int) -> int:
    return n


@job(retention=0)
async def never(n: int) -> int:
    return n


@job
async def plain(n: int) -> int:
    return n


async def some_runs(workshop: Workshop, *jobs: Any) -> None:
    for each in jobs:
        for run_ in await workshop.client.enqueue_many([each.call(n=n) for n in range(3)]):
            await run_.result(PATIENCE)
    workshop.rows(OLD)


def left(workshop: Workshop) -> dict[str, int]:
    rows = workshop.rows("select flow_slug, count(*) from pgflow.runs group by 1")
    return {slug: count for slug, count in rows}


async def test_a_worker_archives_before_anything_goes(workshop: Workshop) -> None:
    got: list[ArchivedRun] = []
    broken = True
    app = Stepwell(jobs=[keep, never])
    others = Stepwell(jobs=[plain])

    @app.archive
    async def archive(runs: Sequence[ArchivedRun]) -> None:
        assert left(workshop)["keep"] >= 3  # they are still there
        got.extend(runs)
        if broken:
            raise OSError("the bucket is away")

    async with workshop.worker(app=app, retention=0.0):
        async with workshop.worker(app=others, retention=0.0):
            await some_runs(workshop, keep, never, plain)
    workshop.rows("update pgflow.pruning set finished_at = null")
    async with workshop.worker(app=app) as serving:
        failed = await serving.events.first(ArchiveFailed)
        assert (failed.flow, failed.runs, failed.error_type) == ("keep", 3, "OSError")
        assert "the bucket is away" in failed.message
        pruned = await serving.events.first(RunsPruned)
        assert pruned.runs == 3
        run_ = await workshop.client.enqueue(keep.call(n=7))
        assert await run_.result(PATIENCE) == 7
        assert left(workshop) == {"keep": 4, "never": 3}
        assert serving.events.of(RunsArchived) == []
    broken = False
    got.clear()
    workshop.rows(AGAIN)
    async with workshop.worker(app=app) as serving:
        archived = await serving.events.first(RunsArchived)
        assert (archived.flow, archived.runs, archived.deleted) == ("keep", 3, 3)
    assert sorted(run_.output for run_ in got) == [0, 1, 2]
    assert left(workshop) == {"keep": 1, "never": 3}


async def test_the_client_archives_where_it_is_told_to(workshop: Workshop) -> None:
    got: list[ArchivedRun] = []
    app = Stepwell(jobs=[keep, never], archive=got.extend)
    async with workshop.worker(app=app, retention=0.0):
        async with workshop.worker(app=Stepwell(jobs=[plain]), retention=0.0):
            await some_runs(workshop, keep, never, plain)
    client = workshop.client
    with pytest.raises(Conflict, match=r"'keep' are archived before they go.*stepwell prune --to"):
        await client.prune(keep)
    assert await client.prune(older_than=timedelta(days=39)) == {"plain": 3}

    async def refuse(runs: Sequence[ArchivedRun]) -> None:
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        await client.prune(archive=refuse)
    assert left(workshop) == {"keep": 3, "never": 3}

    def by_hand() -> None:
        with Client.sync(workshop.dsn) as sync:
            with pytest.raises(TypeError, match="is async"):
                sync.prune(keep, archive=refuse)
            assert sync.prune(keep, archive=got.extend) == {"keep": 3}

    await asyncio.to_thread(by_hand)
    assert {run_.flow for run_ in got} == {"keep"}
    assert await client.prune(never, older_than=timedelta(0), archive=got.extend) == {"never": 3}
    assert len(got) == 6 and left(workshop) == {}


async def test_the_command_line_writes_runs_to_a_file(
    workshop: Workshop, dsn: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with workshop.worker(app=Stepwell(jobs=[keep], archive=print), retention=0.0):
        await some_runs(workshop, keep)
    file = tmp_path / "runs.jsonl"
    file.write_text("{}\n")

    def command(*words: str) -> tuple[int, str]:
        code = run(["prune", *words, "--dsn", dsn])
        return code, capsys.readouterr().out

    def by_hand() -> None:
        assert command() == (Exit.OK, "")
        assert command("--flow", "keep")[0] == Exit.FAILED
        assert command("--to", str(tmp_path / "none" / "x"))[0] == Exit.USAGE
        assert command("--to", str(file)) == (Exit.OK, "3 keep\n")

    await asyncio.to_thread(by_hand)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert lines[0] == {} and [line["output"] for line in lines[1:]] == [0, 1, 2]
    assert left(workshop) == {}


async def test_what_cannot_be_archived_stays_and_is_told(
    workshop: Workshop, dsn: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    got: list[ArchivedRun] = []
    app = Stepwell(jobs=[keep, plain], archive=got.extend)
    async with workshop.worker(app=app, retention=0.0):
        await some_runs(workshop, keep, plain)
        bad = await workshop.client.enqueue(keep.call(n=9), tags=["unreadable"])
        await bad.result(PATIENCE)
    workshop.rows(OLD)
    with psycopg.connect(dsn, autocommit=True) as conn:
        tag_unreadable(conn)
    async with workshop.worker(app=app) as serving:
        refused = await serving.events.first(RunNotArchived)
        assert (refused.flow, refused.run_id, refused.message) == ("keep", bad.id, SAYS)
        await workshop.until("select 1 from pgflow.runs having count(*) = 1")
    assert len(got) == 6

    def by_hand() -> None:
        code = run(["prune", "--to", str(tmp_path / "runs"), "--json", "--dsn", dsn])
        said = capsys.readouterr()
        assert (code, json.loads(said.out)["deleted"]) == (Exit.FAILED, {})
        assert json.loads(said.out)["refused"][0]["run_id"] == str(bad.id)
        assert f"run {bad.id} of keep stays, it cannot be archived: {SAYS}" in said.err

    await asyncio.to_thread(by_hand)
    assert left(workshop) == {"keep": 1}


def pay(flow_input: int) -> int:
    return flow_input


made = handler("acct_*", {"pay": pay})


def test_a_kit_prunes_when_it_is_told_to(dsn: str) -> None:
    got: list[ArchivedRun] = []
    fails = True

    def archive(runs: Sequence[ArchivedRun]) -> None:
        if fails:
            raise RuntimeError("not now")
        got.extend(runs)

    short = Flow[int, Any]("short", retention=1)
    short.step(pay)
    app = Stepwell(flows=[short], jobs=[keep], handlers=[made], archive=archive)
    with SyncKit(app, dsn) as kit:
        kit.client.upsert_flow("acct_1", steps=[{"slug": "pay"}], retention=1, archive=True)
        kit.client.upsert_flow("acct_2", steps=[{"slug": "pay"}], retention=1)
        with pytest.raises(InvalidDefinition, match="archive is 1; it must be True or False"):
            kit.client.upsert_flow("acct_3", steps=[{"slug": "pay"}], archive=cast(Any, 1))
        kit.client.start(short, 4)
        kit.client.start("acct_1", 5)
        kit.client.start("acct_2", 6)
        kit.client.enqueue(keep.call(n=1))
        assert kit.drain() == Tally(steps=4, completed=4)
        assert kit.prune() == 0
        kit.advance(days=2)
        with pytest.raises(RuntimeError, match="not now"):
            kit.prune()
        fails = False
        kit.advance(hours=1)
        assert kit.prune() == 3
        assert sorted((run_.flow, run_.input) for run_ in got) == [("acct_1", 5), ("short", 4)]
        assert [run_.flow for run_ in kit.client.list()] == ["keep"]


def no_archive(runs: Sequence[ArchivedRun]) -> None:
    """Lets all go."""


def test_an_app_has_one_archive() -> None:
    app = Stepwell(jobs=[keep])
    assert app.archive_hook is None
    assert app.archive(print) is print
    assert app.archive(print) is print
    with pytest.raises(DefinitionError, match="keep one, which may call the other"):
        app.archive(no_archive)
    with pytest.raises(DefinitionError, match="give a function"):
        Stepwell(archive="s3://bucket")  # pyright: ignore[reportArgumentType]


def test_only_the_shapes_of_an_app_with_an_archive_say_so() -> None:
    """What was deployed before is not deployed anew: what was tuned by hand stays."""
    [without], [shape] = (shapes_of(Stepwell(jobs=[keep], archive=a)) for a in (None, print))
    assert "archive" not in without.to_data()["options"]
    assert shape.to_data()["options"] == without.to_data()["options"] | {"archive": True}


async def test_a_document_is_read_as_it_was(dsn: str) -> None:
    got: list[ArchivedRun] = []
    app = Stepwell(jobs=[keep], archive=got.extend)
    async with Kit(app, dsn) as kit:
        run_ = await kit.client.enqueue(keep.call(n=2**60), key="big", tags=["vip"])
        await kit.drain()
        info = await run_.info()
        await kit.advance(days=31)
        assert await kit.prune() == 1
    [read] = got
    for name in ("id", "status", "key", "version", "input", "output", "started_at", "ended_at"):
        assert getattr(read, name) == getattr(info, name), name
    assert json.loads(read.json)["tags"] == read.tags == ["vip"]
