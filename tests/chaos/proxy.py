"""A proxy before Postgres that reads along: it counts statements, and cuts connections between a
statement's commit and its answer."""

from __future__ import annotations

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

from psycopg.conninfo import conninfo_to_dict, make_conninfo


class Proxy:
    """`cut` is asked about each statement; True lets it happen and loses the answer."""

    def __init__(self, dsn: str) -> None:
        self._target = conninfo_to_dict(dsn)
        self._open: set[StreamWriter] = set()
        self.cut: Callable[[str], bool] = lambda statement: False
        self.statements: list[str] = []
        self.cuts = 0
        self.refusing = False
        self.dsn = ""

    async def serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        try:
            server_reader, server_writer = await self._connect()
        except OSError:
            writer.close()
            return
        both = {writer, server_writer}
        if self.refusing:  # since just now, when there was nothing to cut yet
            for end in both:
                end.close()
            return
        self._open |= both
        conversation = Conversation(self, writer, server_writer)
        relays = {
            asyncio.create_task(conversation.forth(reader)),
            asyncio.create_task(conversation.back(server_reader)),
        }
        try:
            await asyncio.wait(relays, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for relay in relays:
                relay.cancel()
            for end in both:
                end.close()
            self._open -= both

    def cut_all(self) -> None:
        """Break every connection, wherever it is."""
        for writer in list(self._open):
            writer.close()

    async def _connect(self) -> tuple[StreamReader, StreamWriter]:
        host, port = str(self._target["host"]), int(self._target.get("port") or 5432)
        if self.refusing:
            raise ConnectionRefusedError
        if host.startswith("/"):
            return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        return await asyncio.open_connection(host, port)


class Conversation:
    """One connection, both ways."""

    def __init__(self, proxy: Proxy, client: StreamWriter, server: StreamWriter) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._doomed = False

    async def forth(self, reader: StreamReader) -> None:
        try:
            length = await reader.readexactly(4)  # the first message has no type
            self._server.write(length + await reader.readexactly(int.from_bytes(length) - 4))
            while True:
                kind, body, raw = await message(reader)
                if kind in b"PQ":
                    self._statement(body.split(b"\0")[1 if kind == b"P" else 0].decode())
                self._server.write(raw)
                await self._server.drain()
        except (OSError, asyncio.IncompleteReadError):
            return

    async def back(self, reader: StreamReader) -> None:
        try:
            while True:
                kind, _, raw = await message(reader)
                if not self._doomed:
                    self._client.write(raw)
                    await self._client.drain()
                elif kind == b"Z":  # it is done and committed, and nobody will hear of it
                    self._proxy.cuts += 1
                    return
        except (OSError, asyncio.IncompleteReadError):
            return

    def _statement(self, text: str) -> None:
        self._proxy.statements.append(text)
        self._doomed = self._doomed or self._proxy.cut(text)


async def message(reader: StreamReader) -> tuple[bytes, bytes, bytes]:
    head = await reader.readexactly(5)
    body = await reader.readexactly(int.from_bytes(head[1:]) - 4)
    return head[:1], body, head + body


@asynccontextmanager
async def proxied(dsn: str) -> AsyncGenerator[Proxy]:
    """Use `proxy.dsn` in place of the server's."""
    proxy = Proxy(dsn)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    plain: dict[str, Any] = {"host": "127.0.0.1", "port": port, "sslmode": "disable"}
    proxy.dsn = make_conninfo(dsn, **plain, gssencmode="disable")
    try:
        yield proxy
    finally:
        server.close()
        proxy.cut_all()
        await asyncio.sleep(0)
