"""The public names of the package as a page: signatures and docstrings as they are in the code."""

from __future__ import annotations

import inspect
import re
import textwrap
import typing
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from types import ModuleType
from typing import Any, cast

import stepwell
import stepwell.testing
from stepwell.define import middleware
from stepwell.dev.postgres import EmbeddedPostgres
from stepwell.errors import StepwellError
from stepwell.observe.emit import subscribed
from stepwell.observe.logs import log_event

WIDTH = 100
GROUPS: Mapping[str, str] = {
    "define": "Definitions",
    "client": "The client",
    "worker": "The worker",
    "settings": "Settings",
    "errors": "Errors",
    "observe": "Events",
    "testing": "For tests",
    "dev": "The embedded Postgres",
}
# names for types, which do not know where they are from
ALIASES: Mapping[str, ModuleType] = {"Middleware": middleware, "Proceed": middleware}
# what is only asked for by those who need it
ELSEWHERE: Mapping[str, tuple[Any, ...]] = {
    "observe": (log_event, subscribed),
    "dev": (EmbeddedPostgres,),
}
INTRO = {
    "Errors": "Which is raised when, and what helps: [errors](errors.md).",
    "Settings": "Each knob: [settings](settings.md).",
    "Events": "`log_event` is in `stepwell.observe.logs`, `subscribed` in `stepwell.observe.emit`. "
    "What they tell: [events](events.md).",
    "The embedded Postgres": "In `stepwell.dev.postgres`. Its [data and its end]"
    "(../how-to/embedded-postgres.md).",
    "For tests": "In `stepwell.testing`. How to: [test your flows](../how-to/test-your-flows.md).",
}


def page() -> str:
    """The whole, grouped by where a name is defined."""
    names = {name: getattr(stepwell, name) for name in stepwell.__all__}
    testing = {name: getattr(stepwell.testing, name) for name in stepwell.testing.__all__}
    parts: list[str] = []
    for package, title in GROUPS.items():
        found = testing if package == "testing" else of_package(names, package)
        found |= {each.__name__: each for each in ELSEWHERE.get(package, ())}
        if found:
            entries = (entry(name, each) for name, each in sorted(found.items()))
            intro = [INTRO[title]] if title in INTRO else []
            parts += [f"## {title}", *intro, *entries]
    return "\n\n".join(parts)


def of_package(names: Mapping[str, Any], package: str) -> dict[str, Any]:
    prefix = f"stepwell.{package}"
    homes = {n: ALIASES[n].__name__ if n in ALIASES else names[n].__module__ for n in names}
    return {n: names[n] for n in names if f"{homes[n]}.".startswith(f"{prefix}.")}


def entry(name: str, each: Any) -> str:
    """One name: how it is called, what it says of itself, and what it has."""
    if name in ALIASES:
        return alias(name)
    if isinstance(each, type) and issubclass(each, StepwellError):
        return f"### `{name}`\n\n{prose(each)}"
    calls = "\n".join(shown(name, signature) for signature in signatures(each))
    parts = [f"### `{name}`", fenced(calls) if calls else "", prose(each)]
    parts += [member(name, *found) for found in members(each)] if isinstance(each, type) else []
    return "\n\n".join(filter(None, parts))


def alias(name: str) -> str:
    """As it is written, with the comment above it."""
    pattern = rf"^((?:# [^\n]*\n)*)({name} = [^\n]*)"
    found = re.search(pattern, inspect.getsource(ALIASES[name]), re.M)
    assert found
    return f"### `{name}`\n\n{fenced(found[2])}\n\n{found[1].replace('# ', '').strip()}"


def member(owner: str, name: str, kind: str, each: Any) -> str:
    if kind == "property":
        returns = inspect.get_annotations(each.fget).get("return", "Any")
        return f"**`{owner}.{name}`**: `{returns}`\n\n{prose(each)}".rstrip()
    before = {"classmethod": "classmethod ", "staticmethod": "staticmethod "}.get(kind, "")
    before += "async " if inspect.iscoroutinefunction(each) else ""
    found = [bare(each) for each in overloads(each)]
    if kind != "staticmethod":
        found = [without_first(signature) for signature in found]
    calls = "\n".join(before + shown(name, signature) for signature in found)
    said = prose(each) or f"As `{owner.removeprefix('Sync')}.{name}`." * owner.startswith("Sync")
    return f"**`{owner}.{name}`**\n\n{fenced(calls)}\n\n{said}".rstrip()


