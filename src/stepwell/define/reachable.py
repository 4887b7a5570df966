"""What the methods of a machine name, read from their bytecode: misspelt and unreachable steps."""

from __future__ import annotations

import dis
import inspect
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import CodeType, FunctionType
from typing import Any, NamedTuple, cast

from stepwell.define.outcome import Next
from stepwell.define.reference import MachineStep
from stepwell.define.slug import meant
from stepwell.errors import DefinitionError

Steps = Mapping[str, MachineStep[Any, Any, Any]]


class Read(NamedTuple):
    """An attribute that a method reads of a variable, perhaps as the target of a `Next`."""

    owner: str
    is_self: bool
    name: str
    is_target: bool


def check_names(cls: type[Any], steps: Steps, fields: Iterable[str], what: str) -> None:
    """Refuse `self.shp` and `Checkout.shp` where the class has nothing of that name, and a `Next`
    to what is no step of it. Machines have no other attributes than those of their class and its
    fields."""
    if hasattr(cls, "__getattr__"):
        return
    known = {*dir(cls), *fields}
    for name in filter(_is_theirs, dir(cls)):
        for function in _functions(cls, name):
            where = f"{what}, {'step' if name in steps else 'method'} {name!r}"
            for read in _reads(function):
                if not _is_own(read, cls, name):
                    _check_other(read, function, cls, where)
                elif read.name not in known and _is_theirs(read.name):
                    raise DefinitionError(
                        f"{where}: there is no step or field {read.name!r}"
                        f"{meant(read.name, known)}; the steps are {', '.join(steps)}"
                    )
                elif read.is_target and isinstance(_found(cls, read.name), FunctionType):
                    raise DefinitionError(
                        f"{where}: {read.name!r} is a method, and no step to go on with; decorate "
                        "it with @step"
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


def _is_own(read: Read, cls: type[Any], name: str) -> bool:
    """`self`, or the class by its name where it is being written."""
    if read.is_self or name not in vars(cls):
        return read.is_self
    return read.owner == cls.__name__ and not hasattr(type(cls), read.name)


def _check_other(read: Read, function: FunctionType, cls: type[Any], where: str) -> None:
    """What can be known of a step of another class before this one is made."""
    other = function.__globals__.get(read.owner)
    if not read.is_target or not isinstance(other, type) or issubclass(cls, other):
        return
    if other.__name__ != cls.__name__ and isinstance(_found(other, read.name), MachineStep):
        raise DefinitionError(
            f"{where}: {read.owner}.{read.name} is a step of another machine; a run goes on with "
            f"the steps of {cls.__name__}, and starts others with Spawn"
        )


def _found(cls: type[Any], name: str) -> object:
    return inspect.getattr_static(cls, name, None)


def _reads(function: FunctionType) -> Iterator[Read]:
    code = function.__code__
    is_next = [name for name in code.co_names if function.__globals__.get(name) is Next]
    yield from _reads_in(code, code.co_varnames[: min(1, code.co_argcount)], is_next)


def _reads_in(code: CodeType, mine: Sequence[str], is_next: Sequence[str]) -> Iterator[Read]:
    """All reads, also in functions and lambdas inside. A variable of an inner function is another
    than one of the same name outside, unless it is taken from there."""
    inner = (*code.co_varnames, *code.co_cellvars)
    owner, is_self, after_next = "", False, False
    for instruction in dis.get_instructions(code):
        operation = instruction.opname
        if operation in ("LOAD_ATTR", "LOAD_METHOD"):
            if owner:
                called = operation == "LOAD_METHOD" or _is_called(instruction)
                yield Read(owner, is_self, str(instruction.argval), after_next and not called)
            owner, after_next = "", False
        elif operation.startswith(("LOAD_FAST", "LOAD_DEREF")):
            owner = _last_loaded(instruction.argval)
            is_self = owner in mine
            owner = owner if is_self or owner not in inner else ""
        elif operation == "LOAD_GLOBAL":
            owner, is_self = str(instruction.argval), False
            after_next = after_next or owner in is_next
        else:
            owner, after_next = "", False
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            free = [name for name in mine if name in constant.co_freevars]
            yield from _reads_in(constant, free, is_next)


def _is_called(instruction: dis.Instruction) -> bool:
    """From Python 3.12 one instruction reads an attribute or a method that is called at once."""
    return sys.version_info >= (3, 12) and bool((instruction.arg or 0) & 1)


def _last_loaded(loaded: Any) -> str:
    """From Python 3.13 one instruction may load two variables; the second is on top."""
    return str(cast("tuple[Any, ...]", loaded)[-1] if isinstance(loaded, tuple) else loaded)
