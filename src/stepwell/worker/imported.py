"""Where a definition is found by whoever imports it: "module:name"."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import cache
from types import ModuleType
from typing import Any, cast

from stepwell.define.app import Stepwell
from stepwell.define.definition import Definition, slug_of
from stepwell.define.flow import Flow
from stepwell.define.handler import PatternHandler
from stepwell.define.job import Job
from stepwell.define.loaded import loaded
from stepwell.define.machine import machine_of
from stepwell.define.queue_worker import QueueWorker
from stepwell.errors import DefinitionError

Importable = Definition | QueueWorker[..., Any] | PatternHandler


@cache
def path_of(definition: Importable) -> str:
    """A global of an importable module that is this definition, or an app that lists it. All that
    is imported may have to be looked through, so once."""
    slug = name_of(definition)
    in_main = False
    apps: list[str] = []
    for name, module in modules(home_of(definition)):
        for variable, value in list(vars(module).items()):
            if value is definition:
                if name != "__main__":
                    return f"{name}:{variable}"
                in_main = True
            # not isinstance: a lazy object of a framework would look itself up to answer
            elif issubclass(type(value), Stepwell) and lists(value, definition):
                apps += [f"{name}:{variable}"] if name != "__main__" else []
                in_main = in_main or name == "__main__"
    if apps:
        return apps[0]
    why = (
        "it is in the program itself, which cannot be imported; move it to a module, and start "
        "the worker with `stepwell worker module:app`"
        if in_main
        else "no module that can be imported has it; make it a global of one, or list it in an app "
        "that is one"
    )
    raise DefinitionError(
        f"{slug!r} has process=True, so a child process must find it by importing it, but {why}"
    )


def definition_at(path: str, kind: str, slug: str, version: int = 0) -> Importable:
    """What a path leads to, in the process that asks. `slug`: of a handler its pattern, for
    messages the queue."""
    found = loaded(path)
    if isinstance(found, Stepwell):
        registry = found.registry
        match kind:
            case "message":
                return next(each for each in found.queues if each.queue == slug)
            case "handler":
                return next(each for each in found.handlers if each.pattern == slug)
            case "flow":
                return registry.flow(slug)
            case "machine":
                return registry.machine(slug, version).cls
            case _:
                return registry.job(slug)
    return cast("Importable", found)


def needs_process(definition: Importable) -> bool:
    """Whether a part of it runs in a child process."""
    if isinstance(definition, Job | QueueWorker | PatternHandler):
        return bool(definition.process)
    steps = definition.steps if isinstance(definition, Flow) else machine_of(definition).steps
    return any(step.process for step in steps.values())


def check_findable(definition: Importable) -> None:
    """DefinitionError when a part of it runs in a child process, which would not find it."""
    if needs_process(definition):
        path_of(definition)


def name_of(definition: Importable) -> str:
    match definition:
        case QueueWorker():
            return definition.__name__
        case PatternHandler():
            return definition.pattern
        case _:
            return slug_of(definition)


def home_of(definition: Importable) -> str:
    """The module where it was probably written."""
    match definition:
        case Flow():
            handlers = [step.handler for step in definition.steps.values() if step.process]
            return getattr(handlers[0], "__module__", "") if handlers else ""
        case Job() | QueueWorker():
            return getattr(definition.handler, "__module__", "")
        case PatternHandler():
            return definition.module
        case _:
            return definition.__module__


def modules(first: str) -> Iterator[tuple[str, ModuleType]]:
    """All that is imported and can be imported again, the likeliest one first; and the program."""
    names = [first, *(name for name in list(sys.modules) if name != first)]
    for name in names:
        module = sys.modules.get(name)
        if isinstance(module, ModuleType) and (module.__spec__ is not None or name == "__main__"):
            yield name, module


def lists(app: Stepwell, definition: Importable) -> bool:
    slug, registry = name_of(definition), app.registry
    match definition:
        case Flow():
            return registry.flows.get(slug) is definition
        case Job():
            return registry.jobs.get(slug) is definition
        case QueueWorker():
            return definition in app.queues
        case PatternHandler():
            return definition in app.handlers
        case _:
            return any(facts.cls is definition for facts in registry.machines.values())
