"""The server lives as long as its users do, and comes back whatever happened to it."""

import sys
from pathlib import Path

import psycopg
import pytest

from stepwell.dev.postgres import EmbeddedPostgres
from tests.dev.processes import Processes, eventually, kill, leave, said, watcher_of

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc"),
]


def running(home: Path) -> bool:
    return EmbeddedPostgres(home).status().running


def stopped(home: Path) -> bool:
    return eventually(lambda: not running(home))


def test_rows_are_there_after_a_stop_and_a_start(home: Path) -> None:
    with EmbeddedPostgres(home) as postgres:
        with psycopg.connect(postgres.dsn()) as connection:
            connection.execute("create table kept as select 42 as answer")
        postgres.stop()
        assert not running(home)
        with psycopg.connect(postgres.start()) as connection:
            assert connection.execute("select answer from kept").fetchone() == (42,)


def test_a_killed_server_comes_back_with_every_committed_row(home: Path) -> None:
    with EmbeddedPostgres(home) as postgres:
        with psycopg.connect(postgres.dsn()) as connection:
            assert connection.execute("show fsync").fetchone() == ("on",)
            connection.execute("create table rows as select generate_series(1, 100000) as n")
        kill(postgres.status().pid)
        with psycopg.connect(postgres.start()) as connection:
            assert connection.execute("select count(*) from rows").fetchone() == (100000,)


def test_the_server_stops_when_its_only_user_is_killed(home: Path, processes: Processes) -> None:
    user = processes.start(home)
    assert said(user) == "ready"
    assert running(home)
    user.kill()
    assert stopped(home)


def test_the_server_stays_while_one_of_its_users_does(home: Path, processes: Processes) -> None:
    first, second = processes.start(home), processes.start(home)
    assert (said(first), said(second)) == ("ready", "ready")
    first.kill()
    first.wait()
    assert not eventually(lambda: not running(home), patience=0.5)
    leave(second)
    assert stopped(home)


def test_four_processes_may_start_it_at_once(new_home: Path, processes: Processes) -> None:
    users = [processes.start(new_home) for _ in range(4)]
    assert [said(user) for user in users] == ["ready"] * 4
    with psycopg.connect(EmbeddedPostgres(new_home).dsn()) as connection:
        assert connection.execute("select 1").fetchone() == (1,)
    for user in users:
        leave(user)
    assert stopped(new_home)


def test_a_killed_watcher_is_replaced_by_the_next_start(home: Path, processes: Processes) -> None:
    user = processes.start(home)
    assert said(user) == "ready"
    killed = watcher_of(home)
    kill(killed)
    assert eventually(lambda: watcher_of(home) is None)
    other = processes.start(home)
    assert said(other) == "ready"
    assert watcher_of(home) not in (None, killed)
    leave(user)
    leave(other)
    assert stopped(home)
    assert eventually(lambda: watcher_of(home) is None)


def test_a_pid_file_that_names_another_program_does_no_harm(
    home: Path, processes: Processes
) -> None:
    user = processes.start(home)
    assert said(user) == "ready"
    kill(EmbeddedPostgres(home).status().pid)
    assert stopped(home)
    left = next(home.glob("data-*/postmaster.pid"))
    lines = left.read_text().split("\n")
    other = processes.sleep(as_owner_of=left.parent)
    left.write_text("\n".join([str(other.pid), *lines[1:]]))
    assert not running(home)
    with EmbeddedPostgres(home) as postgres, psycopg.connect(postgres.dsn()) as connection:
        assert connection.execute("select 1").fetchone() == (1,)


def test_a_kept_server_outlives_its_starter_until_it_is_stopped(
    home: Path, processes: Processes
) -> None:
    starter = processes.start(home, "keep")
    assert said(starter) == "ready"
    starter.kill()
    starter.wait()
    assert not eventually(lambda: not running(home), patience=0.5)
    with EmbeddedPostgres(home) as postgres:
        assert postgres.status().kept
    assert not eventually(lambda: not running(home), patience=0.5)
    EmbeddedPostgres(home).stop()
    assert not running(home)
    assert not EmbeddedPostgres(home).status().kept


def test_a_server_with_a_watcher_can_be_kept_later(home: Path, processes: Processes) -> None:
    user = processes.start(home)
    assert said(user) == "ready"
    leave_on = EmbeddedPostgres(home)
    leave_on.start(keep=True)
    leave_on.release()
    leave(user)
    assert eventually(lambda: watcher_of(home) is None)
    assert running(home)


def test_starting_again_changes_nothing(home: Path) -> None:
    with EmbeddedPostgres(home) as postgres:
        pid = postgres.status().pid
        assert postgres.start() == postgres.dsn()
        assert postgres.status().pid == pid
    assert stopped(home)
