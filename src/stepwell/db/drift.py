"""What a deploy is told of the database: options that differ from the code, and live runs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from stepwell.db.call import Call


@dataclass(frozen=True, slots=True)
class StoredOptions:
    """What a step of a version goes by, as in a shape; `step_slug` is None for the definition."""

    step_slug: str | None
    options: dict[str, Any]
    deployed: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Applied:
    """Nothing comes back."""

    apply_options: None


@dataclass(frozen=True, slots=True)
class LiveVersion:
    """A version that has live runs. `structure` is a list of steps as in a shape, parsed."""

    flow_slug: str
    kind: str
    version_id: int
    version: int
    structure: list[dict[str, Any]]
    live: int


@dataclass(frozen=True, slots=True)
class LiveRun:
    """`steps`: where it stands. `payload`: the state of a machine, the arguments of a job."""

    run_id: UUID
    started_at: datetime
    steps: list[str]
    payload: str | None


def stored_options(version_id: int) -> Call[StoredOptions]:
    return Call(
        "select step_slug, options, deployed from pgflow.stored_options(version => %s)",
        (version_id,),
        StoredOptions,
    )


def apply_options(shape: str, version_id: int) -> Call[Applied]:
    """Make the options of a shape (canonical JSON) count, whatever was tuned by hand."""
    return Call(
        "select pgflow.apply_options(shape => %s::jsonb, version => %s)",
        (shape, version_id),
        Applied,
    )


def live_versions() -> Call[LiveVersion]:
    return Call("select * from pgflow.live_versions()", (), LiveVersion)


def live_runs(version_id: int, after: UUID | None = None, most: int = 1000) -> Call[LiveRun]:
    """By id, so that the last one of a page is where the next begins."""
    return Call(
        "select run_id, started_at, steps, payload::text"
        " from pgflow.live_runs(version => %s, after => %s::uuid, most => %s::int)",
        (version_id, after, most),
        LiveRun,
    )
