"""What probes of a container get to hear: alive, ready, and how everything is."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import urllib.error
import urllib.request
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from stepwell import Flow, Settings, Stepwell, job
from stepwell.errors import SettingsError
from stepwell.observe.emit import subscribed
from stepwell.observe.events import StarterFailed, StarterRetryScheduled, WorkerStarted
from stepwell.worker import health
from stepwell.worker.modules import Backoff
from stepwell.worker.worker import Worker
from tests.chaos.proxy import proxied
from tests.engine.cli_programs import Program, environment, write_program
from tests.ports import free_ports

from .workshop import Events, Serving, Workshop

pytestmark = pytest.mark.timeout(180)  # one of them starts a program, on a busy machine
PATIENCE = 60.0
SOON = Backoff(base=0.05, longest=0.4)
HOST = "127.0.0.1"
gates: list[asyncio.Event] = []


@job
async def echo(n: int) -> int:
    if n < 0:
        await gates[-1].wait()
    return n


class Probe:
    """Asks one endpoint, from a thread, as a kubelet would from its own machine."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def get(self, path: str) -> tuple[int, dict[str, Any]]:
        return await asyncio.to_thread(get, self.port, path)

    async def until(self, path: str, code: int) -> dict[str, Any]:
        """The first answer with that code."""
        async with asyncio.timeout(PATIENCE):
            while True:
                found, body = await self.get(path)
                if found == code:
                    return body
                await asyncio.sleep(0.02)

    async def raw(self, text: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(HOST, self.port)
        writer.write(text)
        try:
            return await asyncio.wait_for(reader.read(), PATIENCE)
        except ConnectionResetError:  # it closed before it had read all
            return b""
        finally:
            writer.close()


def get(port: int, path: str) -> tuple[int, dict[str, Any]]:
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}{path}", timeout=PATIENCE) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)
    except OSError:  # nobody is there (yet)
        return 0, {}


@asynccontextmanager
async def probed(
    workshop: Workshop, app: Stepwell, **settings: Any
) -> AsyncGenerator[tuple[Serving, Probe]]:
    knobs: dict[str, Any] = {"dsn": workshop.dsn, "grace": 20.0, "lease": 10.0, "poll": 1.0}
    knobs |= {"health_port": free_ports(), "health_host": HOST}
    events = Events()
    with subscribed(events.take):
        worker = Worker(app, Settings(**knobs | settings), name="probed", backoff=SOON)
        served = Serving(worker, events)
    try:
        yield served, Probe(knobs["health_port"])
    except TimeoutError:  # the reason, if it ended
        if served.task.done():
            served.task.result()
        raise
    finally:
        served.stop(now=True)
        await asyncio.wait({served.task}, timeout=PATIENCE)


async def test_a_worker_says_how_it_is(workshop: Workshop) -> None:
    async with probed(workshop, Stepwell(jobs=[echo])) as (served, probe):
        assert await probe.until("/ready", 200) == {"ready": True}
        assert await probe.get("/live") == (200, {"live": True})
        assert (await probe.get("/ready?verbose=1"))[0] == 200
        code, said = await probe.get("/status")
        assert code == 200
        assert (said["name"], said["state"], said["database"]) == ("probed", "serving", "up")
        assert (said["running"], said["queues"]) == (0, ["echo"])
        [(worker_id,)] = workshop.rows("select worker_id::text from pgflow.workers")
        assert said["worker_id"] == worker_id
        assert said["starter"]["ready"] and said["starter"]["healthy"]
        [module] = said["starter"]["modules"]
        assert (module["module"], module["type"], module["status"]) == ("echo", "job", "succeeded")
        assert (await probe.get("/elsewhere"))[0] == 404
        assert not served.task.done()
    assert await probe.get("/live") == (0, {})  # it went with the worker


async def test_a_database_that_is_away_is_no_reason_to_kill_a_worker(workshop: Workshop) -> None:
    async with proxied(workshop.dsn) as proxy:
        proxy.refusing = True
        app = Stepwell(jobs=[echo])
        async with probed(workshop, app, dsn=proxy.dsn, lease=60.0) as (served, probe):
            await served.events.first(StarterRetryScheduled)
            assert (await probe.until("/live", 200))["live"]
            assert await probe.get("/ready") == (503, {"ready": False})
            _, said = await probe.get("/status")
            assert (said["state"], said["worker_id"]) == ("starting", None)
            assert said["starter"]["modules"][0]["last_error"]["error_class"] == "transient"
            proxy.refusing = False
            await probe.until("/ready", 200)
            proxy.refusing = True
            proxy.cut_all()
            await probe.until("/ready", 503)
            assert (await probe.get("/live"))[0] == 200
            proxy.refusing = False
            await probe.until("/ready", 200)


