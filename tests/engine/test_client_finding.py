"""Lists of runs with filters, page by page; labels; waiting for many runs at once."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from stepwell import (
    Child,
    Client,
    DefinitionError,
    Flow,
    NotFound,
    PayloadError,
    RunCancelled,
    RunFailed,
    RunTimeout,
    Schedule,
    Spawn,
    Stepwell,
    every,
    job,
)
from stepwell.db.inspect import RunSummary

from .client_hands import Worker, single
from .workshop import Workshop

orders, others = single(), single("others")


@job(queue="mail")
def send(user_id: int, to: dict[str, Any] | None = None) -> str:
    return f"sent {user_id}"


def ids(found: list[RunSummary]) -> list[UUID]:
    return [run.id for run in found]


async def test_runs_are_found_by_what_they_are(dsn: str) -> None:
    began = datetime.now(UTC) - timedelta(minutes=5)
    async with Client(dsn) as client:
        a = await client.start(orders, 1, key="o:1", tags=("vip", "eu"), metadata={"shop.id": 7})
        b = await client.start(others, 2, tags=["vip"], metadata={"shop": {"id": 8, "at": began}})
        to = {"customer": {"id": 7, "name": "ann"}}
        c = await client.enqueue(send.call(3, to), tags=["mail"], delay=60)
        listed = await client.list()
        assert ids(listed) == [c.id, b.id, a.id]
        assert [(run.tags, run.parent_id) for run in listed[1:]] == [
            (["vip"], None),
            (["vip", "eu"], None),
        ]
        info = await a.info()
        assert (info.tags, info.metadata) == (["vip", "eu"], {"shop.id": 7})
        expected: list[tuple[dict[str, Any], list[UUID]]] = [
            ({"flow": orders}, [a.id]),
            ({"flow": [orders, "others"]}, [b.id, a.id]),
            ({"flow": send, "status": "started"}, [c.id]),
            ({"kind": ["job", "machine"]}, [c.id]),
            ({"status": ["completed", "failed"]}, []),
            ({"tags": ["vip"]}, [b.id, a.id]),
            ({"tags": ["vip", "eu"]}, [a.id]),
            ({"key": "o:1"}, [a.id]),
            ({"key_prefix": "o:"}, [a.id]),
            ({"input": {"to.customer.id": 7}}, [c.id]),
            ({"input": {"to.customer.id": 7, "to.customer.name": "ann", "user_id": 3}}, [c.id]),
            ({"input": {"to.customer": {"id": 7}, "to.customer.name": "bob"}}, []),
            ({"metadata": {"shop": {"id": 8}}}, [b.id]),
            ({"since": timedelta(hours=1)}, [c.id, b.id, a.id]),
            ({"since": began, "until": began + timedelta(seconds=1)}, []),
            ({"ended_since": began}, []),
            ({"ended_until": timedelta()}, []),
            ({"parent": a}, []),
            ({"parent": str(a.id)}, []),
            ({"schedule": "nightly", "tags": None}, []),
        ]
        for filters, found in expected:
            assert ids(await client.list(**filters)) == found, filters


@pytest.mark.parametrize(
    ("filters", "said"),
    [
        ({"status": "running"}, "no run has status 'running'; it is one of started, completed"),
        ({"status": ["failed", "x"]}, "no run has status 'x'"),
        ({"kind": "cron"}, "no run is of kind 'cron'"),
        ({"tags": "vip"}, r"tags are 'vip'; give a list of texts, as in \['vip'\]"),
        ({"tags": [""]}, "'' cannot be a tag"),
        ({"key": ""}, "cannot be a key"),
        ({"key_prefix": ""}, "key_prefix is ''; give some text"),
        ({"since": datetime(2026, 1, 1)}, "since is .*; give a timedelta"),
        ({"input": [1]}, r"input is \[1\]; give a dict"),
        ({"input": {"a.b": 1, "a": 2}}, "contradicts another path at 'a'"),
        ({"limit": 0}, "limit is 0"),
    ],
)
async def test_what_no_run_can_be_is_refused_in_words(
    dsn: str, filters: dict[str, Any], said: str
) -> None:
    with Client.sync(dsn) as client, pytest.raises(PayloadError, match=said):
        client.list(**filters)
    async with Client(dsn) as client:
        with pytest.raises(PayloadError, match=said):
            await client.list(**filters)
        with pytest.raises(TypeError, match=r"no filter 'tag' \(did you mean 'tags'\?\)"):
            await client.list(tag="vip")  # pyright: ignore[reportCallIssue]


async def test_pages_go_both_ways_and_stay_where_they_are(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stepwell.client.finding.PAGE", 3)
    monkeypatch.setattr("stepwell.client.sync.finding.PAGE", 3)
    async with Client(dsn) as client:
        runs = [(await client.start(orders, n)).id for n in range(8)]
        newest = runs[::-1]
        page = await client.list(limit=3)
        assert ids(page) == newest[:3]
        after = await client.list(before=page[-1], limit=3)
        assert ids(after) == newest[3:6]
        assert ids(await client.list(before=page[-1].id, limit=3)) == newest[3:6]
        assert ids(await client.list(after=after[0], limit=2)) == newest[1:3]
        assert ids(await client.list(after=after[0], before=page[0])) == newest[1:3]
        seen: list[UUID] = []
        async for run in client.runs(orders):
            seen.append(run.id)
            if len(seen) == 3:  # the last of its page
                await client.cancel(run.id)
                await client.delete(run.id)
                await client.start(orders, 9)
        assert seen == newest
        upwards = [run.id async for run in client.runs(oldest_first=True)]
        assert upwards[:7] == [run for run in runs if run != newest[2]]
        assert len(upwards) == 8
        with Client.sync(dsn) as sync:
            assert [run.id for run in sync.runs(oldest_first=True)] == upwards
            assert [run.id for run in sync.runs("orders", status="started")] == upwards[::-1]
            page = sync.list(limit=2)
            assert sync.list(after=sync.list(before=page[0], limit=1)[0], limit=1) == page[:1]
        with pytest.raises(NotFound, match="Begin again with the first page"):
            await client.list(before=uuid4())


async def test_labels_are_given_and_taken(dsn: str) -> None:
    async with Client(dsn) as client:
        run = await client.start(orders, 1, tags=["new", "new"])
        now = await run.label("vip", remove=["new"], metadata={"shop": 7, "x": 1}, actor="ann")
        assert (now.tags, now.metadata) == (["vip"], {"shop": 7, "x": 1})
        with Client.sync(dsn) as sync:
            now = sync.run(run.id).label(metadata={"x": None})
        assert (now.tags, now.metadata) == (["vip"], {"shop": 7})
        assert [(e.action, e.actor) for e in await client.audit(run)][1:] == [("label", "ann")]
        assert ids(await client.list(tags=["vip"], metadata={"shop": 7})) == [run.id]
        assert await client.list(tags=["new"]) == []
        again = await run.restart()
        assert (await again.info()).tags == ["vip"]
        assert (await again.info()).metadata == {"shop": 7}
        many = await client.start_many(orders, [1, 2], tags=["many"])
        assert ids(await client.list(tags=["many"], limit=2)) == [many[1].id, many[0].id]
        for tags in ("vip", [7], ["x" * 101], list(map(str, range(21)))):
            wrong: Any = tags
            with pytest.raises(PayloadError, match=r"start: .*tag"):
                await client.start(orders, 1, tags=wrong)
            if tags != "vip":
                with pytest.raises(PayloadError, match=r"label: .*tag"):
                    await run.label(*wrong)
        metadata: list[Any] = [[], {"x": "y" * 9000}, {1: 2}, {"x": float("nan")}]
        for wrong in metadata:
            with pytest.raises(PayloadError, match="start: metadata"):
                await client.start(orders, 1, metadata=wrong)


family = Flow[None, Any]("family", base_delay=0)


@family.step
async def beget() -> Spawn:
    return Spawn([Child(send.call(2), tags=["child"], metadata={"n": {"x": None}}), send.call(3)])


async def test_children_and_schedules_have_labels_of_their_own(workshop: Workshop) -> None:
    nightly = Schedule(
        "nightly", send.call(1), every(3600), tags=["cron"], metadata={"team": {"id": 1}}
    )
    assert hash(nightly)
    app = Stepwell(flows=[family], jobs=[send], schedules=[nightly])
    client = workshop.client
    async with workshop.worker(app=app):
        parent = await client.start(family, tags=["parent"])
        await parent.wait(timeout=60)
        fired = await client.schedules.trigger("nightly")
        await client.wait_all([fired], timeout=60)
    plain, labelled = await client.list(parent=parent)
    if labelled.tags == []:
        plain, labelled = labelled, plain
    assert (labelled.tags, labelled.metadata) == (["child"], {"n": {"x": None}})
    assert (plain.tags, plain.metadata, plain.parent_id) == ([], {}, parent.id)
    [scheduled] = await client.list(schedule="nightly", status="completed")
    assert (scheduled.id, scheduled.tags) == (fired.id, ["cron"])
    info = await client.schedules.get("nightly")
    assert (info.tags, info.metadata) == (["cron"], scheduled.metadata)
    wrong: Any = "cron"
    with pytest.raises(DefinitionError, match="schedule 'nightly': tags are 'cron'"):
        Schedule("nightly", send.call(1), every(3600), tags=wrong)
    with pytest.raises(DefinitionError, match="Child: metadata"):
        Child(send.call(1), metadata={"x": object()})


async def test_many_runs_are_waited_for_with_one_question(dsn: str) -> None:
    async with Client(dsn) as client:
        runs = await client.start_many(orders, range(1100))
        waiting = asyncio.create_task(client.results(runs, timeout=60))
        with Client.sync(dsn) as sync, psycopg.connect(dsn, autocommit=True) as conn:
            blocking = asyncio.create_task(
                asyncio.to_thread(sync.wait_all, [runs[0].id, runs[-1].id], 60)
            )
            with pytest.raises(RunTimeout, match="and 1099 more had not ended after 0 s"):
                await client.wait_all(runs, timeout=0)
            with pytest.raises(RunTimeout, match="and 1 more had not ended"):
                await client.wait_all(runs[:2], timeout=0.05)
            with pytest.raises(RunTimeout, match="and 1 more had not ended"):
                sync.wait_all([run.id for run in runs[:2]], timeout=0.05)
            Worker(conn).complete("done")
            assert await waiting == [{"ship": "done"}] * 1100
            assert [run.id for run in await blocking] == [runs[0].id, runs[-1].id]
            infos = await client.wait_all([runs[5], str(runs[3].id), runs[5].id], timeout=0)
            assert [info.id for info in infos] == [runs[5].id, runs[3].id, runs[5].id]
            handles = [sync.run(run.id, orders) for run in runs[:3]]
            assert sync.results(handles) == [{"ship": "done"}] * 3
            assert {run.id for run in sync.as_completed(handles)} == {run.id for run in runs[:3]}
        assert await client.wait_all([]) == []
        with pytest.raises(NotFound):
            await client.wait_all([runs[0].id, uuid4()], timeout=60)
        with pytest.raises(NotFound):
            await client.wait_all([runs[0].id, uuid4()], timeout=0)


async def test_runs_come_as_they_end_however_they_end(dsn: str) -> None:
    async with Client(dsn) as client:
        [first, second, third] = await client.start_many(orders, range(3))
        seen: list[UUID] = []
        with psycopg.connect(dsn, autocommit=True) as conn:
            await client.cancel(second)
            async for run in client.as_completed([first, second, third], timeout=60):
                seen.append(run.id)
                if len(seen) == 1:
                    Worker(conn).fail()
        assert seen[0] == second.id
        assert set(seen) == {first.id, second.id, third.id}
        with pytest.raises(RunCancelled):
            await client.results([second, first])
        with pytest.raises(RunFailed, match="boom"):
            await client.results([first, second])
        live = await client.start(orders, 1)
        async for run in client.as_completed([first, live]):
            assert run.id == first.id
            break
        with pytest.raises(RunTimeout):
            async for run in client.as_completed([first, live], timeout=0.05):
                assert run.id == first.id
