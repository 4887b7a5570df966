"""Runs and their steps as pgflow tells them: one JSON text."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from stepwell.db.call import Call


@dataclass(frozen=True, slots=True)
class RunJson:
    """None: there is no such run."""

    found: str | None


def get_run(run_id: UUID) -> Call[RunJson]:
    """The row of a run."""
    return Call(
        "select json_build_object('run', r)::text as found"
        " from pgflow.get_run(run_id => %s) as g (r) where r is not null",
        (run_id,),
        RunJson,
    )


def get_run_with_states(run_id: UUID) -> Call[RunJson]:
    """The row of a run with the rows of its steps."""
    return Call(
        "select g.r::text as found from pgflow.get_run_with_states(run_id => %s) as g (r)"
        " where r is not null",
        (run_id,),
        RunJson,
    )
