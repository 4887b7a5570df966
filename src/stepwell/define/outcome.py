"""What a step or a job may answer with, and how the execution of one task ended."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime
from typing import Any, Literal, cast

from msgspec import UNSET, UnsetType

from stepwell.define.choices import check_bool, check_choice
from stepwell.define.duration import Duration, seconds
from stepwell.define.labels import Metadata, Tags, checked_metadata, checked_tags
from stepwell.define.limits import ConcurrencyLike, RateLike, check_name, concurrency_use, rate_use
from stepwell.define.options import check_priority
from stepwell.define.payload import storable
from stepwell.define.reference import Target, check_target
from stepwell.define.startable import Startable, check_startable
from stepwell.errors import DefinitionError

OnFailure = Literal["wait", "wake", "fail"]
OnParentEnd = Literal["cancel", "keep"]
_LONGEST_KEY = 512


class _Destination:
    """How the step that comes next is to run."""

    __slots__ = ()

    queue: str | None
    priority: int | None
    rate_limit: RateLike | None
    concurrency: ConcurrencyLike | UnsetType | None
    inline: bool | None

    def _check_destination(self, target: object) -> None:
        what = type(self).__name__
        check_target(target, what)
        if self.queue is not None:
            check_name(self.queue, f"{what}: queue")
        if self.priority is not None:
            check_priority(self.priority, what)
        if self.rate_limit is not None:
            _set(self, rate_limit=rate_use(self.rate_limit, what))
        if self.concurrency is not None and self.concurrency is not UNSET:
            _set(self, concurrency=concurrency_use(self.concurrency, what))
        if self.inline is not None:
            check_bool("inline", self.inline, what)


@dataclass(frozen=True, slots=True)
class Next(_Destination):
    """Go on with another step: at once, or after `delay`.

    `concurrency` is kept when nothing is said; None releases it. `inline=False`: another worker
    may take the step, by its priority.
    """

    target: Target
    _: KW_ONLY
    delay: Duration | None = None
    queue: str | None = None
    priority: int | None = None
    rate_limit: RateLike | None = None
    concurrency: ConcurrencyLike | UnsetType | None = UNSET
    inline: bool | None = None

    def __post_init__(self) -> None:
        self._check_destination(self.target)
        if self.delay is not None:
            _set(self, delay=seconds(self.delay, "Next: delay"))


@dataclass(frozen=True, slots=True)
class Retry:
    """Run this step again: one attempt more. Without a `delay` the step's backoff says when."""

    delay: Duration | None = None

    def __post_init__(self) -> None:
        if self.delay is not None:
            _set(self, delay=seconds(self.delay, "Retry: delay"))


@dataclass(frozen=True, slots=True)
class Await(_Destination):
    """Wait for a signal of one of these names, or `all` of them, then go on with `then`.

    When the `timeout` comes first, the step runs with what is there: `ctx.awaited` may be empty.
    """

    names: str | Sequence[str]
    then: Target
    _: KW_ONLY
    all: bool = False
    timeout: Duration | None = None
    queue: str | None = None
    priority: int | None = None
    rate_limit: RateLike | None = None
    concurrency: ConcurrencyLike | UnsetType | None = UNSET
    inline: bool | None = None

    def __post_init__(self) -> None:
        self._check_destination(self.then)
        _set(self, names=signal_names(self.names))
        if self.timeout is not None:
            _set(self, timeout=seconds(self.timeout, "Await: timeout"))


@dataclass(frozen=True, slots=True)
class Child:
    """A run to start as a child, with what `Spawn` alone does not say about it."""

    of: Startable
    _: KW_ONLY
    key: str | None = None
    queue: str | None = None
    priority: int | None = None
    delay: Duration | None = None
    at: datetime | None = None
    concurrency: ConcurrencyLike | None = None
    rate_limit: RateLike | None = None
    on_parent_end: OnParentEnd | None = None
    tags: Tags | None = None
    metadata: Metadata | None = None

    def __post_init__(self) -> None:
        check_startable(self.of, "Child")
        if self.key is not None:
            _check_key(self.key)
        if self.queue is not None:
            check_name(self.queue, "Child: queue")
        if self.priority is not None:
            check_priority(self.priority, "Child")
        self._check_begin()
        if self.concurrency is not None:
            _set(self, concurrency=concurrency_use(self.concurrency, "Child"))
        if self.rate_limit is not None:
            _set(self, rate_limit=rate_use(self.rate_limit, "Child"))
        if self.on_parent_end is not None:
            check_choice("on_parent_end", self.on_parent_end, OnParentEnd, "Child")
        self._check_labels()

    def _check_labels(self) -> None:
        if self.tags is not None:
            _set(self, tags=checked_tags(self.tags, "Child"))
        if self.metadata is not None:
            _set(self, metadata=checked_metadata(self.metadata, "Child"))

    def _check_begin(self) -> None:
        if self.delay is not None:
            _set(self, delay=seconds(self.delay, "Child: delay"))
        if self.at is not None and (self.delay is not None or self.at.tzinfo is None):
            raise DefinitionError("Child: at is a datetime with a time zone, and excludes delay")


