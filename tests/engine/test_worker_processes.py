"""Bodies in child processes: what they can do, how they end, and that none is left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stepwell import Attempt, Proceed, RunFailed, Stepwell
from stepwell.client.run import Run
from stepwell.observe.events import StarterFailed, TaskFailed
from stepwell.testing import Kit
from stepwell.worker import processes
from tests.engine import cpu_programs
from tests.engine.cpu_programs import (
    Sums,
    a_flow_that_nobody_can_import,
    app,
    cleans,
    does,
    holds,
    looks,
    numbers,
    spins,
)

from .workshop import Workshop

PATIENCE = 50.0
ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.timeout(180)  # a busy machine takes long to start a child


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.02)


def lives(pid: int) -> bool:
    """A zombie that nobody reaped yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


async def failure(run: Run[Any]) -> RunFailed:
    with pytest.raises(RunFailed) as failed:
        await run.result(PATIENCE)
    return failed.value


async def test_bodies_of_all_kinds_run_in_processes_of_their_own(
    workshop: Workshop, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """One worker for many questions: a child is slow to start."""
    client = workshop.client
    async with workshop.worker(app=app, body_processes=2, concurrency=10):
        run = await client.start(numbers, list(range(6)))
        answer = (await run.result(PATIENCE))["total"]
        assert answer["sum"] == 55
        assert 1 <= len(answer["pids"]) <= 2  # bounded, and used again
        assert os.getpid() not in answer["pids"]

        summed = await client.start(Sums(numbers=[1, 2, 3]))
        answer = await summed.result(PATIENCE)
        assert (answer["sum"], answer["errors"], answer["in"]) == (6, [], [])
        assert os.getpid() not in answer["pids"]

        async def ended(what: str, value: Any = None) -> Run[Any]:
            return await client.enqueue(does.call(what=what, value=value))

        big = {"text": "x" * 1_000_000, "list": [1.5, None, "ä\N{SNAKE}"]}
        good = {
            what: await ended(what, value)
            for what, value in [
                ("echo", big),
                ("says", None),
                ("later", None),
                ("snoozes", str(tmp_path / "snoozed")),
            ]
        }
        assert await good["echo"].result(PATIENCE) == big
        assert await good["says"].result(PATIENCE) == 1
        assert await good["later"].result(PATIENCE) == 2
        assert await good["snoozes"].result(PATIENCE) == "awake"
        lines = workshop.rows("select level, message from pgflow.logs order by n")
        assert lines == [("warning", "one"), ("info", "two")]
        assert "printed" in capfd.readouterr().out

        bad = {
            what: await ended(what)
            for what in [
                *("fails", "never", "hopeless", "exits", "exits politely", "crashes"),
                *("is killed", "is no JSON"),
            ]
        }
        said = {what: (await failure(run), len(await run.attempts())) for what, run in bad.items()}
    types = {what: (error.error_type, attempts) for what, (error, attempts) in said.items()}
    assert types == {
        "fails": ("ZeroDivisionError", 3),
        "never": ("KeyError", 1),
        "hopeless": ("PermanentError", 1),
        "exits": ("ProcessDied", 3),
        "exits politely": ("SystemExit", 3),
        "crashes": ("ProcessDied", 3),
        "is killed": ("ProcessDied", 3),
        "is no JSON": ("PayloadError", 3),
    }
    assert "exit code 3 in the middle of it" in (said["exits"][0].message or "")
    assert "ended by SIGSEGV" in (said["crashes"][0].message or "")
    assert "SIGKILL; perhaps there was no memory left" in (said["is killed"][0].message or "")
    trace = (await bad["fails"].attempts())[0].traceback or ""
    assert "in fails" in trace and "stepwell/worker" not in trace


async def test_on_error_is_asked_where_the_error_was(workshop: Workshop) -> None:
    async with workshop.worker(app=app, body_processes=1):
        failed = await workshop.client.start(Sums(numbers=[1, 2], how="fails"))
        first = await failed.result(PATIENCE)
        died = await workshop.client.start(Sums(numbers=[1, 2], how="dies"))
        second = await died.result(PATIENCE)
    assert first["errors"] == [f"Slow in {first['pids'][0]}"]
    assert second["errors"] == [f"ProcessDied in {os.getpid()}"]


async def test_a_timeout_and_a_cancel_kill_the_child_and_another_takes_its_place(
    workshop: Workshop, tmp_path: Path
) -> None:
    client = workshop.client
    spun, held, looked, cleaned = (tmp_path / name for name in "abcd")
    async with workshop.worker(app=app, body_processes=4, lease=6.0) as serving:
        late = await client.enqueue(spins.call(path=str(spun)))
        runs = [
            await client.enqueue(call)
            for call in (
                holds.call(path=str(held)),
                looks.call(path=str(looked)),
                cleans.call(path=str(cleaned)),
            )
        ]
        await until(lambda: all(read(path) for path in (held, looked, cleaned)))
        for number in (signal.SIGTERM, signal.SIGINT):  # as a service or a terminal may send it
            os.kill(int(read(held).split()[0]), number)
        assert (await failure(late)).error_type == "TimedOut"
        assert all(lives(int(pid)) for pid in read(held).split())
        for run in runs:
            await client.cancel(run)
        killed = [int(pid) for path in (held, spun) for pid in read(path).split()]
        await until(lambda: not any(map(lives, killed)))
        await until(lambda: (read(looked), read(cleaned)) == ("looked", "cleaned up"))
        assert [event.error_type for event in serving.events.of(TaskFailed)] == ["TimedOut"]

        pids: list[int] = []
        for _ in range(2):
            run = await client.enqueue(does.call(what="pid"))
            pids.append(await run.result(PATIENCE))
            assert lives(pids[-1])
            os.kill(pids[-1], signal.SIGKILL)  # while it rests: the next one is not to suffer
            await until(lambda: not lives(pids[-1]))
        assert len({*pids, *killed}) == 5
        assert len(serving.events.of(TaskFailed)) == 1


async def test_what_is_in_a_child_when_the_worker_stops_goes_back(
    workshop: Workshop, tmp_path: Path
) -> None:
    path = tmp_path / "a"
    run = await workshop.client.enqueue(holds.call(path=str(path)))
    async with workshop.worker(app=app, grace=0.1) as serving:
        await until(lambda: read(path))
        serving.stop()
        await serving.stopped(PATIENCE)
    child, beside = map(int, read(path).split())
    assert not lives(child)
    await until(lambda: not lives(beside))  # killed too, but nobody here waits for its end
    [info] = [await run.info()]
    assert info.status == "started"
    assert await run.attempts() == []
    await workshop.client.cancel(run)


SERVE = """
import asyncio, sys
from stepwell import Settings, Worker
from tests.engine.cpu_programs import app
asyncio.run(Worker(app, Settings(dsn=sys.argv[1])).run())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel kills the children of the dead")
async def test_children_die_with_a_worker_that_is_killed(
    workshop: Workshop, tmp_path: Path
) -> None:
    """Also one that lets nothing else run, so that it cannot notice."""
    paths = [tmp_path / "a", tmp_path / "b"]
    for path in paths:
        await workshop.client.enqueue(holds.call(path=str(path), gil=path.name == "b"))
    command = [sys.executable, "-c", SERVE, workshop.dsn]
    with subprocess.Popen(command, cwd=ROOT) as worker:  # noqa: ASYNC220
        try:
            await until(lambda: all(len(read(path).split()) == 2 for path in paths))
        finally:
            worker.send_signal(signal.SIGKILL)
    children = [int(read(path).split()[0]) for path in paths]
    beside = [int(read(path).split()[1]) for path in paths]
    try:
        await until(lambda: not any(map(lives, children)))
    finally:
        for pid in beside:  # what a body starts by itself is its own
            os.kill(pid, signal.SIGKILL)


async def test_what_a_child_could_not_import_is_refused_at_the_start(workshop: Workshop) -> None:
    broken = Stepwell(flows=[a_flow_that_nobody_can_import(), numbers])
    async with workshop.worker(app=broken) as serving:
        failed = await serving.events.first(StarterFailed)
    assert failed.module == "hidden"
    assert "'hidden' has process=True" in (failed.reason or "")
    assert "make it a global" in (failed.reason or "")


async def test_middleware_sees_what_a_child_said(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "LONGEST_REST", 0.1)
    seen: list[Any] = []

    async def around(attempt: Attempt, proceed: Proceed) -> Any:
        try:
            result = await proceed()
        except Exception as error:
            seen.append(str(error))
            raise
        seen.append(result)
        return {"wrapped": result}

    wrapped = Stepwell(jobs=[does], middleware=[around])
    async with workshop.worker(app=wrapped, body_processes=1):
        good = await workshop.client.enqueue(does.call(what="echo", value=[1, 2]))
        assert await good.result(PATIENCE) == {"wrapped": [1, 2]}
        resting = await pid_of_a_child(workshop)
        await until(lambda: not lives(resting))  # nobody needed it any more
        bad = await workshop.client.enqueue(does.call(what="never"))
        error = await failure(bad)
    assert (error.error_type, error.message) == ("KeyError", "'no such thing'")
    assert seen == [[1, 2], resting, "KeyError: 'no such thing'"]


async def pid_of_a_child(workshop: Workshop) -> int:
    run = await workshop.client.enqueue(does.call(what="pid"))
    return (await run.result(PATIENCE))["wrapped"]


async def test_the_testing_kit_runs_them_in_the_test(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu_programs.os, "getpid", lambda: -1)
    async with Kit(app, dsn) as kit:
        run = await kit.client.start(numbers, [1, 2])
        await kit.drain()
        assert (await run.result(0))["total"] == {"sum": 5, "pids": [-1]}
