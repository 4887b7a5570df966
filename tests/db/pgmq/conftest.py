"""Queues on a fresh database."""

from __future__ import annotations

import pytest

from tests.db.conftest import Connect

from .queues import Queues


@pytest.fixture
def queues(connect: Connect) -> Queues:
    return Queues(connect())
