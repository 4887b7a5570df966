"""Plain data to Shape: flows that nobody wrote down as code. What is refused has its reason in a
word, which is the Elixir port's where that has one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, cast

from msgspec import UNSET

from stepwell.compile.check import check_shape
from stepwell.compile.options import run_options_shape, step_options_shape
from stepwell.compile.shape import PatternShape, Shape, StepShape
from stepwell.define.choices import IfExhausted, IfUnmet, check_choice
from stepwell.define.options import RunOptions, run_options, step_options, whole_duration
from stepwell.define.patterns import Pattern, check_pattern, check_root_pattern
from stepwell.define.slug import FLOW_RESERVED, STEP_RESERVED, check_slug, meant
from stepwell.errors import DefinitionError, InvalidDefinition

Data = Mapping[str, Any]

STEP_TYPES = ("single", "map", "signal", "sleep")
STEP_OPTIONS = (
    *("max_attempts", "base_delay", "timeout", "start_delay", "max_delay", "jitter", "backoff"),
    "priority",
)
STEP_KEYS = (
    *("slug", "deps", "step_type", *STEP_OPTIONS),
    *("when", "unless", "if_unmet", "if_exhausted", "signal", "duration"),
)
FLOW_OPTIONS = (
    *("max_attempts", "base_delay", "timeout", "max_delay", "jitter", "backoff", "max_crashes"),
    *("queue", "max_running", "priority", "retention", "archive"),
)


def shape_from_data(slug: object, steps: object, options: Data) -> Shape:
    """The flow that this data means, checked; its steps stand after those they depend on.
    InvalidDefinition says what is wrong, and at which step."""
    name = checked_slug(slug)
    flow = f"flow {name!r}"
    given = [*_steps(steps, flow)]
    slugs = [_slug(step, flow) for step in given]
    _check_twice(slugs, flow)
    read = {s: _step(step, s, slugs, flow) for s, step in zip(slugs, given, strict=True)}
    known = _known(options, FLOW_OPTIONS, flow)
    archive = _archive(known.pop("archive", False), flow)
    try:
        _check_plain(known, flow)
        shape = Shape(
            slug=name,
            options=run_options_shape(run_options(known, flow)),
            steps=tuple(_in_order(read, flow)),
        )
        return check_shape(shape.archived() if archive else shape)
    except InvalidDefinition:
        raise
    except DefinitionError as error:
        wrong = _wrong_in(known, lambda option: run_options(option, flow))
        raise InvalidDefinition("invalid_option", str(error), value=wrong) from error


def _archive(said: object, flow: str) -> bool:
    if not isinstance(said, bool):
        raise InvalidDefinition(
            "invalid_option", f"{flow}: archive is {said!r}; it must be True or False", value=said
        )
    return said


def checked_slug(slug: object) -> str:
    """The slug of a flow; InvalidDefinition (`invalid_slug`) for what no flow can be called."""
    try:
        return check_slug(slug, f"flow {slug!r}", FLOW_RESERVED)
    except DefinitionError as error:
        raise InvalidDefinition("invalid_slug", str(error), value=slug) from error


def _steps(steps: object, flow: str) -> Iterator[Data]:
    if steps is None or steps == [] or steps == ():
        raise InvalidDefinition(
            "steps_required", f"{flow}: it needs steps: steps=[{{'slug': ...}}, ...]"
        )
    if not isinstance(steps, list | tuple):
        raise InvalidDefinition(
            "steps_must_be_list",
            f"{flow}: steps is of type {type(steps).__name__}; it must be a list",
            value=steps,
        )
    for step in cast("list[object]", steps):
        if not isinstance(step, Mapping):
            raise InvalidDefinition(
                "invalid_step",
                f"{flow}: {step!r} is no step; each is a dict: {{'slug': ..., 'deps': [...]}}",
                value=step,
            )
        yield cast("Data", step)


def _slug(step: Data, flow: str) -> str:
    slug = step.get("slug")
    if slug is None:
        raise InvalidDefinition(
            "step_slug_required", f"{flow}: the step {dict(step)!r} has no slug", value=step
        )
    try:
        return check_slug(slug, f"{flow}, step {slug!r}", STEP_RESERVED)
    except DefinitionError as error:
        raise InvalidDefinition("invalid_step_slug", str(error), value=slug) from error


def _check_twice(slugs: list[str], flow: str) -> None:
    seen: dict[str, str] = {}
    for slug in slugs:
        other = seen.get(slug.lower())
        seen[slug.lower()] = slug
        if other is not None:
            raise InvalidDefinition(
                "duplicate_step",
                f"{flow}: there are two steps {slug!r}"
                + (f" (the other is {other!r})" if other != slug else "")
                + "; rename one",
                step=slug,
                value=slug,
            )


def _step(step: Data, slug: str, slugs: Collection[str], flow: str) -> StepShape:
    what = f"{flow}, step {slug!r}"
    kind = step.get("step_type", "single")
    if kind not in STEP_TYPES:
        raise InvalidDefinition(
            "invalid_step_type",
            f"{what}: step_type is {kind!r}; choose one of {', '.join(STEP_TYPES)}",
            step=slug,
            value=kind,
        )
    deps = _dependencies(step, slug, slugs, what)
    said: Data = {}
    try:
        said = _known(step, STEP_KEYS, what)
        return _shape(slug, kind, deps, said, slugs, what)
    except InvalidDefinition as error:
        error.step = slug
        raise
    except DefinitionError as error:
        options = {name: said[name] for name in said if name not in ("slug", "deps", "step_type")}
        wrong = _wrong_in(options, lambda one: _shape(slug, "single", deps, one, slugs, what))
        if kind == "sleep" and wrong == options:
            wrong = {"duration": said.get("duration")}
        raise InvalidDefinition("invalid_option", str(error), step=slug, value=wrong) from error


def _wrong_in(options: Data, read: Callable[[dict[str, Any]], object]) -> Data:
    """The option that is wrong by itself; all of them, when they only contradict each other."""
    for name, value in options.items():
        try:
            _check_plain({name: value}, name)
            read({name: value})
        except DefinitionError:
            return {name: value}
    return options


def _shape(
    slug: str, kind: Any, deps: tuple[str, ...], said: Data, slugs: Collection[str], what: str
) -> StepShape:
    for name, choices in (("if_unmet", IfUnmet), ("if_exhausted", IfExhausted)):
        if name in said:
            check_choice(name, said[name], choices, what)
    when, unless = (_pattern(name, said, deps, slugs, what) for name in ("when", "unless"))
    chosen = {name: said[name] for name in STEP_OPTIONS if name in said}
    _check_plain(chosen, what)
    if kind == "sleep":
        chosen["start_delay"] = whole_duration(said.get("duration"), f"{what}: duration")
    return StepShape(
        slug=slug,
        step_type=kind,
        dependencies=deps,
        when_unmet=said.get("if_unmet", "skip"),
        when_exhausted=said.get("if_exhausted", "fail"),
        required_input_pattern=when,
        forbidden_input_pattern=unless,
        signal_name=said.get("signal", slug) if kind == "signal" else UNSET,
        options=step_options_shape(step_options(chosen, what), RunOptions()),
    )


def _pattern(
    name: str, said: Data, deps: Collection[str], slugs: Collection[str], what: str
) -> PatternShape:
    pattern: Pattern | None = check_pattern(name, said.get(name), what)
    if pattern is None:
        return PatternShape()
    if not deps:
        check_root_pattern(name, pattern, slugs, what)
    return PatternShape(defined=True, value=pattern)


def _dependencies(step: Data, slug: str, slugs: Collection[str], what: str) -> tuple[str, ...]:
    deps = step.get("deps")
    if deps is None:
        return ()
    if not isinstance(deps, list | tuple):
        raise InvalidDefinition(
            "invalid_step_deps",
            f"{what}: deps is {deps!r}; it must be a list of slugs",
            step=slug,
            value=deps,
        )
    found = tuple(_dependency(dep, slug, slugs, what) for dep in cast("list[object]", deps))
    for dep in found:
        if found.count(dep) > 1:
            raise InvalidDefinition(
                "duplicate_dependency",
                f"{what}: {dep!r} is a dependency twice; name it once",
                step=slug,
                value=dep,
            )
    return tuple(sorted(found))


def _dependency(dep: object, slug: str, slugs: Collection[str], what: str) -> str:
    if not isinstance(dep, str):
        raise InvalidDefinition(
            "invalid_step_dep",
            f"{what}: {dep!r} in deps is no text; name the slug of a step",
            step=slug,
            value=dep,
        )
    try:
        check_slug(dep, what, FLOW_RESERVED)
    except DefinitionError as error:
        raise InvalidDefinition(
            "invalid_step_dep_slug", str(error), step=slug, value=dep
        ) from error
    if dep not in slugs:
        raise InvalidDefinition(
            "unknown_dependency",
            f"{what}: it depends on {dep!r}, which is no step of the flow{meant(dep, slugs)}; "
            "add it, or drop the dependency",
            step=slug,
            value=dep,
        )
    return dep


def _known(given: Data, known: tuple[str, ...], what: str) -> dict[str, Any]:
    """What was said, without what is None; a typo never becomes a default."""
    for name in given:
        if name not in known:
            raise InvalidDefinition(
                "unknown_option",
                f"{what}: there is no option {name!r}{meant(str(name), known)}; there are "
                f"{', '.join(known)}",
                value=name,
            )
    return {name: value for name, value in given.items() if value is not None}


def _check_plain(said: Data, what: str) -> None:
    """What only code can say does not go into the database."""
    if not isinstance(said.get("backoff", "fixed"), str):
        raise DefinitionError(
            f"{what}: backoff is {said['backoff']!r}; a flow from data has 'fixed', 'linear' or "
            "'exponential', with base_delay, max_delay and jitter beside it"
        )


def _in_order(read: Mapping[str, StepShape], flow: str) -> Iterator[StepShape]:
    """As they were given, but each after what it depends on."""
    rest = dict(read)
    while rest:
        ready = next((s for s in rest.values() if not rest.keys() & s.dependencies), None)
        if ready is None:
            raise InvalidDefinition(
                "circular_dependency",
                f"{flow}: the steps {', '.join(rest)} wait for each other; drop one dependency",
                value=[*rest],
            )
        yield rest.pop(ready.slug)
