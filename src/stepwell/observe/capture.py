"""Python's logging, kept with the attempt that was running."""

from __future__ import annotations

import logging
from contextvars import ContextVar
from typing import Protocol


class Speaks(Protocol):
    """Who keeps log lines: the context of an attempt."""

    def keep(self, level: str, message: str) -> None: ...


# set for the length of an attempt; threads of sync handlers see it too
speaking: ContextVar[Speaks | None] = ContextVar("stepwell_speaking", default=None)

LEVELS = ((logging.ERROR, "error"), (logging.WARNING, "warning"), (logging.INFO, "info"))


class RunLogHandler(logging.Handler):
    """Keeps what a handler logs with its attempt, as `ctx.log` does; what is logged elsewhere, and
    what Stepwell itself logs, is none of its business.

    >>> logging.getLogger("shop").addHandler(RunLogHandler(level=logging.INFO))
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Called by `logging`."""
        speaker = speaking.get()
        if speaker is None or record.name.partition(".")[0] == "stepwell":
            return
        try:
            speaker.keep(level_of(record.levelno), self.format(record))
        except Exception:
            self.handleError(record)


def level_of(number: int) -> str:
    """A level of logging as one of ours."""
    return next((name for least, name in LEVELS if number >= least), "debug")
