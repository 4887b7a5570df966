"""Which Postgres a command works on: the one that was named, else the embedded one if it runs."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import Annotated, ClassVar

from cyclopts import Parameter

from stepwell.cli.output import note
from stepwell.dev.postgres import EmbeddedPostgres
from stepwell.errors import DatabaseUnavailable, SettingsError
from stepwell.settings import Settings

Dsn = Annotated[
    str | None,
    Parameter(help="Postgres to use; else DATABASE_URL, else the embedded one if it runs."),
]
AsJson = Annotated[bool, Parameter(name="--json", negative=(), help="Print JSON.")]


class NoDatabase(DatabaseUnavailable):
    """No database was named, and there is none to fall back to."""

    remedy: ClassVar[str] = (
        "set DATABASE_URL, pass --dsn, or start one for development: stepwell db start"
    )


def settings_of(dsn: str | None = None, **given: object) -> Settings:
    """The settings of the environment; what was typed (is not None) wins."""
    if dsn is not None and not dsn.strip():
        raise SettingsError("--dsn is empty: is the variable set that it comes from?")
    return Settings.from_env(os.environ, dsn=dsn, **given)


def database(dsn: str | None = None) -> str:
    """The DSN a command uses. DatabaseUnavailable says how to get one."""
    if named := settings_of(dsn).dsn:
        return named
    embedded = EmbeddedPostgres()
    if embedded.status().running:
        note(f"using the embedded Postgres in {embedded.home}")
        return embedded.dsn()
    raise NoDatabase("DATABASE_URL is not set, and no embedded Postgres runs")


@contextmanager
def development_database(dsn: str | None = None) -> Generator[str]:
    """The named database, else the embedded one, started and held for the length of a block."""
    if named := settings_of(dsn).dsn:
        yield named
        return
    with EmbeddedPostgres() as embedded:
        yield embedded.dsn()
