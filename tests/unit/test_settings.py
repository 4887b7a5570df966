"""Settings: who goes before whom, and what is refused instead of becoming a default."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from stepwell import Settings, SettingsError


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def say(folder: Path, text: str) -> None:
    (folder / "pyproject.toml").write_text(f"[tool.stepwell]\n{text}\n")


def test_the_defaults_need_nothing() -> None:
    assert Settings.from_env({}) == Settings()
    assert repr(Settings()) == "Settings()"


def test_an_argument_goes_before_the_environment_and_that_before_pyproject(folder: Path) -> None:
    say(folder, "concurrency = 1\nlease = 1\ngrace = 1\nconnect-timeout = 1")
    environ = {"STEPWELL_LEASE": "2", "STEPWELL_GRACE": "2"}
    settings = Settings.from_env(environ, grace=3, poll=None)
    assert (settings.concurrency, settings.lease, settings.grace) == (1, 2.0, 3.0)
    assert (settings.connect_timeout, settings.poll) == (1.0, 2.0)


@pytest.mark.parametrize(
    ("environ", "dsn"),
    [
        ({"DATABASE_URL": "a"}, "a"),
        ({"STEPWELL_DSN": "b", "DATABASE_URL": "a"}, "b"),
        ({"DATABASE_URL": "a", "STEPWELL_DSN": "b"}, "b"),
        ({"DATABASE_URL": "a", "STEPWELL_DSN": ""}, "a"),
        ({"DATABASE_URL": ""}, "c"),
    ],
)
def test_where_the_dsn_comes_from(folder: Path, environ: dict[str, str], dsn: str) -> None:
    say(folder, 'dsn = "c"')
    assert Settings.from_env(environ).dsn == dsn
    assert Settings.from_env(environ, dsn="d").dsn == "d"


def test_set_to_nothing_is_not_set() -> None:
    assert Settings.from_env({"STEPWELL_CONCURRENCY": ""}) == Settings()


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"STEPWELL_CONCURENCY": "5"}, "did you mean STEPWELL_CONCURRENCY?"),
        ({"STEPWELL_ZZZ": ""}, "STEPWELL_ZZZ is set, but there is no such setting; there are "),
        ({"STEPWELL_CONCURRENCY": "ten"}, "'ten'; it must be a whole number of at least 1"),
        ({"STEPWELL_CONCURRENCY": "0"}, "STEPWELL_CONCURRENCY is 0; it must be"),
        ({"STEPWELL_CONCURRENCY": "2.5"}, "must be a whole number"),
        (
            {"STEPWELL_LEASE": "nan"},
            "STEPWELL_LEASE is nan; it must be a number of seconds above 0",
        ),
        ({"STEPWELL_LEASE": "inf"}, "must be a number of seconds"),
        ({"STEPWELL_GRACE": "-1"}, "at least 0"),
    ],
)
def test_the_environment_is_refused_by_name(environ: dict[str, str], says: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        Settings.from_env(environ)
    assert says in str(refusal.value)


def test_names_that_others_read_are_no_typos() -> None:
    known = ("HOME", "PG_BIN", "TEST_DSN", "TEST_HOME")
    assert Settings.from_env({f"STEPWELL_{name}": "x" for name in known}) == Settings()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "leese = 3",
            "[tool.stepwell] leese in ./pyproject.toml is no setting (did you mean lease?",
        ),
        ("lease = true", "lease in ./pyproject.toml is True"),
        ('concurrency = "5"', "concurrency in ./pyproject.toml is '5'"),
        ("dsn = 5", "must be text"),
        ("lease = ", "./pyproject.toml cannot be read"),
    ],
)
def test_pyproject_is_refused_by_place(folder: Path, text: str, says: str) -> None:
    say(folder, text)
    with pytest.raises(SettingsError) as refusal:
        Settings.from_env({})
    assert says in str(refusal.value)


def test_a_pyproject_without_a_word_about_us_is_fine(folder: Path) -> None:
    (folder / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    assert Settings.from_env({}) == Settings()


@pytest.mark.parametrize(
    "given", [{"lease": 0}, {"lease": "5"}, {"concurrency": True}, {"dsn": None}, {"name": "a\0"}]
)
def test_impossible_arguments_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        Settings(**given)


def test_an_unknown_override_is_refused() -> None:
    with pytest.raises(SettingsError, match="did you mean grace"):
        Settings.from_env({}, grase=1)


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://ada:hidden@db.example:5432/shop",
        "postgres://ada:hid@den:hidden@db.example/shop",
        "postgresql://ada:hid/den?hidden@db.example/shop",
        "postgresql://db.example/shop?user=ada&password=hidden",
        "postgresql://db.example/shop?sslpassword=hidden&sslmode=require",
        "host=db.example password=hidden dbname=shop",
        "host=db.example password = 'hid den \\' hidden' dbname=shop",
        "host=db.example PASSWORD=hid\\ hidden",
    ],
)
def test_a_password_is_never_shown(dsn: str) -> None:
    shown = repr(Settings(dsn=dsn, listen_dsn=dsn))
    assert "hid" not in shown
    assert "db.example" in shown


def test_a_dsn_without_a_password_is_shown_as_it_is() -> None:
    for dsn in ("postgresql://ada@db:5432/shop?a=b@c", "host=/tmp port=5 user=ada", "service=x"):
        assert repr(dsn) in repr(Settings(dsn=dsn))


def test_every_knob_says_what_it_is() -> None:
    assert all(knob.metadata["help"] for knob in fields(Settings))


@pytest.mark.parametrize(
    ("queues", "served"),
    [
        ("", ["mail", "reports"]),
        ("mail", ["mail"]),
        (" mail ,, other", ["mail"]),
        (",", ["mail", "reports"]),
    ],
)
def test_a_worker_serves_the_queues_that_are_named_or_all(queues: str, served: list[str]) -> None:
    settings = Settings(queues=queues)
    assert [name for name in ("mail", "reports") if settings.serves(name)] == served


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("health_port", 65536, "a whole number of at least 0 and at most 65535"),
        ("wake", "shout", "notify or poll"),
        ("retention", -1.0, "a number of days of at least 0"),
    ],
)
def test_a_refusal_says_what_there_is(name: str, value: Any, said: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} is .*; it must be {said} "):
        Settings(**{name: value})
