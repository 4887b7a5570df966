"""Outcomes to what the commit understands: a word, and a move in JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from msgspec import UNSET, Raw

from stepwell.define.calls import called
from stepwell.define.ids import new_run_id
from stepwell.define.limited import Limits, check_listed
from stepwell.define.limits import ConcurrencyUse, RateUse
from stepwell.define.machine import Machine, encode_state, machine_of
from stepwell.define.options import check_path
from stepwell.define.outcome import (
    Await,
    Child,
    Done,
    Next,
    Retry,
    Spawn,
    Stop,
)
from stepwell.define.payload import encode
from stepwell.define.reference import Target
from stepwell.define.slug import meant
from stepwell.errors import DefinitionError

Move = dict[str, Any]
AROUND = 3  # levels of a move around the input of a child


def move_of(
    outcome: object,
    *,
    state: Machine,
    handed: Sequence[int],
    after_error: bool = False,
    limits: Limits | None = None,
) -> tuple[str, bytes]:
    """The word and the move of what a step of a machine answered; a clear error when it is none.

    `handed`: the ids of the signals that this execution was handed. `limits`: all that the outcome
    may use.
    """
    written = encode_state(state)
    if isinstance(outcome, Next | Await | Spawn) and limits is not None:
        _check_limits(outcome, limits, f"machine {type(state).__name__}")
    word, move = _move(outcome, type(state))
    move |= {"state": Raw(written), "handed": list(handed)}
    if after_error:
        move["after_error"] = True
    return word, encode(move, around=AROUND)


def spawn_of(spawn: Spawn, *, limits: Limits | None = None) -> bytes:
    """The move of a step of a flow that answered with Spawn."""
    if spawn.then is not None:
        raise DefinitionError("Spawn: a step of a flow has no `then`; depend on it instead")
    if limits is not None:
        _check_limits(spawn, limits, "Spawn")
    return encode(_children(spawn), around=AROUND)


def _check_limits(outcome: Next | Await | Spawn, limits: Limits, what: str) -> None:
    """Refuse a limit that the app does not list: the database would not know it either."""
    children = cast("Sequence[Child]", outcome.children) if isinstance(outcome, Spawn) else ()
    for options in (outcome, *children):
        for use in (options.rate_limit, options.concurrency):
            if isinstance(use, RateUse | ConcurrencyUse) and use.limit is not None:
                check_listed(use.limit, limits, what)


def _move(outcome: object, cls: type[Machine]) -> tuple[str, Move]:
    match outcome:
        case Next():
            delay = _said(delay=outcome.delay)
            return "next", _destination(outcome, outcome.target, cls) | delay
        case Await():
            waits = {
                "names": list(outcome.names),
                "all": outcome.all,
                "timeout": outcome.timeout,
            }
            return "await", _destination(outcome, outcome.then, cls) | waits
        case Spawn(then=None):
            raise DefinitionError("Spawn: say which step comes then: Spawn([...], then=self.join)")
        case Spawn(then=then) if then is not None:
            return "spawn", _destination(outcome, then, cls) | _children(outcome)
        case Retry():
            return "retry", _said(delay=outcome.delay)
        case Done():
            return "done", {"result": outcome.result}
        case Stop():
            return "stop", {}
        case _:
            raise DefinitionError(
                f"machine {cls.__name__}: a step answered with {outcome!r}; it answers with Next, "
                "Retry, Await, Spawn, Done or Stop"
            )


def _destination(outcome: Next | Await | Spawn, target: Target, cls: type[Machine]) -> Move:
    move: Move = {"step": step_of(target, cls)}
    move |= _said(queue=outcome.queue, priority=outcome.priority)
    if not _is_inline(outcome.inline, cls, move["step"]):
        move["inline"] = False
    fields = machine_of(cls).state.fields
    for use in (outcome.rate_limit, outcome.concurrency):
        if isinstance(use, RateUse | ConcurrencyUse) and use.path is not None:
            check_path(use.path, fields, "field", f"machine {cls.__name__}: a limit")
    if outcome.rate_limit is not None:
        move |= cast("RateUse", outcome.rate_limit).said
    if outcome.concurrency is None:
        move["concurrency"] = None
    elif outcome.concurrency is not UNSET:
        move |= cast("ConcurrencyUse", outcome.concurrency).said
    return move


def step_of(target: Target, cls: type[Machine]) -> str:
    """The slug of a target, when it is a step of this machine."""
    steps = machine_of(cls).steps
    if target.owner is None or not issubclass(cls, target.owner) or target.slug not in steps:
        raise DefinitionError(
            f"machine {cls.__name__}: {target!r} is no step of it{meant(target.slug, steps)}; "
            f"its steps are {', '.join(steps)}"
        )
    return target.slug


def _is_inline(said: bool | None, cls: type[Machine], slug: str) -> bool:
    """As the outcome says, else the step, else the machine."""
    facts = machine_of(cls)
    by_step = facts.steps[slug].options.inline
    chosen = (said, by_step, facts.options.inline)
    return next(choice for choice in chosen if choice is not None)


def _children(spawn: Spawn) -> Move:
    return {
        "children": [_child(cast("Child", child), spawn) for child in spawn.children],
        "quorum": spawn.quorum,
        "policy": spawn.on_failure,
        "deadline": spawn.deadline,
    }


def _child(child: Child, spawn: Spawn) -> Move:
    what = called(child.of)
    move: Move = {
        "id": new_run_id(),
        "slug": what.slug,
        "version": what.version,
        "input": Raw(what.input),
        "on_parent_end": child.on_parent_end or spawn.on_parent_end,
        **_said(key=child.key, queue=child.queue, priority=child.priority),
        **_said(delay=child.delay, at=child.at, tags=child.tags, metadata=child.metadata),
    }
    if child.concurrency is not None:
        move |= cast("ConcurrencyUse", child.concurrency).said
    if child.rate_limit is not None:
        move |= cast("RateUse", child.rate_limit).said
    return move


def _said(**options: Any) -> Move:
    return {name: value for name, value in options.items() if value is not None}
