"""One step of a flow: its handler, what it waits for, and where each parameter comes from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, ParamSpec, TypeVar

from stepwell.define.choices import IfExhausted, IfUnmet
from stepwell.define.function import is_async
from stepwell.define.options import StepOptions
from stepwell.define.patterns import Pattern
from stepwell.define.results import result_of

P = ParamSpec("P")
R = TypeVar("R", covariant=True)

Kind = Literal["single", "map", "signal", "sleep"]
Source = Literal["dependency", "element", "outputs", "flow_input", "context"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """Where the value of one parameter comes from, and the type it is read as.

    When the step behind a dependency was skipped, the parameter gets `default`.
    """

    name: str
    source: Source
    type: Any = Any
    dependency: str | None = None
    may_be_absent: bool = False
    default: Any = None


@dataclass(frozen=True, eq=False)
class Step(Generic[P, R]):
    """A handler and its place in a flow. Calling it calls the handler, so it is easy to test."""

    flow: str
    slug: str
    kind: Kind
    handler: Callable[P, R]
    dependencies: tuple[str, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    options: StepOptions = field(default_factory=StepOptions)
    when: Pattern | None = None
    unless: Pattern | None = None
    if_unmet: IfUnmet = "skip"
    if_exhausted: IfExhausted = "fail"
    returns: Any = Any
    signal: str | None = None
    transactional: bool = False
    process: bool = False
    unknown: tuple[str, ...] = ()  # whose annotations name what is not there

    def __post_init__(self) -> None:
        for name in ("__name__", "__qualname__", "__doc__", "__module__"):
            if hasattr(self.handler, name):
                object.__setattr__(self, name, getattr(self.handler, name))
        object.__setattr__(self, "__wrapped__", self.handler)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.handler(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<Step {self.flow}.{self.slug}>"

    @property
    def is_async(self) -> bool:
        """True when the handler must be awaited; the others run in a thread."""
        return is_async(self.handler)

    @property
    def output_type(self) -> Any:
        """What the whole step produces: for a map step, the list of what its handler returns."""
        result = result_of(self.returns)
        return list[result] if self.kind == "map" else result

    @property
    def takes_input(self) -> bool:
        """True when the handler can look at the flow's input."""
        return any(p.source in ("flow_input", "context") for p in self.parameters)

    @property
    def may_be_absent(self) -> bool:
        """True when its dependents may run without its output."""
        conditional = self.when is not None or self.unless is not None
        return (conditional and self.if_unmet == "skip") or self.if_exhausted == "skip"
