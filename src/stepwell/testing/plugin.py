"""Fixtures of pytest. In a conftest.py: pytest_plugins = ["stepwell.testing.plugin"]."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from datetime import datetime
from typing import Any, Protocol

import pytest

from stepwell.define.app import Stepwell
from stepwell.define.flow import Flow
from stepwell.testing.database import database
from stepwell.testing.kit import Kit


class MakeKit(Protocol):
    """What the fixture `stepwell_kit` is."""

    def __call__(
        self, app: Stepwell | Iterable[Flow[Any, Any]], *, now: datetime | None = None
    ) -> Kit: ...


@pytest.fixture
def stepwell_dsn() -> Generator[str]:
    """A fresh database with the schema in it, dropped after the test."""
    with database() as dsn:
        yield dsn


@pytest.fixture
def stepwell_kit(stepwell_dsn: str) -> MakeKit:
    """`async with stepwell_kit(app) as kit:` is a kit on that database."""

    def make(app: Stepwell | Iterable[Flow[Any, Any]], *, now: datetime | None = None) -> Kit:
        return Kit(app, stepwell_dsn, now=now)

    return make
