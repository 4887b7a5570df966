"""The databases of the tests themselves: fresh, migrated, and soon there."""

import os

import psycopg
import pytest

from tests.servers import DatabaseServer

pytestmark = pytest.mark.timeout(60)

SCHEMA_EXISTS = "select to_regnamespace('pgflow') is not null"


@pytest.mark.parametrize("time", [1, 2])
def test_every_test_gets_a_database_of_its_own_with_the_schema(dsn: str, time: int) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        assert connection.execute(SCHEMA_EXISTS).fetchone() == (True,)
        connection.execute("create table public.mine ()")


def test_an_empty_database_has_no_schema(empty_dsn: str) -> None:
    with psycopg.connect(empty_dsn) as connection:
        assert connection.execute(SCHEMA_EXISTS).fetchone() == (False,)


def test_both_ends_of_the_supported_versions_serve(any_server: DatabaseServer) -> None:
    with any_server.database(any_server.template) as dsn, psycopg.connect(dsn) as connection:
        assert connection.execute(SCHEMA_EXISTS).fetchone() == (True,)
        if "STEPWELL_TEST_DSN" not in os.environ:
            assert connection.info.server_version // 10000 in (15, 18)
