"""A queue worker: one function for the messages of one queue of pgmq."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Generic, ParamSpec, TypedDict, TypeVar, Unpack, cast

from stepwell.define.annotations import hints_of, is_context
from stepwell.define.backoff import BackoffLike, ByError, ErrorClasses, no_retry_of, spread
from stepwell.define.choices import check_known, process_of, transactional_of
from stepwell.define.context import Context, MachineContext, MessageContext
from stepwell.define.duration import Duration, WholeDuration, seconds, whole_seconds
from stepwell.define.function import (
    VARIADIC,
    check_no_generator,
    check_readable,
    is_async,
    names_above,
    one_context,
    parameters_of,
)
from stepwell.define.message_queue import check_queue_name
from stepwell.define.payload import decoder
from stepwell.define.retry_policy import RetryPolicy
from stepwell.errors import DefinitionError, PayloadError

P = ParamSpec("P")
R = TypeVar("R", covariant=True)

_LARGEST = 2**31 - 1
_TRANSACTION = 60  # seconds, as any step has


class QueueChoices(TypedDict, total=False):
    """The keyword arguments of `@queue_worker`."""

    retry: RetryPolicy
    no_retry: ErrorClasses
    backoff: BackoffLike
    visibility_timeout: WholeDuration
    max_concurrent: int
    timeout: Duration | None
    transactional: bool
    process: bool


class QueueWorker(Generic[P, R]):
    """A function that handles the messages of a queue. Calling it calls the function, so it is
    easy to test.

    >>> @queue_worker("tasks", retry=RetryPolicy("fixed", limit=3, base_delay=10))
    ... async def resize(image: str, ctx: MessageContext) -> None: ...
    >>> resize
    <QueueWorker resize of 'tasks'>
    """

    def __init__(
        self,
        queue: str,
        handler: Callable[P, R],
        names: Mapping[str, Any],
        **choices: Unpack[QueueChoices],
    ) -> None:
        self.__name__: str = getattr(handler, "__name__", repr(handler))
        what = f"queue worker {self.__name__!r}"
        check_known(choices, QueueChoices, what)
        _check_handler(handler, what)
        self.queue = check_queue_name(queue, what)
        self.handler = handler
        self.retry = _policy(choices.get("retry", RetryPolicy()), what)
        self.no_retry = no_retry_of(choices.get("no_retry", ()), what)
        self.backoff, self.backoff_by = _backoff(choices.get("backoff"), self.retry, what)
        vt = whole_seconds(choices.get("visibility_timeout", 10))
        self.visibility_timeout = _whole("visibility_timeout", vt, what)
        self.max_concurrent = _whole("max_concurrent", choices.get("max_concurrent", 10), what)
        hints = hints_of(handler, names)
        self.message_name, self.context_name = _roles(handler, hints.parameters, what)
        self.transactional = transactional_of(
            choices, what, has_context=self.context_name is not None
        )
        self.process = process_of(choices, what)
        self.timeout = _timeout(choices, what)
        self.message_type: Any = hints.parameters.get(self.message_name, Any)
        check_readable(self.message_name, self.message_type, what)
        self.__doc__ = handler.__doc__
        self.__wrapped__ = handler

    def __repr__(self) -> str:
        return f"<QueueWorker {self.__name__} of {self.queue!r}>"

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.handler(*args, **kwargs)

    @property
    def is_async(self) -> bool:
        """True when the function must be awaited; the others run in a thread."""
        return is_async(self.handler)

    def read(self, message: bytes | str) -> Any:
        """The message out of its JSON; PayloadError when it does not fit the annotation."""
        try:
            return decoder(self.message_type)(message)
        except PayloadError as error:
            raise PayloadError(f"a message of queue {self.queue!r}: {error}") from error


class Declare:
    """What `queue_worker(...)` answers with: it turns a function into a queue worker."""

    def __init__(self, queue: str, choices: QueueChoices) -> None:
        self._queue = queue
        self._choices = choices

    def __call__(self, handler: Callable[P, R], /) -> QueueWorker[P, R]:
        return QueueWorker(self._queue, handler, names_above(), **self._choices)


def queue_worker(queue: str, /, **choices: Unpack[QueueChoices]) -> Declare:
    """Make a function the worker of a queue: what returns is archived, what raises is tried again,
    and what runs out of tries becomes a dead letter.

    A message that is handled stays hidden from others for `visibility_timeout` seconds at a time,
    for as long as the function runs; `timeout` says how long that may be. One worker handles
    `max_concurrent` messages at once. What a `transactional` function writes through
    `ctx.connection` commits together with the end of its message, or not at all; with `process` it
    runs in a child process.
    """
    if callable(queue):
        raise DefinitionError('a queue worker needs a queue; write @queue_worker("tasks")')
    check_queue_name(queue, "queue_worker")
    return Declare(queue, choices)


def _check_handler(handler: Any, what: str) -> None:
    if isinstance(handler, QueueWorker) or not callable(handler) or isinstance(handler, type):
        raise DefinitionError(f"{what}: decorate a function with @queue_worker, not {handler!r}")
    check_no_generator(handler, what, "do the work instead of yielding")


def _policy(given: object, what: str) -> RetryPolicy:
    if not isinstance(given, RetryPolicy):
        raise DefinitionError(
            f"{what}: retry is {given!r}; give a policy, as RetryPolicy('fixed', limit=3)"
        )
    return given


def _backoff(
    given: object, retry: RetryPolicy, what: str
) -> tuple[Callable[[int], Any] | None, ByError | None]:
    """A pause after any error, or after errors of some classes. Growth is what `retry` says."""
    if given is None:
        return None, None
    if isinstance(given, str) or not (callable(given) or isinstance(given, Mapping)):
        raise DefinitionError(
            f"{what}: backoff is {given!r}; give a Backoff, a function from the try to a delay, or "
            "a mapping from classes of errors to those"
        )
    said = spread({"backoff": given}, {}, what)
    if "backoff_by" in said:
        return None, said["backoff_by"]
    if retry != RetryPolicy(limit=retry.limit):
        raise DefinitionError(
            f"{what}: retry says how long to pause, and so does backoff; keep only its limit: "
            f"retry=RetryPolicy(limit={retry.limit})"
        )
    return cast("Callable[[int], Any]", given), None


def _timeout(choices: Mapping[str, Any], what: str) -> float | None:
    """None: as long as it takes. A transaction is held to one, or a worker that hangs would keep
    it, and all that it has locked."""
    transactional = bool(choices.get("transactional"))
    timeout = choices.get("timeout", _TRANSACTION if transactional else None)
    if timeout is not None:
        return seconds(timeout, f"{what}: timeout", positive=True)
    if transactional:
        raise DefinitionError(
            f"{what}: it is transactional, and timeout is None; say how long its transaction may "
            "take"
        )
    return None


def _whole(name: str, value: object, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _LARGEST:
        unit = "" if name == "max_concurrent" else " of seconds, or a timedelta of whole seconds,"
        raise DefinitionError(
            f"{what}: {name} is {value!r}; it must be a whole number{unit} of at least 1"
        )
    return value


def _roles(
    handler: Callable[..., Any], hints: Mapping[str, Any], what: str
) -> tuple[str, str | None]:
    """The names of the parameters for the message and for the context."""
    messages: list[str] = []
    contexts: list[str] = []
    for p in parameters_of(handler, what):
        name = p.name
        if p.kind in VARIADIC or p.kind is inspect.Parameter.POSITIONAL_ONLY:
            written = f"{VARIADIC[p.kind]}{name}" if p.kind in VARIADIC else f"{name}, /"
            raise DefinitionError(
                f"{what}: handlers are called by name, which {written} does not allow"
            )
        if is_context(hints.get(name), Context, MachineContext):
            raise DefinitionError(
                f"{what}: parameter {name!r} is a context of runs, and a message has none; "
                "write MessageContext"
            )
        if name == "ctx" or is_context(hints.get(name), MessageContext):
            contexts.append(name)
        elif p.default is inspect.Parameter.empty or not messages:
            messages.append(name)
    if len(messages) != 1:
        has = " and ".join(repr(name) for name in messages) or "none"
        raise DefinitionError(
            f"{what}: it gets one message, so it takes one parameter for it beside ctx; "
            f"it has {has}"
        )
    return messages[0], one_context(contexts, what)
