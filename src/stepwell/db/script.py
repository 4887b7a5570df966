"""A shape as a SQL script that somebody else applies. Everything in it that comes from a shape is
a quoted value."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from psycopg.sql import SQL, Composed, Literal

Data = Mapping[str, Any]
Part = Composed | Literal
NAMED = {  # an option in a shape, and the argument that says it
    "maxAttempts": SQL("max_attempts => {}"),
    "baseDelay": SQL("base_delay => {}"),
    "timeout": SQL("timeout => {}"),
    "startDelay": SQL("start_delay => {}"),
}
PATTERNS = {
    "requiredInputPattern": SQL("required_input_pattern => {}"),
    "forbiddenInputPattern": SQL("forbidden_input_pattern => {}"),
}
MODES = {
    "whenUnmet": ("skip", SQL("when_unmet => {}")),
    "whenExhausted": ("fail", SQL("when_exhausted => {}")),
}
KNOWN = SQL("select from pgflow.flows where flow_slug = {}")
CREATE = SQL("perform pgflow.create_flow({});")
ADD = SQL("perform pgflow.add_step({});")
DEPENDENCIES = SQL("deps_slugs => array[{}]")
TYPE = SQL("step_type => {}")
ENSURE = SQL("select version, status from pgflow.ensure_flow(shape => {});")
HEAD = """\
-- The {kind} {slug} as its code has it, written by `stepwell compile`. Safe to run again. Where it
-- is known in another shape, this makes a version beside it, and runs under way keep theirs.
"""


def script_of(shape: Data) -> str:
    """SQL that gives a database this shape: the flow where it is not there, a version beside the
    others where it is there with other steps, nothing where it is there like this."""
    parts = [made(shape)] if is_plain(shape) else []
    return "\n".join([HEAD.format(kind=shape["kind"], slug=shape["slug"]), *parts, ensured(shape)])


def is_plain(shape: Data) -> bool:
    """Whether create_flow and add_step have words for all its steps."""
    types = {step["stepType"] for step in shape["steps"]}
    return shape["kind"] == "flow" and types <= {"single", "map"} and not shape["options"]["queue"]


def made(shape: Data) -> str:
    """The flow and its steps, one call each."""
    slug = Literal(shape["slug"])
    calls = [CREATE.format(listed([slug, *named(shape["options"])]))]
    calls += [ADD.format(listed([slug, *step_arguments(step)])) for step in shape["steps"]]
    body = "\n".join(f"    {text(call)}" for call in calls)
    known = text(KNOWN.format(slug))
    tag = next(tag for tag in tags() if tag not in body)
    lines = [f"do {tag}", "begin", f"  if not exists ({known}) then", body]
    return "\n".join([*lines, "  end if;", "end", f"{tag};", ""])


def ensured(shape: Data) -> str:
    """The same as a whole: what add_step has no words for, and a flow that is there already."""
    return text(ENSURE.format(Literal(written(shape)))) + "\n"


def written(shape: Data) -> str:
    """JSON with a line for each step, so that a review sees which one changed."""
    rest = {key: value for key, value in shape.items() if key != "steps"}
    lines = [json.dumps(step, ensure_ascii=False) for step in shape["steps"]]
    head = json.dumps(rest, ensure_ascii=False)[:-1]
    return head + ', "steps": [\n  ' + ",\n  ".join(lines) + "\n]}"


def step_arguments(step: Data) -> Iterator[Part]:
    yield Literal(step["slug"])
    if step["dependencies"]:
        yield DEPENDENCIES.format(listed(map(Literal, step["dependencies"])))
    yield from named(step["options"])
    if step["stepType"] != "single":
        yield TYPE.format(Literal(step["stepType"]))
    for key, argument in PATTERNS.items():
        if step[key]["defined"]:
            yield argument.format(Literal(json.dumps(step[key]["value"], ensure_ascii=False)))
    for key, (default, argument) in MODES.items():
        if step[key] != default:
            yield argument.format(Literal(step[key]))


def named(options: Data) -> Iterator[Part]:
    return (a.format(Literal(options[key])) for key, a in NAMED.items() if key in options)


def listed(parts: Iterable[Part]) -> Composed:
    return SQL(", ").join(parts)


def tags() -> Iterator[str]:
    return (f"$flow{number or ''}$" for number in itertools.count())


def text(part: Composed) -> str:
    return part.as_string(None)