async def test_ready_means_that_everything_was_decided(workshop: Workshop) -> None:
    """One that was given up does not keep the others from being ready; one that is on its way
    does."""
    flow = Flow[int, Any]("orders")

    @flow.step
    async def pack(flow_input: int) -> int:  # pyright: ignore[reportUnusedFunction]
        return flow_input

    with psycopg.connect(workshop.dsn) as other:
        other.execute("select pg_advisory_xact_lock(1, hashtext('orders'))")
        app = Stepwell(flows=[flow, Flow("empty")], jobs=[echo])
        async with probed(workshop, app) as (served, probe):
            await served.events.first(WorkerStarted)
            await served.events.first(StarterFailed)
            assert (await probe.get("/ready"))[0] == 503
            _, said = await probe.get("/status")
            assert (said["state"], said["healthy"], said["ready"]) == ("serving", True, False)
            other.rollback()
            await probe.until("/ready", 200)
            _, said = await probe.get("/status")
            states = {m["module"]: m["status"] for m in said["starter"]["modules"]}
            assert states["empty"] == "failed_permanent"


async def test_a_worker_that_drains_is_not_ready(workshop: Workshop) -> None:
    gates.append(asyncio.Event())
    async with probed(workshop, Stepwell(jobs=[echo]), lease=6.0) as (served, probe):
        await probe.until("/ready", 200)
        run = await workshop.client.enqueue(echo.call(n=-1))
        await workshop.until("select 1 from pgflow.step_tasks where stage = 'running'")
        [worker] = await workshop.client.workers()
        assert await workshop.client.drain(worker.id) == [worker.id]
        await probe.until("/ready", 503)
        _, said = await probe.get("/status")
        assert (said["state"], said["running"], said["live"]) == ("draining", 1, True)
        gates[-1].set()
        assert await run.result(PATIENCE) == -1
        await asyncio.wait_for(served.task, PATIENCE)


async def test_what_is_no_request_gets_an_answer_or_nothing(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with probed(workshop, Stepwell(jobs=[echo])) as (_, probe):
        await probe.until("/live", 200)
        assert (await probe.raw(b"POST /live HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 405 ")
        assert (await probe.raw(b"nonsense\r\n\r\n")).startswith(b"HTTP/1.1 400 ")
        head = await probe.raw(b"HEAD /live HTTP/1.1\r\nHost: x\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n") and head.endswith(b"\r\n\r\n")
        assert await probe.raw(b"GET /" + b"x" * 200_000) == b""  # too long
        monkeypatch.setattr(health, "PATIENCE", 0.3)
        assert await probe.raw(b"GET /live") == b""  # it never says the rest
        assert (await probe.get("/live"))[0] == 200


async def test_off_unless_asked_for(workshop: Workshop) -> None:
    before = listening()
    async with workshop.worker(app=Stepwell(jobs=[echo])):
        assert listening() == before


async def test_a_port_that_is_taken_is_an_error_at_once(workshop: Workshop) -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        settings = Settings(dsn=workshop.dsn, health_port=port, health_host=HOST)
        with pytest.raises(SettingsError, match=f"port {port}.*choose another health_port"):
            await Worker(Stepwell(jobs=[echo]), settings).run()


def test_the_command_line_opens_it(dsn: str, tmp_path: Path) -> None:
    text = "from stepwell import job\n\n@job\nasync def echo(n: int) -> int:\n    return n\n"
    port = free_ports()
    arguments = ["worker", write_program(tmp_path, text), "--health-port", str(port)]
    where = environment(tmp_path / "home", DATABASE_URL=dsn)
    program = Program(*arguments, "--wake", "poll", environment=where, cwd=tmp_path)
    try:
        asyncio.run(Probe(port).until("/ready", 200))
        program.signal(signal.SIGTERM)
        assert program.end() == 0
    finally:
        program.close()


def listening() -> int:
    """Sockets of this process that listen."""
    inodes = {
        line.split()[9]
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/self/net/{name}").read_text().splitlines()[1:]
        if line.split()[3] == "0A"
    }
    ours = 0
    for each in Path("/proc/self/fd").iterdir():
        try:
            target = str(each.readlink())
        except OSError:
            continue
        ours += target.startswith("socket:[") and target[8:-1] in inodes
    return ours
