"""A database that cannot keep all text, as `initdb` makes it without a locale, is refused."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import AsyncConnection, sql

from stepwell.db.doctor.examine import examine
from stepwell.db.migrate import migrate
from stepwell.errors import SchemaError
from stepwell.settings import Settings
from tests.servers import DatabaseServer


@pytest.fixture
def ascii_dsn(server: DatabaseServer, empty_dsn: str) -> Iterator[str]:
    with psycopg.connect(empty_dsn, autocommit=True) as conn:
        name = f"{conn.info.dbname}_ascii"
        make = "create database {} encoding 'SQL_ASCII' locale 'C' template template0"
        conn.execute(sql.SQL(make).format(sql.Identifier(name)))
        try:
            yield server.dsn(name)
        finally:
            drop = sql.SQL("drop database {} with (force)").format(sql.Identifier(name))
            conn.execute(drop)


async def test_a_database_that_is_not_utf8_is_refused(ascii_dsn: str) -> None:
    refused = r"has the encoding SQL_ASCII, and JSON is UTF8.*encoding 'UTF8' template template0"
    async with await AsyncConnection.connect(ascii_dsn, autocommit=True) as conn:
        with pytest.raises(SchemaError, match=refused):
            await migrate(conn)
        found = await conn.execute("select to_regnamespace('pgflow') is null")
        assert await found.fetchone() == (True,)
    with pytest.raises(SchemaError, match=refused):
        await examine(Settings(dsn=ascii_dsn))
