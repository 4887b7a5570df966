"""Code for flows that are made from data: one function, or one per step, for every flow whose slug
matches a pattern."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Unpack, overload

from stepwell.define.choices import check_known
from stepwell.define.declare import nothing
from stepwell.define.flow import Flow, flow_of
from stepwell.define.function import names_above
from stepwell.define.handler_choices import HandlerChoices, check_chosen, chosen_of, is_chosen
from stepwell.define.handler_parameters import Function, parameters_for, read_function
from stepwell.define.slug import meant
from stepwell.define.step import Kind, Step
from stepwell.errors import DefinitionError

Handler = Callable[..., Any]
Code = Handler | Mapping[str, Handler]
_PATTERN = re.compile(r"(?:[a-zA-Z0-9_*?]|\[!?[a-zA-Z0-9_-]+\])+")
_WAITS = ("signal", "sleep")


class PatternHandler:
    """What `handler(...)` makes. It serves a version of a flow when it has code for every step of
    it; steps that only wait need none."""

    def __init__(
        self,
        pattern: str,
        code: Code,
        names: Mapping[str, Any],
        **choices: Unpack[HandlerChoices],
    ) -> None:
        what = f"handler for {pattern!r}"
        check_known(choices, HandlerChoices, what)
        self.pattern = pattern
        self.expression = expression_of(pattern, what)
        self._matches = re.compile(self.expression).match
        self.code = code
        self._everywhere: Function | None = None
        self._functions: dict[str, Function] = {}
        if callable(code):
            self._everywhere = read_function(code, names, what)
        elif isinstance(code, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            self._functions = {
                step: read_function(function, names, f"{what}, step {step!r}")
                for step, function in code.items()
            }
        else:
            raise DefinitionError(
                f"{what}: {code!r} is neither a function nor a mapping from steps to functions"
            )
        self.transactional = chosen_of("transactional", choices, self._functions, what)
        self.process = chosen_of("process", choices, self._functions, what)
        check_chosen(self.transactional, self.process, self._everywhere, self._functions, what)

    def __repr__(self) -> str:
        return f"<handler for {self.pattern}>"

    @property
    def module(self) -> str:
        """Where its code was written, or some of it."""
        functions = [self._everywhere, *self._functions.values()]
        found = (getattr(each.handler, "__module__", None) for each in functions if each)
        return next((name for name in found if name), "")

    def matches(self, slug: str) -> bool:
        """Whether flows of that slug are its to serve."""
        return bool(self._matches(slug))

    def flow(self, slug: str, structure: Sequence[Mapping[str, Any]]) -> Flow[Any, Any]:
        """The flow that has this structure, with this code; DefinitionError says which step it has
        no code for."""
        return flow_of(slug, [self._step(slug, stored) for stored in structure])

    def step(
        self, flow: str, slug: str, kind: Kind, dependencies: Sequence[str], **policies: Any
    ) -> Step[..., Any]:
        """One step of such a flow."""
        function = self._function(flow, slug)
        what = f"handler for {self.pattern!r}, step {slug!r} of flow {flow!r}"
        parameters = parameters_for(function, dependencies, what, is_map=kind == "map")
        return Step(
            flow=flow,
            slug=slug,
            kind=kind,
            handler=function.handler,
            dependencies=tuple(dependencies),
            parameters=parameters,
            returns=function.returns,
            transactional=is_chosen(self.transactional, slug),
            process=is_chosen(self.process, slug),
            **policies,
        )

    def _step(self, flow: str, stored: Mapping[str, Any]) -> Step[..., Any]:
        slug, kind, dependencies = stored["slug"], stored["stepType"], stored["dependencies"]
        policies: dict[str, Any] = {
            "if_unmet": stored["whenUnmet"],
            "if_exhausted": stored["whenExhausted"],
        }
        if kind not in _WAITS:
            return self.step(flow, slug, kind, dependencies, **policies)
        return Step(
            flow=flow,
            slug=slug,
            kind=kind,
            handler=nothing,
            dependencies=tuple(dependencies),
            signal=stored.get("signalName"),
            **policies,
        )

    def _function(self, flow: str, step: str) -> Function:
        function = self._functions.get(step, self._everywhere)
        if function is None:
            raise DefinitionError(
                f"handler for {self.pattern!r}: flow {flow!r} has a step {step!r}, and there is no "
                f"function for it{meant(step, self._functions)}; add one"
            )
        return function


@overload
def handler(pattern: str, code: Code, **choices: Unpack[HandlerChoices]) -> PatternHandler: ...
@overload
def handler(
    pattern: str, **choices: Unpack[HandlerChoices]
) -> Callable[[Handler], PatternHandler]: ...
def handler(pattern: str, code: Code | None = None, **choices: Unpack[HandlerChoices]) -> Any:
    """Serve every flow whose slug matches `pattern` (`*` is any text, `?` any character, `[abc]`
    one of these) with a function for all steps, or with a mapping from steps to functions.

    A parameter named after a step that the step depends on gets its output, `flow_input` and `ctx`
    what they always get. Another parameter gets what pgflow hands a step: the element of a map, the
    outputs of all dependencies by slug, or without any the flow's input.

    `transactional` and `process` mean what they mean for a step: True for all of them, or the slugs
    of those that it is for.

    >>> async def call_tool(input: dict[str, object], ctx: Context) -> object: ...
    >>> handler("acct_*_sync", call_tool)
    <handler for acct_*_sync>
    """
    names = names_above()
    if code is not None:
        return PatternHandler(pattern, code, names, **choices)
    return partial(PatternHandler, pattern, names=names, **choices)


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
