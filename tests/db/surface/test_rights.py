"""Who may use the schema alone: what runs with the owner's rights meets no name of the caller's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import LiteralString
from uuid import uuid4

import pytest
from psycopg import errors, sql

from tests.db.conftest import Connect
from tests.servers import DatabaseServer

from .calls import Caller

TYPES = ("text", "uuid", "jsonb", "timestamptz")
CHECK: LiteralString = """
create function pg_temp.ask() returns boolean language plpgsql as $$
begin
  if current_user <> session_user then raise exception 'run as %%', current_user; end if;
  return true;
end $$
"""
START: LiteralString = (
    "select pgflow.start_flow_with_states("
    "'mail'::pg_catalog.text, '{}'::pg_catalog.jsonb, null::pg_catalog.uuid)"
)
RIGHTS: tuple[LiteralString, ...] = (
    "grant usage on schema pgflow to {}",
    "grant all on all tables in schema pgflow to {}",
    "grant all on all sequences in schema pgflow to {}",
    "grant execute on all functions in schema pgflow to {}",
)
INNER: LiteralString = """
select p.proname from pg_proc p join pg_language l on l.oid = p.prolang
where p.pronamespace = 'pgflow'::regnamespace and l.lanname = 'plpgsql'
  and not exists (select from unnest(p.proconfig) s where s like 'search_path=%%')
  and has_function_privilege('public', p.oid, 'execute')
"""


@pytest.fixture(scope="module")
def server(any_server: DatabaseServer) -> DatabaseServer:
    return any_server


@pytest.fixture
def guest(caller: Caller, connect: Connect) -> Iterator[Caller]:
    """A session of a role that may use the schema, with types of the names of Postgres' own."""
    name = sql.Identifier(f"guest_{uuid4().hex}")
    caller.flow("mail", ("send", ""))
    caller.conn.execute(sql.SQL("create role {}").format(name))
    caller.conn.execute(sql.SQL("grant usage on schema pgflow to {}").format(name))
    guest = Caller(connect())
    guest.conn.execute(sql.SQL("set session authorization {}").format(name))
    guest.do(CHECK)
    for kind in map(sql.Identifier, TYPES):
        domain = "create domain pg_temp.{0} as pg_catalog.{0} check (pg_temp.ask())"
        guest.conn.execute(sql.SQL(domain).format(kind))
    yield guest
    guest.conn.close()
    caller.conn.execute(sql.SQL("drop owned by {} cascade").format(name))
    caller.conn.execute(sql.SQL("drop role {}").format(name))


def test_temporary_types_of_a_caller_are_not_seen_with_the_rights_of_the_owner(
    guest: Caller,
) -> None:
    guest.do(START)
    guest.do("select pgflow.requeue_stalled_tasks()")


def test_a_caller_cannot_compile_the_inner_functions_first(guest: Caller) -> None:
    with pytest.raises(errors.InsufficientPrivilege, match="permission denied for function"):
        guest.do("select pgflow.check_inputs('mail'::pg_catalog.text, 1, null)")
    guest.do(START)


def test_only_functions_with_a_search_path_of_their_own_are_for_everybody(caller: Caller) -> None:
    assert caller.rows(INNER) == []


def test_a_worker_s_role_needs_nothing_of_the_schemas_beside_ours(
    caller: Caller, connect: Connect
) -> None:
    """It has what the page about production says; pgmq and realtime are closed to it."""
    role = sql.Identifier(f"worker_{uuid4().hex}")
    caller.flow("mail", ("send", ""))
    caller.do("select pgmq.enable_notify_insert('mail')")
    caller.do("create schema realtime")
    caller.do(
        "create function realtime.send(jsonb, text, text, boolean) returns void"
        " language sql as 'select'"
    )
    caller.conn.execute(sql.SQL("create role {}").format(role))
    for right in RIGHTS:
        caller.conn.execute(sql.SQL(right).format(role))
    worker = Caller(connect())
    worker.conn.execute(sql.SQL("set session authorization {}").format(role))
    worker.do("select pgflow.start_flow('mail', '{}')")
    assert worker.rows("select queue from pgflow.list_queues()") == [{"queue": "mail"}]
    worker.conn.close()
    caller.conn.execute(sql.SQL("drop owned by {} cascade").format(role))
    caller.conn.execute(sql.SQL("drop role {}").format(role))
