"""Ended runs as an archive gets them, before they go."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from stepwell.define.payload import decoder
from stepwell.errors import DefinitionError


@dataclass(frozen=True, slots=True)
class ArchivedStep:
    """A step of the run as it ended; of a machine or a job, the one where it stood."""

    step: str
    type: str
    status: str
    tasks: int | None
    failed_attempts: int
    skip_reason: str | None
    error_message: str | None
    started_at: datetime | None
    ended_at: datetime | None
    output: Any


@dataclass(frozen=True, slots=True)
class ArchivedAttempt:
    """An attempt that did not succeed."""

    step: str
    task_index: int
    attempt: int
    error_type: str
    error_message: str
    traceback: str | None
    worker_id: UUID | None
    started_at: datetime | None
    failed_at: datetime


@dataclass(frozen=True, slots=True)
class ArchivedSignal:
    name: str
    payload: Any
    sent_at: datetime
    consumed_at: datetime | None


@dataclass(frozen=True, slots=True)
class ArchivedLine:
    """A line that a body logged with `ctx.log`."""

    step: str
    task_index: int
    attempt: int
    at: datetime
    level: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedRun:
    """A run that ended, and all that goes with it. `json` is the whole of it on one line. `cut`: it
    had more failed attempts or log lines than the newest, which are here."""

    id: UUID
    flow: str
    kind: str
    version: int
    status: str
    key: str | None
    priority: int
    started_at: datetime
    ended_at: datetime
    error_message: str | None
    failed_step: str | None
    parent_id: UUID | None
    origin_id: UUID | None
    input: Any
    output: Any
    state: Any
    tags: list[str] | None
    metadata: dict[str, Any] | None
    steps: list[ArchivedStep]
    attempts: list[ArchivedAttempt]
    signals: list[ArchivedSignal]
    logs: list[ArchivedLine]
    cut: bool = False
    json: str = field(default="", repr=False)

    @classmethod
    def read(cls, document: str) -> ArchivedRun:
        """Out of what the database wrote: line breaks in it are none of a text's."""
        line = document.replace("\n", "")
        return replace(decoder(cls)(line), json=line)


Archive = Callable[[Sequence[ArchivedRun]], Awaitable[None] | None]


def checked_archive(archive: Any, there: Archive | None = None) -> Archive:
    """One function, sync or async; DefinitionError says what else was given."""
    if not callable(archive) or inspect.isgeneratorfunction(archive):
        raise DefinitionError(
            f"archive is {archive!r}; give a function, sync or async, that takes a list of runs"
        )
    if there not in (None, archive):
        raise DefinitionError(
            f"{there!r} archives the runs of this app already; keep one, which may call the other"
        )
    return cast(Archive, archive)
