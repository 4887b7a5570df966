"""A job: one function to run later, with retries."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Mapping
from functools import cached_property, partial
from typing import Any, Concatenate, Generic, Unpack, cast, overload

import msgspec
from typing_extensions import ParamSpec, TypeVar

from stepwell.define.annotations import Hints, hints_of, is_context
from stepwell.define.choices import RunChoices, check_known, process_of, transactional_of
from stepwell.define.context import Context
from stepwell.define.function import (
    check_named,
    check_no_generator,
    check_readable,
    is_async,
    names_above,
    one_context,
    parameters_of,
)
from stepwell.define.options import RunOptions, check_paths, paths_of, run_options
from stepwell.define.outcome import Cancel, Snooze
from stepwell.define.payload import decoder, encode
from stepwell.define.slug import FLOW_RESERVED, check_slug
from stepwell.define.startable import Startable
from stepwell.errors import DefinitionError, PayloadError

P = ParamSpec("P")
R = TypeVar("R", covariant=True, default=Any)
Q = ParamSpec("Q", default=P)
Out = TypeVar("Out", covariant=True)
T = TypeVar("T")

Handler = Callable[..., Any]
_DEFAULTS: RunChoices = {"max_attempts": 20, "max_delay": 300, "jitter": 0.1}


class JobChoices(RunChoices, total=False):
    """The keyword arguments of `@job`."""

    name: str | None
    transactional: bool
    process: bool


class Job(Generic[P, R, Q]):
    """A function that can be enqueued. Calling it calls the function, so it is easy to test.

    Write the arguments down with `.call(...)`: they are checked there. `ctx` is no argument of
    it; a job that wants the context takes it first.

    >>> @job(queue="mail", max_attempts=20)
    ... async def send_welcome(user_id: int) -> None: ...
    >>> send_welcome.call(user_id=7)
    <JobCall send_welcome(user_id=7)>
    """

    def __init__(
        self, handler: Callable[Q, R], names: Mapping[str, Any], **choices: Unpack[JobChoices]
    ) -> None:
        name = choices.get("name") or getattr(handler, "__name__", None)
        what = f"job {name!r}"
        if name in (None, "<lambda>"):
            raise DefinitionError(
                f"{handler!r} has no name to be a slug; give it one: @job(name=...)"
            )
        check_known(choices, JobChoices, what)
        self.slug = check_slug(name, what, FLOW_RESERVED)
        _check_handler(handler, what)
        self.handler = handler
        self.version = 1
        self.options: RunOptions = run_options(choices, what, _DEFAULTS)
        hints = hints_of(handler, names)
        self.returns: Any = hints.output
        self.unknown = hints.unknown
        self._parameters = _parameters_of(handler, hints, what)
        self.context_name = _context_name(handler, hints, what)
        self.transactional = transactional_of(
            choices, what, has_context=self.context_name is not None
        )
        self.process = process_of(choices, what)
        self._check_paths(what)
        self.__doc__ = handler.__doc__
        self.__name__ = self.slug
        self.__wrapped__ = handler

    def __repr__(self) -> str:
        return f"<Job {self.slug}>"

    def __call__(self, *args: Q.args, **kwargs: Q.kwargs) -> R:
        return self.handler(*args, **kwargs)

    @property
    def queue(self) -> str:
        return self.options.queue or self.slug

    @property
    def no_retry(self) -> tuple[type[BaseException], ...]:
        """Errors after which it is not tried again."""
        return self.options.no_retry

    @property
    def is_async(self) -> bool:
        """True when the function must be awaited; the others run in a thread."""
        return is_async(self.handler)

    @overload
    def call(
        self: Job[P, Coroutine[Any, Any, T | Snooze | Cancel], Q],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> JobCall[T]: ...
    @overload
    def call(
        self: Job[P, T | Snooze | Cancel, Q], *args: P.args, **kwargs: P.kwargs
    ) -> JobCall[T]: ...
    def call(self, *args: Any, **kwargs: Any) -> JobCall[Any]:
        """The job with these arguments; PayloadError when one does not fit its annotation.

        What has a default is written down too, so that limits find it, and a later default of the
        code changes nothing about this call.
        """
        given = self._bound(args, kwargs)
        rest = {name: v for name, v in self._defaults.items() if name not in given}
        try:
            payload = encode(given | rest)
        except PayloadError as error:
            raise PayloadError(f"job {self.slug!r}: {error}") from error
        self.read(payload)
        return JobCall(cast("Job[..., Any]", self), given, payload)

    def read(self, payload: bytes | str) -> dict[str, Any]:
        """The arguments out of their JSON, without the context and without what has a default."""
        raw = _raw_arguments(payload)
        values: dict[str, Any] = {}
        for name, (read, needed) in self._parameters.items():
            if name in raw:
                values[name] = self._value(name, read, bytes(raw[name]))
            elif needed:
                raise PayloadError(f"job {self.slug!r}: argument {name!r} is missing")
        return values

    @cached_property
    def _defaults(self) -> dict[str, Any]:
        """Those that come back from JSON as they are; the others stay with the code."""
        return {
            name: default
            for name, default in _defaults_of(self.handler).items()
            if name in self._parameters and _survives(default, self._parameters[name][0])
        }

    def _check_paths(self, what: str) -> None:
        check_paths(self.options, self._parameters, "parameter", what)
        defaults = _defaults_of(self.handler)
        for option, path in paths_of(self.options):
            try:
                encode(defaults.get(path[0]))
            except PayloadError as error:
                raise DefinitionError(
                    f"{what}: {option} goes by {path[0]!r}, whose default is not JSON: {error}"
                ) from error

    def _value(self, name: str, read: Callable[[bytes], Any], payload: bytes) -> Any:
        try:
            return read(payload)
        except PayloadError as error:
            raise PayloadError(f"job {self.slug!r}, argument {name!r}: {error}") from error

    def _bound(self, args: Any, kwargs: Any) -> dict[str, Any]:
        signature = inspect.signature(self.handler)
        known = [p for n, p in signature.parameters.items() if n != self.context_name]
        try:
            return signature.replace(parameters=known).bind(*args, **kwargs).arguments
        except TypeError as error:
            raise PayloadError(f"job {self.slug!r}: {error}") from None


class JobCall(Startable, Generic[Out]):
    """A job with its arguments, ready to be enqueued."""

    __slots__ = ("arguments", "job", "payload")

    def __init__(
        self, job: Job[..., Any, ...], arguments: Mapping[str, Any], payload: bytes
    ) -> None:
        self.job = job
        self.arguments = arguments
        self.payload = payload

    def __repr__(self) -> str:
        said = ", ".join(f"{name}={value!r}" for name, value in self.arguments.items())
        return f"<JobCall {self.job.slug}({said})>"


class Declare:
    """What `@job(...)` answers with: it turns a function into a job and keeps its types."""

    def __init__(self, choices: JobChoices) -> None:
        self._choices = choices

    @overload
    def __call__(
        self, handler: Callable[Concatenate[Context, P], R], /
    ) -> Job[P, R, Concatenate[Context, P]]: ...
    @overload
    def __call__(self, handler: Callable[P, R], /) -> Job[P, R, P]: ...
    def __call__(self, handler: Any, /) -> Any:
        return Job(handler, names_above(), **self._choices)


@overload
def job(handler: Callable[Concatenate[Context, P], R], /) -> Job[P, R, Concatenate[Context, P]]: ...
@overload
def job(handler: Callable[P, R], /) -> Job[P, R, P]: ...
@overload
def job(**choices: Unpack[JobChoices]) -> Declare: ...
def job(*given: Any, **choices: Any) -> Any:
    """Make a function a job, with up to 20 attempts and a growing delay between them."""
    if given:
        return Job(given[0], names_above())
    return Declare(cast("JobChoices", choices))


def _check_handler(handler: Any, what: str) -> None:
    if isinstance(handler, Job) or not callable(handler):
        raise DefinitionError(f"{what}: decorate a function with @job, not {handler!r}")
    check_no_generator(handler, what)


def _context_name(handler: Handler, hints: Hints, what: str) -> str | None:
    names = [p.name for p in parameters_of(handler, what)]
    found = [name for name in names if name == "ctx" or is_context(hints.parameters.get(name))]
    return one_context(found, what)


def _parameters_of(
    handler: Handler, hints: Hints, what: str
) -> dict[str, tuple[Callable[[bytes], Any], bool]]:
    """By name: how it is read, and whether it must be there."""
    context = _context_name(handler, hints, what)
    found: dict[str, tuple[Callable[[bytes], Any], bool]] = {}
    for p in parameters_of(handler, what):
        check_named(p, what, "has no name of its own; name each argument", called="jobs")
        if p.name != context:
            wanted = hints.parameters.get(p.name, Any)
            check_readable(p.name, wanted, what)
            found[p.name] = (_reader(wanted), p.default is inspect.Parameter.empty)
    return found


def _defaults_of(handler: Handler) -> dict[str, Any]:
    return {
        name: p.default
        for name, p in inspect.signature(handler).parameters.items()
        if p.default is not inspect.Parameter.empty
    }


def _survives(default: Any, read: Callable[[bytes], Any]) -> bool:
    try:
        return bool(read(encode(default)) == default)
    except Exception:  # no JSON, or another type than the annotation, or an == of theirs
        return False


def _reader(wanted: Any) -> Callable[[bytes], Any]:
    """Made when it is needed: a class may be written further down."""
    return partial(_read, wanted)


_raw_arguments = decoder(dict[str, msgspec.Raw])


def _read(wanted: Any, payload: bytes) -> Any:
    return decoder(wanted)(payload)
