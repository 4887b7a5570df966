"""A database that cannot keep all text, as `initdb` makes it without a locale, is refused."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import AsyncConnection, sql

from stepwell.db import databases
from stepwell.db.databases import DROP, Databases, connected, made_anew, named
from stepwell.db.doctor.examine import examine
from stepwell.db.floor import scratch
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


def test_databases_of_tests_are_utf8_on_any_server(
    ascii_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = Databases(ascii_dsn)  # names of databases come as text
    with ours.fresh() as dsn, psycopg.connect(dsn) as conn:
        assert conn.info.parameter_status("server_encoding") == "UTF8"
    ours.close()
    monkeypatch.setattr(databases, "SOURCE", "select 'template0'")  # template1 is not UTF8, say
    with connected(ascii_dsn) as conn:
        name = f"{conn.info.dbname}_anew"
        made_anew(ascii_dsn, name)
        found = conn.execute(
            "select pg_encoding_to_char(encoding) from pg_database where datname = %s", [name]
        ).fetchone()
        conn.execute(named(DROP, name))
    assert found == ("UTF8",)
    with scratch(ascii_dsn) as dsn, psycopg.connect(dsn) as conn:  # of a benchmark
        assert conn.info.parameter_status("server_encoding") == "UTF8"
