"""What the annotations of a handler say. A name that cannot be resolved means Any."""

from __future__ import annotations

import collections.abc
import functools
import inspect
import sys
import types
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from stepwell.define.context import Context

_AWAITED = (collections.abc.Awaitable, collections.abc.Coroutine)
_TEXT = (str, bytes, bytearray, memoryview)


class Hints(NamedTuple):
    """The resolved annotations of one handler, or of one class."""

    parameters: Mapping[str, Any]
    output: Any
    unknown: tuple[str, ...] = ()  # those that name what is not there; of the output: "return"


def hints_of(
    handler: Callable[..., Any], names: Mapping[str, Any], *, keep_variables: bool = False
) -> Hints:
    """Resolve each annotation by itself; `names` are the locals where the handler was written. A
    type variable means Any, unless it is kept."""
    while isinstance(handler, functools.partial):
        handler = handler.func
    function = inspect.unwrap(handler)
    if not hasattr(function, "__annotations__"):
        function = getattr(function, "__call__", function)  # noqa: B004
    known = getattr(function, "__globals__", None) or _names_around(function)
    hints: dict[str, Any] = {}
    unknown: list[str] = []
    for name, annotation in annotations_of(function).items():
        try:
            hints[name] = _resolved(name, annotation, known, names)
        except Exception:  # an annotation is any expression, so evaluating it can raise anything
            hints[name] = Any
            unknown.append(name)
    if not keep_variables:
        hints = {n: Any if isinstance(h, TypeVar) else h for n, h in hints.items()}
    output = hints.pop("return", Any)
    if get_origin(output) in _AWAITED:
        output = get_args(output)[-1]
    return Hints(hints, output, tuple(unknown))


def _names_around(cls: Any) -> Mapping[str, Any]:
    return vars(sys.modules.get(getattr(cls, "__module__", ""), types.SimpleNamespace()))


def annotations_of(function: Any) -> Mapping[str, Any]:
    """What is written, for a function or a class by itself; names may still be unknown."""
    if sys.version_info >= (3, 14):
        import annotationlib  # noqa: PLC0415

        return annotationlib.get_annotations(function, format=annotationlib.Format.FORWARDREF)
    return getattr(function, "__annotations__", {})


def _resolved(name: str, annotation: Any, known: Any, names: Mapping[str, Any]) -> Any:
    alone = types.SimpleNamespace(__annotations__={name: annotation})
    return get_type_hints(alone, known, dict(names), include_extras=True)[name]


def is_context(annotation: Any, *kinds: Any) -> bool:
    """True for `Context` or, if others are named, one of those; also inside `Annotated` or beside
    `None`."""
    return any(member in (kinds or (Context,)) for member in _members(annotation))


def may_be_array(annotation: Any) -> bool:
    """False when a value of this type can never be a JSON array."""
    return any(_is_array(member) for member in _members(annotation))


def element_of(annotation: Any) -> Any:
    """The type of one element of an array type; Any when that is not said."""
    for member in _members(annotation):
        arguments = get_args(member)
        if member is not Any and _is_array(member) and arguments:
            fixed = get_origin(member) is tuple and arguments[1:] != (...,)
            return Any if fixed else arguments[0]
    return Any


def shown(annotation: Any) -> str:
    """A type as a message names it."""
    return annotation.__qualname__ if isinstance(annotation, type) else str(annotation)


def _members(annotation: Any) -> list[Any]:
    """The alternatives of a union, freed of Annotated, NewType and type aliases."""
    while True:
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        elif hasattr(annotation, "__supertype__"):
            annotation = annotation.__supertype__
        elif type(annotation).__name__ == "TypeAliasType":
            annotation = annotation.__value__
        else:
            break
    if get_origin(annotation) in (Union, types.UnionType):
        return [member for part in get_args(annotation) for member in _members(part)]
    return [annotation]


def _is_array(annotation: Any) -> bool:
    if annotation is Any or annotation is object or isinstance(annotation, TypeVar):
        return True
    kind: Any = get_origin(annotation) or annotation
    if not isinstance(kind, type) or issubclass(kind, _TEXT):
        return False
    if issubclass(kind, msgspec.Struct):
        return kind.__struct_config__.array_like
    if issubclass(kind, collections.abc.Mapping):
        return False
    return issubclass(kind, collections.abc.Iterable)
