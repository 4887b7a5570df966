"""Fixtures of pytest. In the conftest.py of your project:

    pytest_plugins = ["stepwell.testing.plugin"]

and, where its tests want tables of yours too, a hook that makes them:

    def pytest_stepwell_template(dsn): ...
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator, Iterable
from datetime import datetime
from typing import Any, Protocol

import pytest

from stepwell.client.sync.client import SyncClient
from stepwell.define.app import Stepwell
from stepwell.define.flow import Flow
from stepwell.testing.database import close_all, database, use_template
from stepwell.testing.kit import Kit
from stepwell.testing.sync.kit import SyncKit

App = Stepwell | Iterable[Flow[Any, Any]]


class MakeKit(Protocol):
    """What the fixture `stepwell_kit` is."""

    def __call__(self, app: App, *, now: datetime | None = None) -> Kit: ...


class MakeSyncKit(Protocol):
    """What the fixture `stepwell_sync_kit` is."""

    def __call__(self, app: App, *, now: datetime | None = None) -> SyncKit: ...


class Hooks:
    """What a conftest.py may have."""

    def pytest_stepwell_template(self, dsn: str) -> Coroutine[Any, Any, None] | None:
        """Make tables of yours in the database that those of all tests are cloned from. Called
        once in a test run, before the first test that wants a database."""


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    pluginmanager.add_hookspecs(Hooks)


def pytest_sessionstart(session: pytest.Session) -> None:
    hook: Any = session.config.hook.pytest_stepwell_template
    if hook.get_hookimpls():
        use_template(calling(hook))


def pytest_unconfigure() -> None:
    use_template(None)
    close_all()


def calling(hook: Any) -> Callable[[str], None]:
    """Hooks are called by name, sync and async ones."""

    def prepare(dsn: str) -> None:
        for made in hook(dsn=dsn):
            if made is not None:
                asyncio.run(made)

    return prepare


@pytest.fixture
def stepwell_dsn() -> Generator[str]:
    """A fresh database with the schema in it, dropped after the test."""
    with database() as dsn:
        yield dsn


@pytest.fixture
def stepwell_client(stepwell_dsn: str) -> Generator[SyncClient]:
    """A blocking client of that database. In an async test: `async with Client(stepwell_dsn)`."""
    with SyncClient(stepwell_dsn) as client:
        yield client


@pytest.fixture
def stepwell_kit(stepwell_dsn: str) -> MakeKit:
    """`async with stepwell_kit(app) as kit:` is a kit on that database."""

    def make(app: App, *, now: datetime | None = None) -> Kit:
        return Kit(app, stepwell_dsn, now=now)

    return make


@pytest.fixture
def stepwell_sync_kit(stepwell_dsn: str) -> MakeSyncKit:
    """`with stepwell_sync_kit(app) as kit:` is the same for a test that is not async."""

    def make(app: App, *, now: datetime | None = None) -> SyncKit:
        return SyncKit(app, stepwell_dsn, now=now)

    return make
