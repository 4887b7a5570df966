"""What the methods of a machine name, read from their bytecode: misspelt and unreachable steps."""

from __future__ import annotations

import dis
import inspect
from collections.abc import Iterator, Mapping
from types import CodeType, FunctionType
from typing import Any

from stepwell.define.reference import MachineStep
from stepwell.define.slug import meant
from stepwell.errors import DefinitionError

Steps = Mapping[str, MachineStep[Any, Any, Any]]


def check_names(cls: type[Any], what: str) -> None:
    """Refuse `self.shp` where the class has nothing of that name. Machines have no other
    attributes than those of their class and its fields."""
    if hasattr(cls, "__getattr__"):
        return
    known = {*dir(cls), *cls.__machine__.state.fields}
    for name, function in _functions(cls):
        for asked in _asked_of_self(function.__code__, _self_of(function)):
            if asked not in known:
                raise DefinitionError(
                    f"{what}, step {name!r}: there is no step or field {asked!r}"
                    f"{meant(asked, known)}; the steps are {', '.join(cls.__machine__.steps)}"
                )


def check_reachable(cls: type[Any], steps: Steps, what: str) -> None:
    """Refuse a step that no method names, beginning with the initial one and `on_error`."""
    named = {name: _named_by(cls, name) for name in dir(cls) if not name.startswith("__")}
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


def _functions(cls: type[Any]) -> Iterator[tuple[str, FunctionType]]:
    """Steps and plain methods that the class itself defines."""
    for name, value in vars(cls).items():
        function = value.method if isinstance(value, MachineStep) else value
        if isinstance(function, FunctionType) and not name.startswith("__"):
            yield name, function


def _named_by(cls: type[Any], name: str) -> set[str]:
    """All attributes that an attribute of the class mentions, in every class that defines it."""
    found: set[str] = set()
    for base in cls.__mro__:
        for function in _code_of(vars(base).get(name)):
            found |= _names_in(inspect.unwrap(function).__code__)
    return found


def _code_of(value: Any) -> Iterator[FunctionType]:
    if isinstance(value, MachineStep):
        value = value.method
    if isinstance(value, property):
        yield from (f for f in (value.fget, value.fset) if isinstance(f, FunctionType))
    value = getattr(value, "__func__", value)
    if isinstance(value, FunctionType):
        yield value


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
    return str(loaded[-1] if isinstance(loaded, tuple) else loaded)
