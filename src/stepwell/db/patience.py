"""How long a call is tried again while Postgres is away."""

from __future__ import annotations

import random
import time

import psycopg

from stepwell.db.connect import hopeless, passing
from stepwell.errors import DatabaseUnavailable

FIRST_PAUSE = 0.02
LONGEST_PAUSE = 1.0


class Patience:
    """How long one call tries, from when it first failed: pauses grow, the deadline ends them."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._deadline: float | None = None
        self._pause = 0.0

    def after(self, error: psycopg.OperationalError) -> float:
        """The pause before the next try (none before the second); raises when there is none."""
        if not passing(error):
            raise error
        now = time.monotonic()
        self._deadline = now + self._timeout if self._deadline is None else self._deadline
        if hopeless(error) or now + self._pause > self._deadline:
            raise DatabaseUnavailable(str(error).strip()) from error
        pause = self._pause
        self._pause = min(max(pause * 2, FIRST_PAUSE), LONGEST_PAUSE)
        return pause * random.uniform(0.75, 1.25)
