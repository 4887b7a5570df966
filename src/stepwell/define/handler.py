"""Code for flows that are made from data: one function, or one per step, for every flow whose slug
matches a pattern."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, overload

from stepwell.define.declare import nothing
from stepwell.define.flow import Flow, flow_of
from stepwell.define.function import names_above
from stepwell.define.handler_parameters import Function, parameters_for, read_function
from stepwell.define.slug import meant
from stepwell.define.step import Step
from stepwell.errors import DefinitionError

Handler = Callable[..., Any]
Code = Handler | Mapping[str, Handler]
_PATTERN = re.compile(r"(?:[a-zA-Z0-9_*?]|\[!?[a-zA-Z0-9_-]+\])+")
_WAITS = ("signal", "sleep")


class PatternHandler:
    """What `handler(...)` makes. It serves a version of a flow when it has code for every step of
    it; steps that only wait need none."""

    def __init__(self, pattern: str, code: Code, names: Mapping[str, Any]) -> None:
        what = f"handler for {pattern!r}"
        self.pattern = pattern
        self.expression = expression_of(pattern, what)
        self._matches = re.compile(self.expression).match
        self.code = code
        self._everywhere: Function | None = None
        self._functions: dict[str, Function] = {}
        if callable(code):
            self._everywhere = read_function(code, names, what)
            return
        if not isinstance(code, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise DefinitionError(
                f"{what}: {code!r} is neither a function nor a mapping from steps to functions"
            )
        self._functions = {
            step: read_function(function, names, f"{what}, step {step!r}")
            for step, function in code.items()
        }

    def __repr__(self) -> str:
        return f"<handler for {self.pattern}>"

    def matches(self, slug: str) -> bool:
        """Whether flows of that slug are its to serve."""
        return bool(self._matches(slug))

    def flow(self, slug: str, structure: Sequence[Mapping[str, Any]]) -> Flow[Any, Any]:
        """The flow that has this structure, with this code; DefinitionError says which step it has
        no code for."""
        return flow_of(slug, [self._step(slug, stored) for stored in structure])

    def _step(self, flow: str, stored: Mapping[str, Any]) -> Step[..., Any]:
        slug, kind, dependencies = stored["slug"], stored["stepType"], stored["dependencies"]
        common: dict[str, Any] = {
            "flow": flow,
            "slug": slug,
            "kind": kind,
            "dependencies": tuple(dependencies),
            "if_unmet": stored["whenUnmet"],
            "if_exhausted": stored["whenExhausted"],
        }
        if kind in _WAITS:
            return Step(**common, handler=nothing, signal=stored.get("signalName"))
        function = self._function(flow, slug)
        what = f"handler for {self.pattern!r}, step {slug!r} of flow {flow!r}"
        parameters = parameters_for(function, dependencies, what, is_map=kind == "map")
        returns = function.returns
        return Step(**common, handler=function.handler, parameters=parameters, returns=returns)

    def _function(self, flow: str, step: str) -> Function:
        function = self._functions.get(step, self._everywhere)
        if function is None:
            raise DefinitionError(
                f"handler for {self.pattern!r}: flow {flow!r} has a step {step!r}, and there is no "
                f"function for it{meant(step, self._functions)}; add one"
            )
        return function


@overload
def handler(pattern: str, code: Code) -> PatternHandler: ...
@overload
def handler(pattern: str) -> Callable[[Handler], PatternHandler]: ...
def handler(pattern: str, code: Code | None = None) -> Any:
    """Serve every flow whose slug matches `pattern` (`*` is any text, `?` any character, `[abc]`
    one of these) with a function for all steps, or with a mapping from steps to functions.

    A parameter named after a step that the step depends on gets its output, `flow_input` and `ctx`
    what they always get. Another parameter gets what pgflow hands a step: the element of a map, the
    outputs of all dependencies by slug, or without any the flow's input.

    >>> async def call_tool(input: dict[str, object], ctx: Context) -> object: ...
    >>> handler("acct_*_sync", call_tool)
    <handler for acct_*_sync>
    """
    names = names_above()
    if code is not None:
        return PatternHandler(pattern, code, names)
    return partial(PatternHandler, pattern, names=names)


def expression_of(pattern: object, what: str) -> str:
    """The pattern as a regular expression that Python and Postgres read alike."""
    if not isinstance(pattern, str) or not _PATTERN.fullmatch(pattern):
        raise DefinitionError(
            f"{what}: this is no pattern of slugs; use letters, digits, underscores, *, ? and "
            "[abc], for example 'acct_*_sync'"
        )
    body = pattern.replace("[!", "[^").replace("*", ".*").replace("?", ".")
    try:
        re.compile(body)
    except re.error as error:
        raise DefinitionError(f"{what}: this is no pattern of slugs: {error}") from error
    return f"^{body}$"
