"""No process of ours talks to anybody but Postgres, with everything switched on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.engine.cli_programs import environment

pytestmark = pytest.mark.timeout(120)

PROGRAM = """
import asyncio, json, os, socket, sys

asked, programs = [], []
def hook(event, arguments):
    if event in ("socket.getaddrinfo", "socket.gethostbyname", "urllib.Request"):
        asked.append([event, str(arguments[0])])
    elif event in ("socket.connect", "socket.sendto"):
        asked.append([event, str(arguments[1])])
    elif event in ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn"):
        programs.append([event, str(arguments[0])])
sys.addaudithook(hook)

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
trace.set_tracer_provider(TracerProvider())
from stepwell import Client, Flow, Settings, Stepwell, Worker

greet = Flow("greet")

@greet.step
def hello(flow_input: str) -> str:
    return f"hello {flow_input}"

def peers():
    '''Where each socket of this process leads, as the kernel knows it.'''
    ours = set()
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{descriptor}")
        except OSError:
            continue
        if target.startswith("socket:["):
            ours.add(target[8:-1])
    found = set()
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for line in open(f"/proc/self/net/{table}").read().splitlines()[1:]:
            fields = line.split()
            if fields[9] in ours:
                found.add(fields[2])
    return sorted(found)

async def main():
    settings = Settings.from_env(metrics="shared", poll=0.2)
    worker = Worker(Stepwell(flows=[greet]), settings)
    async with Client() as client, asyncio.TaskGroup() as group:
        group.create_task(worker.run())
        run = await client.start(greet, "ada")
        assert await run.result(timeout=60) == {"hello": "hello ada"}
        seen = peers()
        worker.stop()
    return seen

print(json.dumps({"peers": asyncio.run(main()), "asked": asked, "programs": programs}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_no_socket_leads_anywhere_but_to_postgres(dsn: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=environment(tmp_path, STEPWELL_DSN=dsn),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    where = conninfo_to_dict(dsn)
    host, port = str(where.get("host")), f":{int(str(where.get('port') or 5432)):04X}"
    assert [each for each in said["asked"] if not each[1].startswith(("/", host))] == []
    assert said["programs"] == []
    assert [peer for peer in said["peers"] if not peer.endswith(port)] == []