@dataclass(frozen=True, slots=True)
class Spawn(_Destination):
    """Start children, and go on with `then` when all have ended, or `quorum` of them are completed.

    A failed child is counted like any ("wait"), lets `then` run at once ("wake"), or fails this
    run too ("fail"). After `deadline`, `then` runs in any case. In a flow there is no `then`: the
    results of the children are the output of the step.
    """

    children: Sequence[Startable | Child]
    then: Target | None = None
    _: KW_ONLY
    quorum: int | None = None
    on_failure: OnFailure = "wait"
    deadline: Duration | None = None
    on_parent_end: OnParentEnd = "cancel"
    queue: str | None = None
    priority: int | None = None
    rate_limit: RateLike | None = None
    concurrency: ConcurrencyLike | UnsetType | None = UNSET
    inline: bool | None = None

    def __post_init__(self) -> None:
        if self.then is not None:
            self._check_destination(self.then)
        if not isinstance(self.children, Iterable) or isinstance(self.children, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise DefinitionError(f"Spawn: the children are {self.children!r}; pass a list of them")
        children = tuple(self.children)
        _set(self, children=tuple(_child(child) for child in children))
        check_choice("on_failure", self.on_failure, OnFailure, "Spawn")
        check_choice("on_parent_end", self.on_parent_end, OnParentEnd, "Spawn")
        if self.deadline is not None:
            _set(self, deadline=seconds(self.deadline, "Spawn: deadline"))
        if self.quorum is not None:
            _check_quorum(self.quorum, len(children))


@dataclass(frozen=True, slots=True)
class Done:
    """The run is completed; its result is any JSON value."""

    result: Any = None


@dataclass(frozen=True, slots=True)
class Stop:
    """The run has failed, for this reason, and is not tried again."""

    reason: str

    def __post_init__(self) -> None:
        _set(self, reason=_reason(self.reason, "Stop"))


class Snooze(Exception):
    """Return or raise it in a job: try again after `delay`, and do not count this attempt."""

    def __init__(self, delay: Duration) -> None:
        self.delay = seconds(delay, "Snooze: delay")
        super().__init__(self.delay)


class Cancel(Exception):
    """Return or raise it in a job: the run ends as cancelled, for this reason."""

    def __init__(self, reason: str) -> None:
        self.reason = _reason(reason, "Cancel")
        super().__init__(self.reason)


Transition = Next | Retry | Await | Spawn | Done | Stop


@dataclass(frozen=True, slots=True)
class Completed:
    """The handler returned; its result is already JSON."""

    output_json: bytes


@dataclass(frozen=True, slots=True)
class Failed:
    """The handler raised. `permanent` closes the task whatever attempts remain; a `delay` is one
    that the code knows better than the database. `errors`: what was raised, while it is at hand."""

    error_type: str
    message: str
    traceback: str
    permanent: bool = False
    delay: float | None = None
    errors: tuple[BaseException, ...] = field(default=(), compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Moved:
    """The handler answered with something to do: `word` for the commit, and its JSON."""

    word: str
    move: bytes
    error_type: str | None = None
    message: str | None = None
    traceback: str | None = None


Outcome = Completed | Failed | Moved


def signal_names(names: object) -> tuple[str, ...]:
    """One name or several, each once."""
    listed: object = (names,) if isinstance(names, str) else names
    if not isinstance(listed, Iterable) or isinstance(listed, bytes):
        raise DefinitionError(f"Await: {names!r} is no name of a signal, and no list of names")
    found = [check_name(name, "Await: the name of a signal") for name in cast("Any", listed)]
    if not found:
        raise DefinitionError("Await: there is no name to wait for; give one, or a list of them")
    return tuple(dict.fromkeys(found))


def _child(value: object) -> Child:
    if isinstance(value, Child):
        return value
    check_startable(value, "Spawn")
    return Child(cast("Startable", value))


def _check_quorum(quorum: object, children: int) -> None:
    if isinstance(quorum, bool) or not isinstance(quorum, int) or not 1 <= quorum <= children:
        raise DefinitionError(
            f"Spawn: quorum is {quorum!r}; it must be from 1 to the number of children, {children}"
        )


def _check_key(key: object) -> None:
    if not isinstance(key, str) or not key or not storable(key) or len(key) > _LONGEST_KEY:
        raise DefinitionError(
            f"Child: {key!r} cannot be a key; give text of at most {_LONGEST_KEY} characters"
        )


def _reason(reason: object, what: str) -> str:
    text = str(reason).replace("\0", "\N{REPLACEMENT CHARACTER}")
    text = text.encode("utf-8", "replace").decode()
    if not text.strip():
        raise DefinitionError(f"{what}: say the reason")
    return text


def _set(value: object, **changed: object) -> None:
    for name, new in changed.items():
        object.__setattr__(value, name, new)
