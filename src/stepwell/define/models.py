"""Pydantic's models, for programs that have pydantic; nothing here imports it."""

from __future__ import annotations

import types
from typing import Annotated, Any, Union, cast, get_args, get_origin

import msgspec

_SHOWN = 5  # problems of one value


class Misfit(ValueError):
    """Why a model was not made of its JSON: each problem with the path to it inside the model."""

    def __init__(self, problems: list[tuple[str, str]]) -> None:
        super().__init__(problems)
        self.problems = problems

    def told(self, path: str) -> str:
        """All of them, below the path where the model stands."""
        said = [f"{what} - at `{path}{inner}`" for inner, what in self.problems[:_SHOWN]]
        more = len(self.problems) - _SHOWN
        return "; ".join([*said, f"and {more} more"] if more > 0 else said)


def is_model(cls: object) -> bool:
    """True for a class of pydantic's BaseModel."""
    return isinstance(cls, type) and hasattr(cls, "model_validate_json")


def written(value: Any) -> msgspec.Raw:
    """A model as JSON; a TypeError for what is none. For msgspec's encoder."""
    if not is_model(value.__class__):
        raise TypeError(f"objects of type {value.__class__.__qualname__} are unsupported")
    # what it would not take back stays out, as computed fields do
    return msgspec.Raw(value.model_dump_json(by_alias=True, round_trip=True).encode())


def plain(value: Any) -> Any:
    """The parts of a model; None for what is JSON text already."""
    if is_model(value.__class__):
        return value.model_dump(by_alias=True, round_trip=True)
    return None


def read(wanted: Any, value: Any) -> Any:
    """A model out of plain values. For msgspec's decoder, which asks for every class that it does
    not know; others stay as they are, and it refuses them."""
    if not hasattr(wanted, "model_validate_json"):
        return value
    try:
        return wanted.model_validate_json(msgspec.json.encode(value))
    except ValueError as error:
        problems = getattr(error, "errors", None)
        if problems is None:
            raise
        found = problems(include_url=False, include_context=False, include_input=False)
        raise Misfit([(_path(each["loc"], value), each["msg"]) for each in found]) from error


def readable(wanted: Any) -> Any:
    """An annotation as msgspec takes it: unions of models, which it refuses, stand as one class."""
    if _is_alias(wanted):
        return readable(wanted.__value__)
    origin, arguments = get_origin(wanted), get_args(wanted)
    if origin is Annotated:
        inner = arguments[0]
        return _choice(wanted, inner) if _is_choice(inner) else wanted
    if _is_choice(wanted):
        return _choice(wanted, wanted)
    if origin in (Union, types.UnionType):
        return Union[tuple(readable(each) for each in arguments)]  # noqa: UP007
    if not isinstance(origin, type) or not arguments or not _has_odd(arguments):
        return wanted
    return cast("Any", origin)[tuple(readable(each) for each in arguments)]


class _Choice(type):
    """The class of stand-ins. Their values are of other classes, as pydantic chose."""

    def __instancecheck__(cls, value: object) -> bool:
        return True


def _choice(wanted: Any, union: Any) -> Any:
    # whoever has a model in an annotation has imported pydantic
    from pydantic import TypeAdapter  # noqa: PLC0415

    adapter = TypeAdapter[Any](wanted)
    return _Choice(str(union), (), {"model_validate_json": staticmethod(adapter.validate_json)})


def _is_choice(wanted: Any) -> bool:
    """A union of which msgspec cannot tell the members, and pydantic can."""
    if get_origin(wanted) not in (Union, types.UnionType):
        return False
    members = [each for each in get_args(wanted) if each is not types.NoneType]
    return len(members) > 1 and all(is_model(each) for each in members)


def _is_alias(wanted: Any) -> bool:
    """A `type X = ...` of typing_extensions; msgspec knows those of Python itself."""
    cls: type[Any] = wanted.__class__
    return cls.__name__ == "TypeAliasType" and cls.__module__ != "typing"


def _has_odd(arguments: tuple[Any, ...]) -> bool:
    return any(
        _is_choice(each) or _is_alias(each) or (get_args(each) and _has_odd(get_args(each)))
        for each in arguments
    )


def _path(steps: tuple[int | str, ...], value: Any) -> str:
    """Pydantic's way to a problem, without what it says there about members of unions."""
    path = ""
    for place, step in enumerate(steps):
        if isinstance(step, int) and isinstance(value, list):
            path, value = f"{path}[{step}]", value[step] if step < len(value) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        elif isinstance(value, dict) and (step in value or place == len(steps) - 1):
            path, value = f"{path}.{step}", value.get(step)  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    return path
