"""A flow is a DAG of steps. A step is a decorated function, wired by its parameters' names."""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, ForwardRef, Generic, Literal, ParamSpec, Unpack, get_args, overload

from typing_extensions import TypeVar

from stepwell.define.annotations import hints_of, may_be_array, shown
from stepwell.define.backoff import BackoffLike, ErrorClasses
from stepwell.define.choices import (
    IfExhausted,
    IfUnmet,
    StepChoices,
    check_choice,
    check_known,
    process_of,
    transactional_of,
)
from stepwell.define.dependencies import check_references, dependencies_of, mapped_over
from stepwell.define.duration import Days, Duration, WholeDuration, seconds
from stepwell.define.function import check_no_generator, names_above
from stepwell.define.limits import ConcurrencyLike, Path, RateLike, check_name
from stepwell.define.options import (
    RunOptions,
    StepOptions,
    run_options,
    step_options,
    whole_duration,
)
from stepwell.define.parameters import (
    Surroundings,
    bind,
    check_elements,
    check_types,
    takes_context,
)
from stepwell.define.patterns import check_pattern
from stepwell.define.payload import decoder, encode
from stepwell.define.slug import FLOW_RESERVED, STEP_RESERVED, check_new, check_slug
from stepwell.define.startable import Startable
from stepwell.define.step import Step
from stepwell.errors import DefinitionError, PayloadError

In = TypeVar("In", contravariant=True, default=Any)
Out = TypeVar("Out", covariant=True, default=Any)
P = ParamSpec("P")
R = TypeVar("R")

AnyStep = Step[..., Any]
_CONDITIONS = ("when", "unless")
_OPTIONS = frozenset(RunOptions.__dataclass_fields__)
_POLICIES = {"if_unmet": IfUnmet, "if_exhausted": IfExhausted}