def members(cls: type) -> Iterator[tuple[str, str, Any]]:
    """What a class has of its own or from classes of ours, in the order it is written."""
    seen: set[str] = set()
    for origin in cls.__mro__:
        if not origin.__module__.startswith("stepwell"):
            continue
        for name, each in vars(origin).items():
            if name.startswith("_") or name in seen:
                continue
            seen.add(name)
            if isinstance(each, property):
                yield name, "property", each
            elif isinstance(each, classmethod | staticmethod):
                yield (
                    name,
                    type(cast("object", each)).__name__,
                    vars(origin)[name].__func__,
                )
            elif inspect.isfunction(each):
                yield name, "method", each


def signatures(each: Any) -> list[inspect.Signature]:
    if not inspect.isclass(each):
        return [bare(call) for call in overloads(each)]
    made: Any = each
    if issubclass(made, Enum) or getattr(made, "_is_protocol", False):
        return []
    if not inspect.isfunction(made.__init__):
        return []
    return [without_first(bare(call)) for call in overloads(made.__init__)]


def overloads(function: Callable[..., Any]) -> list[Callable[..., Any]]:
    return list(typing.get_overloads(function)) or [function]


class Said:
    """An annotation as it is written."""

    def __init__(self, text: Any) -> None:
        whole = text if isinstance(text, str) else inspect.formatannotation(text)
        self.text = re.sub(r"\b(?:[a-z_]+\.)+(?=[A-Z])", "", whole)  # classes without their modules

    def __repr__(self) -> str:
        return self.text


def bare(function: Callable[..., Any]) -> inspect.Signature:
    """With annotations as they are written, not as strings of them."""
    found = inspect.signature(function)
    parameters = [as_written(each) for each in found.parameters.values()]
    returns = found.return_annotation
    says_nothing = returns in (found.empty, None, "None")
    said = found.empty if says_nothing else Said(returns)
    return found.replace(parameters=parameters, return_annotation=said)


def as_written(parameter: inspect.Parameter) -> inspect.Parameter:
    if parameter.annotation is not parameter.empty:
        parameter = parameter.replace(annotation=Said(parameter.annotation))
    if " object at 0x" in repr(parameter.default):  # one that only marks that nothing was said
        parameter = parameter.replace(default=Said("..."))
    return parameter


def without_first(signature: inspect.Signature) -> inspect.Signature:
    return signature.replace(parameters=list(signature.parameters.values())[1:])


def shown(name: str, signature: inspect.Signature) -> str:
    """On one line, or with a line for each parameter."""
    line = f"{name}{signature}"
    if len(line) <= WIDTH:
        return line
    parts = [str(p) for p in with_marks(signature)]
    returns = signature.return_annotation
    end = "" if returns is signature.empty else f" -> {returns!r}"
    return "\n".join([f"{name}(", *(f"    {part}," for part in parts), f"){end}"])


def with_marks(signature: inspect.Signature) -> Iterator[object]:
    """The parameters, with the marks `/` and `*` between them."""
    before: Any = None
    for each in signature.parameters.values():
        if before is each.POSITIONAL_ONLY and each.kind is not each.POSITIONAL_ONLY:
            yield "/"
        if each.kind is each.KEYWORD_ONLY and before not in (
            each.KEYWORD_ONLY,
            each.VAR_POSITIONAL,
        ):
            yield "*"
        yield each
        before = each.kind
    if before is inspect.Parameter.POSITIONAL_ONLY:
        yield "/"


def prose(each: Any) -> str:
    """Its docstring, with examples as blocks of their own."""
    text = inspect.cleandoc(each.__doc__ or "")
    if re.match(r"\w+\(.*\)$", text):  # what a dataclass says when nobody said anything
        return ""
    return re.sub(r"(?ms)^>>> .*?(?=^\s*$|\Z)", lambda found: fenced(found[0].rstrip()), text)


def fenced(text: str) -> str:
    return f"```text\n{textwrap.dedent(text)}\n```"
