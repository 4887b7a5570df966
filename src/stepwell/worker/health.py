"""A small HTTP endpoint for the probes of a container, GET /live, /ready and /status, and for
Prometheus, GET /metrics."""

from __future__ import annotations

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol

import msgspec

from stepwell.errors import SettingsError

PATIENCE = 5.0  # seconds that a caller has to say what it wants
REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    503: "Service Unavailable",
}

JSON = "application/json"
Answer = tuple[int, Mapping[str, Any]]


class Patient(Protocol):
    """What is asked how it is."""

    def live(self) -> bool: ...
    def ready(self) -> bool: ...
    def status(self) -> Mapping[str, Any]: ...


class Measured(Protocol):
    """What has metrics."""

    def page(self) -> tuple[str, bytes]:
        """The content type, and the text."""
        ...


@asynccontextmanager
async def endpoint(
    patient: Patient, host: str, port: int, measured: Measured | None = None
) -> AsyncGenerator[int]:
    """Answer for the length of a block; yields the port. Port 0: there is no endpoint. It shares
    the worker's event loop on purpose: a loop that is blocked does not answer."""
    if not port:
        yield 0
        return

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        with suppress(OSError, TimeoutError, ValueError, asyncio.IncompleteReadError):
            async with asyncio.timeout(PATIENCE):
                await converse(patient, measured, reader, writer)
        writer.close()

    try:
        server = await asyncio.start_server(serve, host or None, port)
    except (OSError, OverflowError) as error:
        where = f"{host or 'any address'}, port {port}"
        raise SettingsError(
            f"the health endpoint cannot have {where}: {error}; choose another health_port"
        ) from error
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def converse(
    patient: Patient, measured: Measured | None, reader: StreamReader, writer: StreamWriter
) -> None:
    """One request, one answer."""
    first = (await reader.readline()).decode("latin-1").split()
    while (await reader.readline()).strip():
        pass  # headers say nothing that we go by
    method, target = first[:2] if len(first) == 3 else ("", "")
    if measured and method in ("GET", "HEAD") and target.partition("?")[0] == "/metrics":
        code, (kind, payload) = 200, measured.page()
    else:
        code, body = answer(patient, method, target)
        kind, payload = JSON, msgspec.json.encode(body) + b"\n"
    head = (
        f"HTTP/1.1 {code} {REASONS[code]}\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {len(payload)}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
    )
    writer.write(head.encode() + (b"" if method == "HEAD" else payload))
    await writer.drain()


def answer(patient: Patient, method: str, target: str) -> Answer:
    """What to say to whom asks for a path."""
    if not method:
        return 400, {"error": "this is no HTTP request"}
    if method not in ("GET", "HEAD"):
        return 405, {"error": f"{method} is not answered here; GET is"}
    match target.partition("?")[0]:
        case "/live":
            return code_of(patient.live()), {"live": patient.live()}
        case "/ready":
            return code_of(patient.ready()), {"ready": patient.ready()}
        case "/status":
            return 200, patient.status()
        case "/metrics":
            return 404, {"error": "there are no metrics here: set metrics=on (STEPWELL_METRICS)"}
        case _:
            return 404, {"error": "there is /live, /ready, /status and /metrics"}


def code_of(good: bool) -> int:
    return 200 if good else 503