class Flow(Generic[In, Out]):
    """A named DAG of steps. Writing one opens nothing and registers nothing.

    A parameter named after an earlier step is a dependency on it; `flow_input` is the flow's
    input and `ctx` the context. What could never run is a DefinitionError where it is written.

    >>> orders = Flow("orders", max_attempts=5)
    >>> @orders.step
    ... def reserve(flow_input: dict[str, int]) -> list[int]:
    ...     return list(range(flow_input["items"]))
    >>> @orders.map(over=reserve)
    ... async def pack(item: int) -> str: ...
    >>> @orders.step(reserve, if_exhausted="skip")
    ... def thank(pack: list[str]) -> None: ...
    """

    def __init__(
        self,
        slug: str,
        *,
        max_attempts: int = 3,
        base_delay: WholeDuration = 1,
        timeout: WholeDuration = 60,
        max_delay: WholeDuration | None = None,
        jitter: float = 0.0,
        max_crashes: int = 3,
        queue: str | None = None,
        backoff: BackoffLike = "exponential",
        no_retry: ErrorClasses = (),
        max_running: int | None = None,
        priority: int = 0,
        concurrency: ConcurrencyLike | None = None,
        rate_limit: RateLike | None = None,
        fairness_by: Path | None = None,
        retention: Days | None = None,
    ) -> None:
        """`retention`: days that runs are kept after their end (0: for ever; None: as the settings
        of the workers say). `no_retry`: errors after which a step is not tried again."""
        self.slug = check_slug(slug, f"flow {slug!r}", FLOW_RESERVED)
        said = {name: value for name, value in locals().items() if name in _OPTIONS}
        self.options = run_options(said, f"flow {slug!r}")
        self._steps: dict[str, AnyStep] = {}
        self._input_type: Any = Any

    def __repr__(self) -> str:
        return f"<Flow {self.slug}: {', '.join(self._steps) or 'no steps'}>"

    @property
    def steps(self) -> Mapping[str, AnyStep]:
        """The steps by slug, in the order they were written; each after what it depends on."""
        return MappingProxyType(self._steps)

    @property
    def leaves(self) -> tuple[str, ...]:
        """The steps that nothing depends on: their outputs are the flow's output."""
        awaited = {slug for step in self._steps.values() for slug in step.dependencies}
        return tuple(slug for slug in self._steps if slug not in awaited)

    @property
    def input_type(self) -> Any:
        """What `Flow[In, Out](...)` or the `flow_input` annotations say; Any when neither does."""
        declared = self._declared(0)
        return self._input_type if declared is Any else declared

    @property
    def output_type(self) -> Any:
        """What `Flow[In, Out](...)` says; Any otherwise."""
        return self._declared(1)

    @overload
    def step(
        self, first: AnyStep, /, *after: AnyStep, **choices: Unpack[StepChoices]
    ) -> Declare: ...
    @overload
    def step(self, handler: Callable[P, R], /) -> Step[P, R]: ...
    @overload
    def step(self, **choices: Unpack[StepChoices]) -> Declare: ...
    def step(self, *given: Any, **choices: Any) -> Any:
        """Declare a step that runs once every step it depends on is done.

        References (`@flow.step(reserve)`) are dependencies too: each goes to the next parameter
        that is not named after a step, and one that finds no parameter only waits.
        """
        if _is_handler(given):
            return self._add(given[0], names_above(), choices=choices)
        check_references(given, self._steps, f"flow {self.slug!r}")
        return Declare(partial(self._add, choices=choices, references=given))

    @overload
    def map(self, handler: Callable[P, R], /) -> Step[P, R]: ...
    @overload
    def map(
        self, *, over: AnyStep | str | None = None, **choices: Unpack[StepChoices]
    ) -> Declare: ...
    def map(self, *given: Any, over: Any = None, **choices: Any) -> Any:
        """Declare a map step: one task per element of `over`'s output, each with its own retries.

        Without `over` it maps over the flow's input, which must then be a list.
        """
        if _is_handler(given):
            return self._add(given[0], names_above(), choices=choices, is_map=True)
        if given:
            raise DefinitionError(
                f"flow {self.slug!r}: a map step names what it maps over, and it can be one step "
                f"only: write @flow.map(over={getattr(given[0], 'slug', '...')})"
            )
        references = () if over is None else (over,)
        return Declare(partial(self._add, choices=choices, references=references, is_map=True))

    @overload
    def call(self: Flow[None, Out]) -> FlowCall[Out]: ...
    @overload
    def call(self, input: In) -> FlowCall[Out]: ...
    def call(self, input: Any = None) -> FlowCall[Any]:
        """The flow with this input, for Spawn and schedules; PayloadError when it does not fit."""
        try:
            payload = encode(input)
            decoder(self.input_type)(payload)
        except PayloadError as error:
            raise PayloadError(f"input of flow {self.slug!r}: {error}") from error
        if self._has_root_map() and not payload.startswith(b"["):
            raise PayloadError(
                f"input of flow {self.slug!r} is not a list, and the flow maps over it"
            )
        return FlowCall(self, payload)

    def signal(
        self,
        name: str,
        *,
        slug: str | None = None,
        after: AnyStep | Iterable[AnyStep] = (),
        timeout: Duration | None = None,
        if_exhausted: IfExhausted = "fail",
    ) -> Step[[], Any]:
        """Declare a step that waits for a signal; its output is the signal's payload.

        When the `timeout` comes first the step fails, and `if_exhausted` says what then.
        """
        what = f"flow {self.slug!r}, step {name if slug is None else slug!r}"
        check_name(name, f"{what}: the name of its signal")
        limit = None if timeout is None else seconds(timeout, f"{what}: timeout")
        options = StepOptions(signal_timeout=limit)
        return self._wait(
            "signal", name if slug is None else slug, after, options, name, if_exhausted
        )

    def sleep(
        self, slug: str, duration: WholeDuration, *, after: AnyStep | Iterable[AnyStep] = ()
    ) -> Step[[], None]:
        """Declare a step that only lets time pass; it costs nothing while it does."""
        options = StepOptions(
            start_delay=whole_duration(duration, f"flow {self.slug!r}, step {slug!r}")
        )
        return self._wait("sleep", slug, after, options)

    def _wait(
        self,
        kind: Literal["signal", "sleep"],
        slug: str,
        after: AnyStep | Iterable[AnyStep],
        options: StepOptions,
        signal: str | None = None,
        if_exhausted: IfExhausted = "fail",
    ) -> Step[[], Any]:
        what = f"flow {self.slug!r}, step {slug!r}"
        check_slug(slug, what, STEP_RESERVED)
        check_new(slug, self._steps, what)
        references = (after,) if isinstance(after, Step) else tuple(after)
        check_references(references, self._steps, what)
        check_choice("if_exhausted", if_exhausted, IfExhausted, what)
        step = Step[[], Any](
            flow=self.slug,
            slug=slug,
            kind=kind,
            handler=_nothing,
            dependencies=tuple(step.slug for step in references),
            options=options,
            if_exhausted=if_exhausted,
            returns=Any if kind == "signal" else None,
            signal=signal,
        )
        self._steps[slug] = step
        return step

    def _has_root_map(self) -> bool:
        return any(s.kind == "map" and not s.dependencies for s in self._steps.values())

    def _add(
        self,
        handler: Any,
        names: Mapping[str, Any],
        *,
        choices: Mapping[str, Any],
        references: tuple[Any, ...] = (),
        is_map: bool = False,
    ) -> AnyStep:
        """Check everything that can be checked, then take the step in. For the decorators."""
        slug = choices.get("slug")
        slug = _name_of(handler, self.slug) if slug is None else slug
        what = f"flow {self.slug!r}, step {slug!r}"
        check_known(choices, StepChoices, what)
        check_slug(slug, what, STEP_RESERVED)
        check_new(slug, self._steps, what)
        _check_handler(handler, what)
        if is_map:
            references = tuple(mapped_over(over, self._steps, what) for over in references)
        hints = hints_of(handler, names)
        around = Surroundings(what, slug, self._steps, references, is_map)
        parameters = bind(handler, hints, around)
        conditions = {name: check_pattern(name, choices.get(name), what) for name in _CONDITIONS}
        step = Step[..., Any](
            flow=self.slug,
            slug=slug,
            kind="map" if is_map else "single",
            handler=handler,
            dependencies=dependencies_of(around, parameters, conditions),
            parameters=parameters,
            options=step_options(choices, what),
            returns=hints.output,
            transactional=transactional_of(choices, what, has_context=takes_context(parameters)),
            process=process_of(choices, what),
            unknown=hints.unknown,
            **conditions,
            **_policies(choices, what),
        )
        check_types(parameters, around)
        self._input_type = self._agreed_input(step, hints.parameters.get("flow_input", Any), what)
        self._steps[slug] = step
        return step

    def _agreed_input(self, step: AnyStep, annotation: Any, what: str) -> Any:
        known = self.input_type
        if annotation is not Any and known is not Any and annotation != known:
            raise DefinitionError(
                f"{what}: flow_input is {shown(annotation)} here and {shown(known)} before; "
                "a flow has one input, so give it one type"
            )
        agreed = annotation if known is Any else known
        roots = [s for s in (*self._steps.values(), step) if s.kind == "map" and not s.dependencies]
        if roots and not may_be_array(agreed):
            raise DefinitionError(
                f"{what}: the flow's input is {shown(agreed)}, but map step {roots[0].slug!r} "
                "maps over it; make the input a list, or map over a step that returns one"
            )
        for root in roots:
            check_elements(root, agreed, f"flow {self.slug!r}, step {root.slug!r}")
        return agreed

    def _declared(self, place: int) -> Any:
        """What stands in `Flow[In, Out](...)`; typing leaves it on the instance."""
        arguments = get_args(getattr(self, "__orig_class__", None))
        said = arguments[place] if place < len(arguments) else Any
        return Any if isinstance(said, ForwardRef | typing.TypeVar) else said


