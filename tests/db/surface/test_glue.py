"""Workers as pgflow keeps them, and what it does with pg_cron, pg_net and vault: stand-ins here."""

from __future__ import annotations

from typing import Any, LiteralString

import pytest
from psycopg import errors

from .calls import Caller
from .test_utilities import SECRET

HOST = "project.supabase.co"
CRON: LiteralString = """
create schema cron;
create table cron.job (
  jobid bigint generated always as identity, jobname text unique, schedule text, command text);
create table cron.job_run_details (end_time timestamptz);
create function cron.schedule(job_name text, schedule text, command text) returns bigint
language sql as $$
  insert into cron.job (jobname, schedule, command) values ($1, $2, $3)
  on conflict (jobname) do update set schedule = excluded.schedule, command = excluded.command
  returning jobid
$$;
create function cron.schedule(schedule text, command text) returns bigint
language sql as $$ select cron.schedule(null, $1, $2) $$;
"""
NET: LiteralString = """
create schema net;
create table net.asked (
  id bigint generated always as identity, url text, body jsonb, headers jsonb);
create function net.http_post(
  url text, body jsonb default '{}', params jsonb default '{}',
  headers jsonb default '{"Content-Type": "application/json"}',
  timeout_milliseconds int default 5000
) returns bigint language sql as $$
  insert into net.asked (url, body, headers) values (url, body, headers) returning id
$$;
"""
VAULT: LiteralString = """
create schema vault;
create table vault.decrypted_secrets (name text, decrypted_secret text);
"""


def ensure(caller: Caller) -> list[str]:
    """The functions that were asked for."""
    rows = caller.rows("select * from pgflow.ensure_workers()")
    ids = {row["id"] for row in caller.rows("select id from net.asked")}
    assert all(row["invoked"] is True and row["request_id"] in ids for row in rows)
    return [row["function_name"] for row in rows]


def secrets(caller: Caller, **values: str) -> None:
    caller.do("delete from vault.decrypted_secrets")
    for name, value in values.items():
        caller.do("insert into vault.decrypted_secrets values (%s, %s)", name, value)


def asked(caller: Caller) -> list[dict[str, Any]]:
    return caller.rows("select url, body, headers from net.asked order by id")


@pytest.fixture
def project(caller: Caller) -> Caller:
    """A project of Supabase, with its secrets."""
    caller.do("set pgflow.now = '2030-01-01'")
    caller.do(NET)
    caller.do(VAULT)
    secrets(caller, supabase_project_id="project", supabase_service_role_key="role")
    return caller


# --- track_worker_function, mark_worker_stopped ---


def test_a_function_is_remembered_with_what_is_said_of_it(caller: Caller) -> None:
    caller.do("set pgflow.now = '2030-01-01'")
    caller.do("select pgflow.track_worker_function('orders')")
    first = caller.row("select * from pgflow.worker_functions")
    assert (first["function_name"], first["enabled"], first["last_invoked_at"]) == (
        *("orders", True),
        None,
    )
    assert first["debounce"].total_seconds() == 6
    caller.do("update pgflow.worker_functions set enabled = false")
    caller.do("set pgflow.now = '2030-01-02'")
    caller.do("select pgflow.track_worker_function('orders')")
    second = caller.row("select * from pgflow.worker_functions")
    assert second["updated_at"] > first["updated_at"]
    assert second | {"updated_at": None} == first | {"updated_at": None, "enabled": False}


def test_a_worker_that_stops_says_when(caller: Caller) -> None:
    worker, other = caller.register(), caller.register()
    caller.do("select pgflow.mark_worker_stopped(%s)", worker)
    stopped = caller.rows("select worker_id from pgflow.workers where stopped_at is not null")
    assert stopped == [{"worker_id": worker}] != [{"worker_id": other}]


def test_a_debounce_is_a_second_at_least(caller: Caller) -> None:
    caller.do("select pgflow.track_worker_function('orders')")
    with pytest.raises(errors.CheckViolation, match="worker_functions_debounce_check"):
        caller.do("update pgflow.worker_functions set debounce = '0.5 seconds'")


# --- ensure_workers ---


def test_who_has_no_worker_is_asked_for_and_not_again_at_once(project: Caller) -> None:
    for name in ("orders", "mails"):
        project.do("select pgflow.track_worker_function(%s)", name)
    assert ensure(project) == ["mails", "orders"]
    headers = {"Content-Type": "application/json", "Authorization": "Bearer role"}
    assert asked(project) == [
        {"url": f"https://{HOST}/functions/v1/{n}", "body": {}, "headers": headers}
        for n in ("mails", "orders")
    ]
    assert ensure(project) == []
    project.do("set pgflow.now = '2030-01-01 00:00:07'")
    assert ensure(project) == ["mails", "orders"]
    last = project.rows(
        "select distinct last_invoked_at = pgflow.now() as it from pgflow.worker_functions"
    )
    assert last == [{"it": True}]


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ("update pgflow.workers set last_heartbeat_at = pgflow.now()", False),
        ("update pgflow.workers set last_heartbeat_at = pgflow.now() - interval '7 seconds'", True),
        ("update pgflow.workers set last_heartbeat_at = pgflow.now(), stopped_at = now()", True),
        ("update pgflow.workers set last_heartbeat_at = pgflow.now(), deprecated_at = now()", True),
        (
            "update pgflow.workers set last_heartbeat_at = pgflow.now(), function_name = 'other'",
            True,
        ),
    ],
)
def test_a_worker_that_beats_and_goes_on_is_enough(
    project: Caller, change: LiteralString, wanted: bool
) -> None:
    project.do("select pgflow.track_worker_function('orders')")
    project.register(function="orders")
    project.do(change)
    assert ensure(project) == (["orders"] if wanted else [])


