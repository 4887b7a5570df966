"""Schedules with real workers: on time, once, for every kind; and how people steer them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stepwell import Client, NotFound, PayloadError, Stepwell
from stepwell.cli.exits import Exit
from stepwell.cli.main import run
from stepwell.define.flow import Flow
from stepwell.define.job import job
from stepwell.define.machine import Machine, step
from stepwell.define.outcome import Done
from stepwell.define.schedule import Schedule, cron, every

from .timing import undisturbed
from .workshop import Workshop

tidy = Flow[None, Any]("tidy", base_delay=0)
held = Flow[None, Any]("held", base_delay=0, timeout=30)
SOON = timedelta(seconds=1)


@tidy.step
async def sweep() -> str:
    return "clean"


@held.step
async def wait() -> None:
    await asyncio.sleep(0.7)


@job
async def remind(user_id: int) -> int:
    return user_id


class Check(Machine, version=3):
    house: str
    done: bool = False

    @step(initial=True)
    async def look(self, ctx: Any) -> Done:
        self.done = True
        return Done(self.house)


def app(*schedules: Schedule) -> Stepwell:
    return Stepwell(flows=[tidy, held], machines=[Check], jobs=[remind], schedules=schedules)


def far(name: str = "nightly", **more: Any) -> Schedule:
    return Schedule(name, tidy, cron("0 3 1 1 *", tz="Europe/Berlin"), **more)


async def test_every_kind_runs_at_its_slots(workshop: Workshop) -> None:
    schedules = [
        Schedule("clean_up", tidy, every(SOON), overlap="allow"),
        Schedule("reminder", remind.call(user_id=7), every(SOON), overlap="allow"),
        Schedule("rounds", Check(house="north"), every(SOON), overlap="allow"),
    ]
    async with workshop.worker(app=app(*schedules)):
        for name in ("clean_up", "reminder", "rounds"):
            await workshop.until(
                "select 1 from pgflow.runs where key like %s and status = 'completed'"
                " having count(*) >= 2",
                f"schedule:{name}:%",
            )
    rows = workshop.rows(
        "select distinct flow_slug, kind, output from pgflow.runs where output is not null"
    )
    assert sorted(rows, key=str) == [
        ("check", "machine", "north"),
        ("remind", "job", 7),
        ("tidy", "flow", {"sweep": "clean"}),
    ]
    [(version,)] = workshop.rows(
        "select distinct v.version from pgflow.runs r join pgflow.versions v using (version_id)"
        " where r.flow_slug = 'check'"
    )
    assert version == 3


async def test_a_slot_that_waits_starts_when_the_run_before_it_has_ended(
    workshop: Workshop,
) -> None:
    """No other slot is due by then that would have the worker look."""
    gate = asyncio.Event()

    @job
    async def guard() -> None:
        await gate.wait()

    one = Schedule("patrol", guard.call(), every(SOON), overlap="queue")
    async with workshop.worker(app=Stepwell(jobs=[guard], schedules=[one]), poll=60.0):
        await workshop.until("select 1 from pgflow.schedules where waiting <> '{}'")
        workshop.rows("update pgflow.schedules set next_at = now() + interval '1 hour'")
        gate.set()
        await workshop.until(
            "select 1 from pgflow.runs where status = 'completed' having count(*) >= 2"
        )


async def test_a_slot_starts_within_a_fraction_of_a_second(workshop: Workshop) -> None:
    seen = 0

    async def latest() -> float:
        nonlocal seen
        await workshop.until("select 1 from pgflow.runs having count(*) >= %s", seen + 4)
        late = [
            seconds
            for (seconds,) in workshop.rows(
                "select extract(epoch from started_at"
                " - split_part(key, ':often:', 2)::timestamptz)::float8"
                " from pgflow.runs order by started_at"
            )
        ]
        new, seen = late[seen:], len(late)
        assert min(new) >= 0
        return max(new)

    async with workshop.worker(app=app(Schedule("often", tidy, every(SOON))), poll=60.0):
        assert await undisturbed(workshop.dsn, 0.3, latest) < 0.3


async def test_many_workers_fire_each_slot_once(workshop: Workshop) -> None:
    often = app(Schedule("often", tidy, every(SOON), overlap="allow", catch_up="all"))
    async with workshop.worker(app=often), workshop.worker(app=often), workshop.worker(app=often):
        await workshop.until("select 1 from pgflow.runs having count(*) >= 3")
    runs = workshop.rows("select count(*), count(distinct key) from pgflow.runs")
    [(first, last, count)] = workshop.rows(
        "select min(s), max(s), count(*) from"
        " (select split_part(key, ':often:', 2)::timestamptz as s from pgflow.runs) k"
    )
    assert runs == [(count, count)]
    assert last - first == (count - 1) * SOON


async def test_a_worker_wakes_up_for_a_schedule_that_another_one_deploys(
    workshop: Workshop,
) -> None:
    async with workshop.worker(app=app(), poll=60.0):
        async with workshop.worker(app=app(Schedule("often", tidy, every(SOON)))):
            await workshop.until("select 1 from pgflow.runs")
        await workshop.client.schedules.pause("often")
        await workshop.client.schedules.resume("often")  # which tells the one that is left
        before = len(workshop.rows("select 1 from pgflow.runs"))
        await workshop.until("select 1 from pgflow.runs having count(*) > %s", before + 1)


async def test_a_queued_slot_starts_when_the_run_before_it_ended(workshop: Workshop) -> None:
    slow = Schedule("slow", held, every(SOON), overlap="queue")
    async with workshop.worker(app=app(slow)):
        await workshop.until("select 1 from pgflow.runs")
        await workshop.client.schedules.trigger("slow")  # so that the next slot has to wait
        await workshop.until(
            "select 1 from pgflow.runs where key ~ 'Z$' having count(*) >= 3", patience=20
        )


# --- the client ---


async def test_the_client_sees_and_steers(workshop: Workshop) -> None:
    schedules = workshop.client.schedules
    async with workshop.worker(app=app(far(priority=5), far("weekly", paused=True))):
        assert [each.name for each in await schedules.list()] == ["nightly", "weekly"]
        nightly = await schedules.get("nightly")
        assert (nightly.flow, nightly.kind, nightly.priority) == ("tidy", "flow", 5)
        assert nightly.when == "0 3 1 1 * Europe/Berlin"
        [first, second] = await schedules.next("nightly", 2)
        assert first == nightly.next_at
        for count in (0, 1001):
            with pytest.raises(PayloadError, match="count is"):
                await schedules.next("nightly", count)
        assert (second.astimezone(UTC).month, second.year) == (1, first.year + 1)

        assert await schedules.pause("nightly", actor="ada")
        assert not await schedules.pause("nightly")
        assert (await schedules.get("nightly")).paused_at
        run = await schedules.trigger("nightly")
        assert run.created
        assert await run.result(timeout=10) == {"sweep": "clean"}
        assert (await schedules.get("nightly")).last_run_id == run.id
        assert await schedules.resume("nightly")
        assert not await schedules.resume("nightly")

        await schedules.delete("weekly")
        with pytest.raises(NotFound, match="no schedule 'weekly'"):
            await schedules.get("weekly")
    [actors] = workshop.rows(
        "select array_agg(distinct actor) from pgflow.audit where actor = 'ada'"
    )
    assert actors == (["ada"],)


@pytest.mark.parametrize("verb", ["get", "pause", "resume", "trigger", "delete", "next"])
async def test_an_unknown_name_is_not_found(workshop: Workshop, verb: str) -> None:
    with pytest.raises(NotFound, match="no schedule 'nothing'"):
        await getattr(workshop.client.schedules, verb)("nothing")


async def test_the_blocking_client_does_the_same(workshop: Workshop) -> None:
    async with workshop.worker(app=app(far())):

        def steer() -> None:
            with Client.sync(workshop.dsn) as client:
                schedules = client.schedules
                assert [each.name for each in schedules.list()] == ["nightly"]
                assert schedules.pause("nightly") and not schedules.pause("nightly")
                run = schedules.trigger("nightly")
                assert run.created and run.result(timeout=10) == {"sweep": "clean"}
                assert schedules.resume("nightly")
                assert len(schedules.next("nightly", 3)) == 3
                assert schedules.get("nightly").paused_at is None
                schedules.delete("nightly")
                assert schedules.list() == []

        await asyncio.to_thread(steer)


# --- the command line ---


Answer = tuple[int, str, str]


@pytest.fixture
def command(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Any]:
    """Run a command line beside the loop of the test."""
    monkeypatch.setenv("DATABASE_URL", workshop.dsn)

    async def command(*words: str) -> Answer:
        capfd.readouterr()
        code = await asyncio.to_thread(run, ["schedules", *words])
        said = capfd.readouterr()
        return code, said.out, said.err

    return command


async def test_the_command_line_lists_and_shows(
    workshop: Workshop, command: Callable[..., Any]
) -> None:
    assert await command("list") == (Exit.OK, "", "no schedules\n")
    async with workshop.worker(app=app(far(), far("weekly", paused=True))):
        code, out, _ = await command("list")
        assert code == Exit.OK
        assert "0 3 1 1 * Europe/Berlin" in out and "paused" in out
        _, out, _ = await command("list", "--json")
        assert [each["name"] for each in json.loads(out)] == ["nightly", "weekly"]
        _, out, _ = await command("show", "nightly")
        assert "flow tidy" in out and "catch-up" in out
        _, out, _ = await command("show", "nightly", "--json")
        assert len(json.loads(out)["slots"]) == 3
        _, out, _ = await command("next", "nightly", "--count", "2")
        assert len(out.splitlines()) == 2
        assert datetime.fromisoformat(out.splitlines()[0]).month == 1
        _, out, _ = await command("next", "nightly", "--json")
        assert len(json.loads(out)) == 5


async def test_the_command_line_steers(workshop: Workshop, command: Callable[..., Any]) -> None:
    async with workshop.worker(app=app(far())):
        assert await command("pause", "nightly") == (Exit.OK, "paused nightly\n", "")
        code, _, said = await command("pause", "nightly")
        assert code == Exit.FAILED and "it is paused already" in said
        assert (await command("resume", "nightly"))[1] == "resumed nightly\n"
        _, out, _ = await command("trigger", "nightly")
        assert await workshop.client.run(out.strip()).result(timeout=10) == {"sweep": "clean"}
        assert (await command("delete", "nightly", "--json"))[0] == Exit.OK
        code, _, said = await command("show", "nightly")
        assert code == Exit.FAILED and "no schedule 'nightly'" in said
