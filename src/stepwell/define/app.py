"""An app is a list of definitions: what `stepwell worker module:app` serves."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ParamSpec, TypeVar, Unpack, overload

from stepwell.define.archive import Archive, checked_archive
from stepwell.define.flow import Flow
from stepwell.define.function import names_above
from stepwell.define.handler import Code, PatternHandler
from stepwell.define.handler_choices import HandlerChoices
from stepwell.define.job import Job
from stepwell.define.limited import Limits, limits_of
from stepwell.define.limits import Limit
from stepwell.define.machine import Machine
from stepwell.define.middleware import Middleware, checked_middleware
from stepwell.define.queue_worker import QueueWorker
from stepwell.define.registry import Registry
from stepwell.define.schedule import Schedule, by_name
from stepwell.define.unknown import warn_of_unknown
from stepwell.errors import DefinitionError

P = ParamSpec("P")
R = TypeVar("R")
Hook = TypeVar("Hook", bound=Archive)

AnyQueueWorker = QueueWorker[..., Any]


class Stepwell:
    """The definitions of one program. It holds no connection, and making one opens nothing.

    The limits that definitions use are listed too: `limits=[...]`; so are the workers of message
    queues: `queues=[...]`; so is the code for flows that are made from data: `handlers=[...]`; and
    so is what goes around each call of a handler: `middleware=[...]`. `archive` gets ended runs
    before they are deleted.

    >>> app = Stepwell(flows=[Flow("orders")], name="shop")
    >>> [flow.slug for flow in app.flows]
    ['orders']
    """

    __slots__ = (
        "_archive",
        "_handlers",
        "_limits",
        "_middleware",
        "_name",
        "_queues",
        "_registry",
        "_schedules",
    )

    def __init__(
        self,
        *,
        flows: Iterable[Flow[Any, Any]] = (),
        machines: Iterable[type[Machine]] = (),
        jobs: Iterable[Job[..., Any, ...]] = (),
        schedules: Iterable[Schedule] = (),
        limits: Iterable[Limit] = (),
        queues: Iterable[AnyQueueWorker] = (),
        handlers: Iterable[PatternHandler] = (),
        middleware: Iterable[Middleware] = (),
        archive: Archive | None = None,
        name: str | None = None,
    ) -> None:
        self._registry = Registry(flows, machines, jobs)
        warn_of_unknown(self._registry)
        self._schedules = by_name(schedules)
        self._limits = limits_of(limits, self._registry)
        self._queues = by_queue(queues)
        self._handlers: tuple[PatternHandler, ...] = ()
        for each in handlers:
            self._handlers = with_handler(self._handlers, each)
        self._middleware = checked_middleware(middleware)
        self._archive = None if archive is None else checked_archive(archive)
        self._name = name

    def __repr__(self) -> str:
        patterns = [each.pattern for each in self._handlers]
        served = ", ".join([*self._registry.slugs, *patterns, *map(repr, self._queues)])
        served = served or "no flows"
        return f"<Stepwell {self._name or ''}: {served}>"

    @property
    def name(self) -> str | None:
        return self._name

    @property
    def registry(self) -> Registry:
        """The definitions by slug."""
        return self._registry

    @property
    def flows(self) -> tuple[Flow[Any, Any], ...]:
        return tuple(self._registry.flows.values())

    @property
    def machines(self) -> tuple[type[Machine], ...]:
        """Each version of a machine is a class of its own."""
        return tuple(facts.cls for facts in self._registry.machines.values())

    @property
    def jobs(self) -> tuple[Job[..., Any, ...], ...]:
        return tuple(self._registry.jobs.values())

    @property
    def schedules(self) -> tuple[Schedule, ...]:
        return tuple(self._schedules.values())

    @property
    def known_limits(self) -> Limits:
        """The limits by kind and name."""
        return self._limits

    @property
    def limits(self) -> tuple[Limit, ...]:
        return tuple(self._limits.values())

    @property
    def queues(self) -> tuple[AnyQueueWorker, ...]:
        """The queue workers."""
        return tuple(self._queues.values())

    @property
    def handlers(self) -> tuple[PatternHandler, ...]:
        """The code for flows that are made from data. Of two that match a slug, the first that has
        code for all steps serves it."""
        return self._handlers

    @property
    def middleware(self) -> tuple[Middleware, ...]:
        """What goes around each call of a handler, the outermost first."""
        return self._middleware

    @property
    def archive_hook(self) -> Archive | None:
        """What gets ended runs before they go."""
        return self._archive

    def archive(self, hook: Hook) -> Hook:
        """Give ended runs to a function, sync or async, before they are deleted: `@app.archive`. It
        gets lists of ArchivedRun; they go once it returned, and stay when it raised. It may get a
        run more than once."""
        self._archive = checked_archive(hook, self._archive)
        return hook

    @overload
    def handler(self, pattern: str, code: Code, **choices: Unpack[HandlerChoices]) -> None: ...
    @overload
    def handler(
        self, pattern: str, **choices: Unpack[HandlerChoices]
    ) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
    def handler(
        self, pattern: str, code: Code | None = None, **choices: Unpack[HandlerChoices]
    ) -> Any:
        """Serve every flow whose slug matches a pattern, as `stepwell.handler` says; workers that
        run already do so soon. `@app.handler("acct_*")` leaves the function as it is."""
        names = names_above()

        def add(code: Any) -> Any:
            made = PatternHandler(pattern, code, names, **choices)
            self._handlers = with_handler(self._handlers, made)
            return code

        return add if code is None else add(code) and None


def with_handler(handlers: tuple[PatternHandler, ...], added: object) -> tuple[PatternHandler, ...]:
    """One pattern twice is a mistake: the second would never be asked."""
    if not isinstance(added, PatternHandler):
        raise DefinitionError(f"{added!r} is no handler; list what handler('pattern', ...) made")
    if added in handlers:
        return handlers
    if any(each.pattern == added.pattern for each in handlers):
        raise DefinitionError(f"there are two handlers for {added.pattern!r}; keep one")
    return (*handlers, added)


def by_queue(workers: Iterable[AnyQueueWorker]) -> dict[str, AnyQueueWorker]:
    """By the name of the queue, which means the same in upper and lower case."""
    found: dict[str, AnyQueueWorker] = {}
    for each in workers:
        if not isinstance(each, QueueWorker):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise DefinitionError(
                f"{each!r} is no queue worker; list functions decorated with @queue_worker"
            )
        other = found.setdefault(each.queue.lower(), each)
        if other is not each:
            raise DefinitionError(
                f"{other!r} and {each!r} would both handle the messages of one queue; keep one"
            )
    return found