def test_a_function_that_is_switched_off_is_not_asked_for(project: Caller) -> None:
    project.do("select pgflow.track_worker_function('orders')")
    project.do("update pgflow.worker_functions set enabled = false")
    assert ensure(project) == []


def test_its_own_secret_comes_before_the_role_s(project: Caller) -> None:
    project.do("select pgflow.track_worker_function('orders')")
    secrets(
        project, supabase_project_id="p", pgflow_auth_secret="own", supabase_service_role_key="r"
    )
    ensure(project)
    assert asked(project)[0]["headers"]["Authorization"] == "Bearer own"


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"supabase_project_id": "", "supabase_service_role_key": "r"},
        {"supabase_project_id": "p"},
        {"supabase_project_id": "p", "supabase_service_role_key": "", "pgflow_auth_secret": ""},
    ],
)
def test_without_the_secrets_nothing_happens(project: Caller, values: dict[str, str]) -> None:
    project.do("select pgflow.track_worker_function('orders')")
    secrets(project, **values)
    assert ensure(project) == []
    assert asked(project) == []


def test_an_empty_secret_is_none(project: Caller) -> None:
    project.do("select pgflow.track_worker_function('orders')")
    secrets(project, supabase_project_id="p", pgflow_auth_secret="", supabase_service_role_key="r")
    ensure(project)
    assert asked(project)[0]["headers"]["Authorization"] == "Bearer r"


def test_a_local_database_asks_for_all_each_time(caller: Caller) -> None:
    caller.do(NET)
    caller.do("select set_config('app.settings.jwt_secret', %s, false)", SECRET)
    caller.do("select pgflow.track_worker_function('orders')")
    caller.register(function="orders")
    assert ensure(caller) == ensure(caller) == ["orders"]
    assert asked(caller)[0] == {
        "url": "http://kong:8000/functions/v1/orders",
        "body": {},
        "headers": {},
    }


# --- jobs of pg_cron ---


def test_stalled_tasks_are_swept_by_a_job(caller: Caller) -> None:
    caller.do(CRON)
    setup = "select pgflow.setup_requeue_stalled_tasks_cron()"
    said = "Scheduled pgflow_requeue_stalled_tasks (every 15 seconds, job_id=1)"
    assert caller.value(setup) == said
    other = "select pgflow.setup_requeue_stalled_tasks_cron('1 minute')"
    assert "every 1 minute" in caller.value(other)
    job = caller.row("select jobname, schedule, command from cron.job")
    assert list(job.values()) == [
        "pgflow_requeue_stalled_tasks",
        "1 minute",
        "select pgflow.requeue_stalled_tasks()",
    ]
    caller.rows(job["command"])


def test_workers_are_ensured_by_a_job_and_its_log_is_kept_short(project: Caller) -> None:
    project.do(CRON)
    said = project.value("select pgflow.setup_ensure_workers_cron()")
    assert said == (
        "Scheduled pgflow_ensure_workers (every 1 second, job_id=1)"
        " and pgflow_cleanup_logs (hourly, job_id=2)"
    )
    jobs = project.rows("select jobname, schedule, command from cron.job order by jobid")
    assert [(job["jobname"], job["schedule"]) for job in jobs] == [
        ("pgflow_ensure_workers", "1 second"),
        ("pgflow_cleanup_logs", "0 * * * *"),
    ]
    for job in jobs:
        project.rows(job["command"])


def test_old_log_rows_go(caller: Caller) -> None:
    caller.do(CRON)
    caller.do("set pgflow.now = '2030-01-03'")
    for moment in ("2030-01-01 23:00", "2030-01-02 01:00", "2030-01-02 23:00", None):
        caller.do("insert into cron.job_run_details values (%s)", moment)
    assert caller.value("select cron_deleted from pgflow.cleanup_ensure_workers_logs()") == 1
    assert caller.value("select cron_deleted from pgflow.cleanup_ensure_workers_logs(2)") == 1
    assert caller.value("select count(*) from cron.job_run_details") == 2


# --- where they are not installed ---


@pytest.mark.parametrize(
    ("call", "missing"),
    [
        ("select pgflow.setup_requeue_stalled_tasks_cron()", "pg_cron"),
        ("select pgflow.setup_ensure_workers_cron()", "pg_cron"),
        ("select pgflow.cleanup_ensure_workers_logs()", "pg_cron"),
        ("select pgflow.ensure_workers()", "pg_net"),
    ],
)
def test_what_is_missing_is_said(caller: Caller, call: LiteralString, missing: str) -> None:
    with pytest.raises(errors.FeatureNotSupported, match=f"{missing} is not installed") as raised:
        caller.do(call)
    assert raised.value.diag.message_hint


def test_without_a_vault_there_are_no_secrets(caller: Caller) -> None:
    caller.do(NET)
    with pytest.raises(errors.FeatureNotSupported, match="supabase_vault is not installed"):
        caller.do("select * from pgflow.ensure_workers()")
