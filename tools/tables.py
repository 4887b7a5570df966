"""What the code says of its settings, events, errors, exit codes and metrics, as tables."""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Iterator
from dataclasses import fields

from stepwell import errors
from stepwell.cli.exits import SAYS, exit_of
from stepwell.errors import StepwellError
from stepwell.observe import events
from stepwell.observe.events import Event
from stepwell.observe.logs import LEVELS
from stepwell.observe.meters import METERS
from stepwell.settings import Settings, allowed
from tools.parts import code, table

BASES = (events.TaskEvent, events.ModuleEvent)


def settings() -> str:
    rows = (
        (
            code(knob.name),
            code(f"STEPWELL_{knob.name.upper()}"),
            code(knob.default if knob.default != "" else '""'),
            allowed(knob),
            knob.metadata["help"],
        )
        for knob in fields(Settings)
    )
    return table(("setting", "environment", "default", "value", "what it is"), rows)


# --- events ---


def kinds_of_event() -> list[type[Event]]:
    """In the order they are written."""
    found = vars(events).values()
    return [each for each in found if isinstance(each, type) and issubclass(each, Event)]


def event_bases() -> str:
    rows = ((code(base.__name__), code(*own(base)), said(base)) for base in BASES)
    return table(("base", "fields", "what it is"), rows)


def event_table() -> str:
    rows = (
        (code(kind.__name__), level(kind), base_of(kind), code(*own(kind)), said(kind))
        for kind in kinds_of_event()
        if kind not in (Event, *BASES)
    )
    return table(("event", "level", "base", "fields", "what happened"), rows)


def level(kind: type[Event]) -> str:
    return logging.getLevelName(LEVELS.get(kind, logging.DEBUG)).lower()


def base_of(kind: type[Event]) -> str:
    return code(*(base.__name__ for base in BASES if issubclass(kind, base)))


def own(kind: type[Event]) -> list[str]:
    inherited = {
        f.name
        for base in BASES
        if issubclass(kind, base) and kind is not base
        for f in fields(base)
    }
    return [field.name for field in fields(kind) if field.name not in inherited]


# --- errors ---


def error_tree() -> str:
    return "\n".join(["```text", StepwellError.__name__, *branches(StepwellError), "```"])


def branches(cls: type[StepwellError], before: str = "") -> Iterator[str]:
    below = children(cls)
    for each in below:
        is_last = each is below[-1]
        yield f"{before}{'└' if is_last else '├'}── {each.__name__}"
        yield from branches(each, before + ("    " if is_last else "│   "))


def children(cls: type[StepwellError]) -> list[type[StepwellError]]:
    return [each for each in cls.__subclasses__() if each.__module__ == errors.__name__]


def with_children(cls: type[StepwellError]) -> Iterator[type[StepwellError]]:
    yield cls
    for each in children(cls):
        yield from with_children(each)


def error_table() -> str:
    rows = (
        (
            code(each.__name__),
            code(each.__dict__["sqlstate"]) if each.__dict__.get("sqlstate") else "",
            str(exit_code(each)),
            said(each),
            linked(each.remedy),
        )
        for each in with_children(StepwellError)
    )
    return table(("class", "SQLSTATE", "exit code", "what happened", "what helps"), rows)


def linked(text: str) -> str:
    """With the pages that it names as links from a page of the reference."""
    return re.sub(r"docs/((?:[\w-]+/)*([\w-]+)\.md)", r"[\2](../\1)", text)


def exit_code(cls: type[StepwellError]) -> int:
    found = exit_of(cls.__new__(cls))
    assert found is not None
    return found.value


def exit_codes() -> str:
    return table(("code", "meaning"), ((str(each.value), says) for each, says in SAYS.items()))


# --- metrics ---


def metrics() -> str:
    rows = (
        (code(f"stepwell_{each.name}"), each.kind, code(*each.labels), each.says)
        for each in METERS.values()
    )
    return table(("metric", "kind", "labels", "what it says"), rows)


def said(cls: type) -> str:
    """Its own docstring in one line; not one that a dataclass makes up."""
    text = inspect.cleandoc(cls.__dict__.get("__doc__") or "")
    return "" if text.startswith(f"{cls.__name__}(") else " ".join(text.split())
