"""Why a run is not moving."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from stepwell.db.call import Call

State = Literal["stuck", "waiting", "moving", "ended"]


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason why a run is where it is. `state` is 'stuck' until somebody does what `remedy`
    says, 'waiting' for somebody or something that is named, 'moving' by itself, or 'ended'.
    `reason` is a word for programs, `message` a sentence for people; `facts` has what the sentence
    is made of. It is about `tasks` of a step, has held `since` then, and ends at `until` the
    latest."""

    reason: str
    state: State
    step: str | None
    tasks: int
    since: datetime | None
    until: datetime | None
    message: str
    remedy: str | None
    facts: dict[str, Any]


def explain_run(run_id: UUID) -> Call[Reason]:
    """What is worst first."""
    return Call(
        "select reason, state, step_slug as step, tasks, since, until, message, remedy, facts"
        " from pgflow.explain_run(run_id => %s)",
        (run_id,),
        Reason,
    )
