"""From what was typed (`package.module:name`, `app.py`, `app.py:name`) to a Stepwell app."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar, cast

from stepwell.cli.exits import LoadError, UsageError
from stepwell.define.app import Stepwell
from stepwell.define.definition import AnyFlow, Definition, slug_of
from stepwell.define.flow import Flow
from stepwell.define.handler import PatternHandler
from stepwell.define.job import Job
from stepwell.define.machine import Machine, machine_of
from stepwell.define.queue_worker import QueueWorker

Wanted = TypeVar("Wanted")


@dataclass(frozen=True, slots=True)
class Target:
    """Where to look: a module, the folder it is imported from, and a name inside it."""

    module: str
    root: Path
    name: str | None
    typed: str
    is_file: bool

    @property
    def where(self) -> str:
        return self.typed.rpartition(":")[0] if self.name else self.typed


def parse(typed: str) -> Target:
    """Split what was typed; a path is turned into the name of the module it holds."""
    before, colon, name = typed.partition(":")
    if not before or (colon and not name):
        raise UsageError(f"{typed!r} names no program; write app.py, app.py:name or module:name")
    is_file = before.endswith(".py") or "/" in before
    module, root = module_at(Path(before)) if is_file else (before, Path.cwd())
    return Target(module, root, name or None, typed, is_file)


def module_at(path: Path) -> tuple[str, Path]:
    """The dotted name of a file, and the folder that name starts at."""
    if path.is_dir():
        raise UsageError(f"{path} is a folder; name the file in it: {path / 'app.py'}")
    if not path.is_file():
        raise UsageError(f"there is no file {path}; name the file that holds your app")
    path = path.resolve()
    names, root = [path.stem], path.parent
    while (root / "__init__.py").exists():
        names, root = [root.name, *names], root.parent
    return ".".join(names), root


def load_app(typed: str) -> Stepwell:
    """The app of that name; without a name the only app, or else an app of all flows there."""
    target = parse(typed)
    module = import_target(target)
    if target.name:
        return as_app(named(module, target), target)
    if apps := found(module, Stepwell):
        if len(apps) > 1 and "app" not in apps:
            raise UsageError(
                f"{target.where} has several apps ({', '.join(apps)}); "
                f"say which: {target.where}:{next(iter(apps))}"
            )
        return apps.get("app") or next(iter(apps.values()))
    if served := [each for each in found(module, object).values() if is_served(each)]:
        return app_of(served)
    raise UsageError(
        f"{target.where} has no Stepwell app and no flow, machine, job, handler or queue worker; "
        "add: app = Stepwell(flows=[...])"
    )


def load_definition(typed: str) -> Definition:
    """The flow, machine or job that `app:name` names, by variable or by slug; without a name the
    only one."""
    target = parse(typed)
    module = import_target(target)
    by_variable = getattr(module, target.name, None) if target.name else None
    if is_definition(by_variable):
        return cast("Definition", by_variable)
    if target.name and not isinstance(by_variable, Stepwell):
        return by_slug(module, target)
    known = in_app(load_app(typed))
    if len(known) == 1:
        return next(iter(known.values()))
    names = ", ".join(known) or "none"
    raise UsageError(f"say which one of {target.where} to start ({names}): {target.where}:<name>")


def load_flow(typed: str) -> AnyFlow:
    """The same where only a flow will do."""
    definition = load_definition(typed)
    if not isinstance(definition, Flow):
        raise UsageError(f"{typed} is no flow")
    return definition


def by_slug(module: ModuleType, target: Target) -> Definition:
    known = {slug_of(each): each for each in defined(module).values()}
    for app in found(module, Stepwell).values():
        known |= in_app(app)
    if target.name not in known:
        raise UsageError(
            f"{target.where} has no flow, machine or job {target.name!r}; "
            f"it has {', '.join(known) or 'none'}"
        )
    return known[target.name]


def in_app(app: Stepwell) -> dict[str, Definition]:
    """The definitions of an app by slug; of a machine the newest version."""
    machines = sorted(app.machines, key=lambda cls: machine_of(cls).version)
    return {slug_of(each): each for each in (*app.flows, *machines, *app.jobs)}


def app_of(served: Iterable[object]) -> Stepwell:
    """An app of these alone."""
    every = list(served)
    queues: list[Any] = [each for each in every if isinstance(each, QueueWorker)]
    return Stepwell(
        flows=[cast("AnyFlow", each) for each in every if isinstance(each, Flow)],
        machines=[cast("type[Machine]", each) for each in every if isinstance(each, type)],
        jobs=[cast("Job[..., Any]", each) for each in every if isinstance(each, Job)],
        queues=queues,
        handlers=[each for each in every if isinstance(each, PatternHandler)],
    )


def defined(module: ModuleType) -> dict[str, Definition]:
    """The flows, machines and jobs of a module by variable name."""
    every = found(module, object).items()
    return {name: cast("Definition", value) for name, value in every if is_definition(value)}


def is_served(value: object) -> bool:
    """What a worker can serve without an app around it."""
    return is_definition(value) or isinstance(value, QueueWorker | PatternHandler)


def is_definition(value: object) -> bool:
    """A base class for machines is none."""
    if isinstance(value, type):
        return (
            issubclass(value, Machine) and value is not Machine and bool(machine_of(value).initial)
        )
    return isinstance(value, Flow | Job)


def named(module: ModuleType, target: Target) -> object:
    value: object = module
    for part in (target.name or "").split("."):
        if not hasattr(value, part):
            known = ", ".join([*found(module, Stepwell), *defined(module)]) or "neither"
            raise UsageError(
                f"{target.where} has no {target.name!r}; its apps and definitions are: {known}"
            )
        value = getattr(value, part)
    return value


def as_app(value: object, target: Target) -> Stepwell:
    match value:
        case Stepwell():
            return value
        case _ if is_served(value):
            return app_of([value])
        case _:
            raise UsageError(
                f"{target.typed} is {value!r}, neither a Stepwell app nor a flow, machine, job, "
                "handler or queue worker"
            )


def found(module: ModuleType, kind: type[Wanted]) -> dict[str, Wanted]:
    """The values of that kind by variable name; one value under two names counts once."""
    seen: dict[int, str] = {}
    for name, value in vars(module).items():
        if isinstance(value, kind):
            seen.setdefault(id(value), name)
    return {name: getattr(module, name) for name in seen.values()}


def import_target(target: Target) -> ModuleType:
    if str(target.root) not in sys.path:
        sys.path.insert(0, str(target.root))
    loaded = sys.modules.get(target.module)
    if target.is_file and loaded is not None and not is_from(loaded, target.root):
        raise UsageError(
            f"{target.where} would be module {target.module!r}, which Python has loaded from "
            "elsewhere; give the file another name"
        )
    try:
        return import_module(target.module)
    except ModuleNotFoundError as error:
        if error.name and (target.module + ".").startswith(error.name + "."):
            raise UsageError(
                f"there is no module {error.name!r} in {target.root} or among the installed "
                "packages; name a file (app.py) or an importable module (package.module)"
            ) from error
        raise failed(target, error) from error
    except Exception as error:
        raise failed(target, error) from error


def is_from(module: ModuleType, root: Path) -> bool:
    return bool(module.__file__) and Path(module.__file__).resolve().is_relative_to(root.resolve())


def failed(target: Target, error: Exception) -> LoadError:
    """Name the line of the user's own code, not of the library below it."""
    if isinstance(error, SyntaxError):
        place = f"{error.filename}, line {error.lineno}"
        said = f"SyntaxError: {error.msg}"
    else:
        frames = traceback.extract_tb(error.__traceback__)
        own = [f for f in frames if Path(f.filename).is_relative_to(target.root)] or frames
        place = f"{own[-1].filename}, line {own[-1].lineno}"
        said = f"{type(error).__name__}: {error}"
    return LoadError(f"{target.where} could not be imported ({place})\n{said}")
