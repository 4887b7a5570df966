"""A flow is a DAG of steps. A step is a decorated function, wired by its parameters' names."""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, ForwardRef, Generic, ParamSpec, Unpack, get_args, overload

from typing_extensions import TypeVar

from stepwell.define.backoff import BackoffLike, ErrorClasses
from stepwell.define.choices import IfExhausted, StepChoices
from stepwell.define.declare import AnyStep, agreed_input, declared, root_maps, waiting
from stepwell.define.dependencies import check_references
from stepwell.define.duration import Days, Duration, WholeDuration, seconds
from stepwell.define.function import names_above
from stepwell.define.limits import ConcurrencyLike, Path, RateLike, check_name
from stepwell.define.options import RunOptions, StepOptions, run_options, whole_duration
from stepwell.define.payload import decoder, encode
from stepwell.define.slug import FLOW_RESERVED, check_slug
from stepwell.define.startable import Startable
from stepwell.define.step import Step
from stepwell.errors import DefinitionError, PayloadError

In = TypeVar("In", contravariant=True, default=Any)
Out = TypeVar("Out", covariant=True, default=Any)
P = ParamSpec("P")
R = TypeVar("R")

_OPTIONS = frozenset(RunOptions.__dataclass_fields__)


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
        if root_maps(self._steps.values()) and not payload.startswith(b"["):
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
        taken = name if slug is None else slug
        return self._take(
            waiting(self.slug, self._steps, "signal", taken, after, options, name, if_exhausted)
        )

    def sleep(
        self, slug: str, duration: WholeDuration, *, after: AnyStep | Iterable[AnyStep] = ()
    ) -> Step[[], None]:
        """Declare a step that only lets time pass; it costs nothing while it does."""
        options = StepOptions(
            start_delay=whole_duration(duration, f"flow {self.slug!r}, step {slug!r}")
        )
        return self._take(waiting(self.slug, self._steps, "sleep", slug, after, options))

    def _add(
        self,
        handler: Any,
        names: Mapping[str, Any],
        *,
        choices: Mapping[str, Any],
        references: tuple[Any, ...] = (),
        is_map: bool = False,
    ) -> AnyStep:
        """For the decorators."""
        step = declared(self.slug, self._steps, handler, names, choices, references, is_map)
        self._input_type = agreed_input(self.input_type, step, self._steps)
        return self._take(step)

    def _take(self, step: Step[P, R]) -> Step[P, R]:
        self._steps[step.slug] = step
        return step

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


def _is_handler(given: tuple[Any, ...]) -> bool:
    """`@flow.step` alone is called with the handler; a step in its place is a dependency."""
    return len(given) == 1 and callable(given[0]) and not isinstance(given[0], Step)
