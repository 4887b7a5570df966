"""What the methods of a machine name, read from their bytecode: misspelt and unreachable steps."""

from __future__ import annotations

import dis
import inspect
from collections.abc import Iterable, Iterator, Mapping
from types import CodeType, FunctionType
from typing import Any, cast

from stepwell.define.reference import MachineStep
from stepwell.define.slug import meant
from stepwell.errors import DefinitionError

Steps = Mapping[str, MachineStep[Any, Any, Any]]


def check_names(cls: type[Any], steps: Steps, fields: Iterable[str], what: str) -> None:
    """Refuse `self.shp` where the class has nothing of that name. Machines have no other
    attributes than those of their class and its fields."""
    if hasattr(cls, "__getattr__"):
        return
    known = {*dir(cls), *fields}
    for name in filter(_is_theirs, dir(cls)):
        for function in _functions(cls, name):
            for asked in _asked_of_self(function.__code__, _self_of(function)):
                if asked not in known and _is_theirs(asked):
                    raise DefinitionError(
                        f"{what}, {'step' if name in steps else 'method'} {name!r}: there is no "
                        f"step or field {asked!r}{meant(asked, known)}; "
                        f"the steps are {', '.join(steps)}"
                    )


def check_reachable(cls: type[Any], steps: Steps, what: str) -> None:
    """Refuse a step that no method names, beginning with the initial one and `on_error`."""
    named = {name: _named_by(cls, name) for name in filter(_is_theirs, dir(cls))}
    todo = [slug for slug, step in steps.items() if step.initial or step.reachable]
    todo.append("on_error")
    reached: set[str] = set()
    while todo:
        name = todo.pop()
        if name not in reached:
            reached.add(name)
            todo += [other for other in named.get(name, ()) if other in named]
    for slug in steps:
        if slug not in reached:
            raise DefinitionError(
                f"{what}, step {slug!r}: no step that can be reached leads to it; name it in one "
                f"(self.{slug}), remove it, or decorate it with @step(reachable=True)"
            )


def _is_theirs(name: str) -> bool:
    return not name.startswith("__") or name == "__post_init__"


def _named_by(cls: type[Any], name: str) -> set[str]:
    """All attributes that an attribute of the class mentions."""
    found: set[str] = set()
    for function in _functions(cls, name):
        found |= _names_in(function.__code__)
    return found


def _functions(cls: type[Any], name: str) -> Iterator[FunctionType]:
    """What stands behind an attribute, in every class that defines it: a step's
    method, a property's, a class method's, or a plain one."""
    for base in cls.__mro__:
        value = vars(base).get(name)
        behind = (getattr(value, part, None) for part in ("method", "fget", "fset", "__func__"))
        for function in (value, *behind):
            if isinstance(function, FunctionType):
                yield cast("FunctionType", inspect.unwrap(function))


def _names_in(code: CodeType) -> set[str]:
    found = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found |= _names_in(constant)
    return found


def _self_of(function: FunctionType) -> str | None:
    code = function.__code__
    return code.co_varnames[0] if code.co_argcount else None


def _asked_of_self(code: CodeType, me: str | None) -> Iterator[str]:
    """The attributes that are read from `self`, also in functions and lambdas inside."""
    before = ""
    for instruction in dis.get_instructions(code):
        operation = instruction.opname
        if operation in ("LOAD_ATTR", "LOAD_METHOD") and before == me:
            yield str(instruction.argval)
        loads = operation.startswith(("LOAD_FAST", "LOAD_DEREF"))
        before = _last_loaded(instruction.argval) if loads else ""
    for constant in code.co_consts:
        if isinstance(constant, CodeType) and me in constant.co_freevars:
            yield from _asked_of_self(constant, me)


def _last_loaded(loaded: Any) -> str:
    """From Python 3.13 one instruction may load two variables; the second is on top."""
    return str(cast("tuple[Any, ...]", loaded)[-1] if isinstance(loaded, tuple) else loaded)