def flow_of(slug: str, steps: Iterable[AnyStep]) -> Flow[Any, Any]:
    """A flow of steps that are made already, each after what it depends on."""
    flow = Flow[Any, Any](slug)
    flow._steps.update({step.slug: step for step in steps})  # pyright: ignore[reportPrivateUsage]
    return flow


class FlowCall(Startable, Generic[Out]):
    """A flow with its input, ready to be started."""

    __slots__ = ("flow", "payload")

    def __init__(self, flow: Flow[Any, Out], payload: bytes) -> None:
        self.flow = flow
        self.payload = payload

    def __repr__(self) -> str:
        return f"<FlowCall {self.flow.slug}>"


@dataclass(frozen=True, slots=True)
class Declare:
    """What `@flow.step(...)` answers with: it turns a handler into a step and keeps its types."""

    add: Callable[[Any, Mapping[str, Any]], AnyStep]

    def __call__(self, handler: Callable[P, R], /) -> Step[P, R]:
        return self.add(handler, names_above())


def _nothing() -> None:
    """What a step without a handler does."""


def _is_handler(given: tuple[Any, ...]) -> bool:
    """`@flow.step` alone is called with the handler; a step in its place is a dependency."""
    return len(given) == 1 and callable(given[0]) and not isinstance(given[0], Step)


def _name_of(handler: Any, flow: str) -> str:
    name = getattr(handler, "__name__", None)
    if name is None or name == "<lambda>":
        raise DefinitionError(
            f"flow {flow!r}: {handler!r} has no name to be a slug; give it one: "
            "@flow.step(slug=...)"
        )
    return name


def _check_handler(handler: Any, what: str) -> None:
    if isinstance(handler, Step) or not callable(handler):
        raise DefinitionError(
            f"{what}: the handler is {handler!r}; decorate a function (for a step of another "
            "flow, its step.handler)"
        )
    check_no_generator(handler, what)


def _policies(choices: Mapping[str, Any], what: str) -> Mapping[str, Any]:
    policies = {name: choices[name] for name in _POLICIES if name in choices}
    for name, choice in policies.items():
        check_choice(name, choice, _POLICIES[name], what)
    return policies
