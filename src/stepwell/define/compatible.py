"""Whether what one step returns can ever be what another takes, by their annotations.

Only what can never fit is refused: of two types that may fit, a value may still be one that does
not, and then the attempt that gets it says so. None is left aside, as any step may be skipped.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, cast

from msgspec import inspect

from stepwell.define.kinds import (
    BASE64,
    alternatives,
    fewest,
    fields,
    items,
    kind,
    named,
    tag,
    values,
)
from stepwell.define.models import readable
from stepwell.define.payload import decoder, encode
from stepwell.errors import PayloadError

Pair = tuple[Any, Any, str]


@dataclass(frozen=True, slots=True)
class Misfit:
    """The place, and what stands there on both sides."""

    path: str
    produced: str
    wanted: str

    def __str__(self) -> str:
        place = "" if self.path == "$" else f" at {self.path}"
        return f"{self.produced} can never be read as {self.wanted}{place}"


def never_fits(produced: Any, wanted: Any) -> Misfit | None:
    """Why no value of one type, as JSON, can be read as the other; None when some may, or when
    that is not known."""
    if produced is wanted or Any in (produced, wanted):
        return None
    try:
        source, target = (inspect.type_info(readable(each)) for each in (produced, wanted))
    except (TypeError, NameError, RecursionError):
        return None  # a class that is written further down, or a type that is refused elsewhere
    return _Judge().misfit(source, target, "$")


class _Judge:
    def __init__(self) -> None:
        self._under_way: set[tuple[int, int]] = set()  # of types that contain themselves

    def misfit(self, source: Any, target: Any, path: str) -> Misfit | None:
        """None when one member of the source may fit one of the target."""
        pair = (id(source), id(target))
        if pair in self._under_way:
            return None
        self._under_way.add(pair)
        try:
            return self._of_unions(source, target, path)
        finally:
            self._under_way.discard(pair)

    def _of_unions(self, source: Any, target: Any, path: str) -> Misfit | None:
        sources = [each for each in alternatives(source) if kind(each) != "null"]
        found: list[Misfit] = []
        for one in sources or [source]:
            for other in alternatives(target):
                misfit = self._of_two(one, other, path)
                if misfit is None:
                    return None
                if kind(other) != "null":
                    found.append(misfit)
        # of two that are no unions, the part that does not fit is worth naming
        return found[0] if len(found) == 1 else Misfit(path, named(source), named(target))

    def _of_two(self, source: Any, target: Any, path: str) -> Misfit | None:
        kinds = (kind(source), kind(target))
        if "any" in kinds or kinds in (("int", "float"), ("float", "int")):
            return None  # a function that says float may return 1
        if kinds == ("array", "array") and _lengths_fit(source, target):
            return self._first(_pairs_of_arrays(source, target, path))
        if kinds == ("object", "object"):
            return self._objects(source, target, path)
        if kinds[0] not in ("array", "object") and _scalars_fit(source, target):
            return None
        return Misfit(path, named(source), named(target))

    def _objects(self, source: Any, target: Any, path: str) -> Misfit | None:
        if isinstance(source, inspect.CustomType) or isinstance(target, inspect.CustomType):
            return None  # only pydantic knows what a model takes and gives
        if _is_derived(target, source):
            return None  # who says that he returns a class may return one derived from it
        if isinstance(source, inspect.DictType) or isinstance(target, inspect.DictType):
            return self._first(_pairs_of_dicts(source, target, path))
        given, taken = fields(source), fields(target)
        for name, field in taken.items():
            if field.required and name not in given:
                return Misfit(path, named(source), f"{named(target)}, which needs {name!r}")
        if tag(source) and tag(target) and tag(source) != tag(target):
            return Misfit(path, named(source), named(target))
        is_whole = isinstance(source, inspect.DataclassType)  # with all its defaults
        return self._first(
            (given[name].type, field.type, f"{path}.{name}")
            for name, field in taken.items()
            if name in given and (is_whole or given[name].required or field.required)
        )

    def _first(self, pairs: Iterable[Pair]) -> Misfit | None:
        found = (self.misfit(source, target, path) for source, target, path in pairs)
        return next((each for each in found if each is not None), None)


def _pairs_of_arrays(source: Any, target: Any, path: str) -> Iterable[Pair]:
    """What has to fit what, place by place."""
    given, taken = items(source), items(target)
    if not isinstance(given, list) and not isinstance(taken, list):
        return [(given, taken, f"{path}[0]")]
    length = len(cast("list[Any]", given)) if isinstance(given, list) else fewest(target)
    pairs = zip(_in_places(given, length), _in_places(taken, length), strict=False)
    return [(one, other, f"{path}[{place}]") for place, (one, other) in enumerate(pairs)]


def _in_places(items: Any, length: int) -> list[Any]:
    return cast("list[Any]", items) if isinstance(items, list) else [items] * length


def _lengths_fit(source: Any, target: Any) -> bool:
    given, taken = items(source), items(target)
    if not isinstance(given, list) or not isinstance(taken, list):
        return True
    length = len(cast("list[Any]", given))
    return fewest(target) <= length <= len(cast("list[Any]", taken))


def _pairs_of_dicts(source: Any, target: Any, path: str) -> Iterable[Pair]:
    """A dict has any keys, and values of one type."""
    if not isinstance(source, inspect.DictType):
        given = fields(source).items()
        return [(field.type, target.value_type, f"{path}.{name}") for name, field in given]
    if not isinstance(target, inspect.DictType):
        needed = [(name, field) for name, field in fields(target).items() if field.required]
        return [(source.value_type, field.type, f"{path}.{name}") for name, field in needed]
    return [(source.value_type, target.value_type, f"{path}[...]")]


def _is_derived(info: Any, base: Any) -> bool:
    parent = getattr(base, "cls", None)
    return parent is not None and parent in getattr(getattr(info, "cls", None), "__mro__", ())


_DIGITS = (inspect.DecimalType, inspect.TimeDeltaType)
_BY_CHANCE = (  # P232922D is a time span, and base64; 32 digits are a number, and a UUID
    (BASE64, (*BASE64, *_DIGITS, inspect.UUIDType)),
    (_DIGITS, BASE64),
    (inspect.DecimalType, inspect.UUIDType),
)


def _scalars_fit(source: Any, target: Any) -> bool:
    """Any text may be a date, but no date is a UUID; a Decimal is also read from a number."""
    kinds = (kind(source), kind(target))
    if isinstance(target, inspect.DecimalType) and kinds[0] in ("int", "float"):
        return True
    if kinds[0] != kinds[1]:
        return False
    if isinstance(source, inspect.EnumType | inspect.LiteralType):
        return any(_reads(value, target) for value in values(source))
    if any(isinstance(source, some) and isinstance(target, others) for some, others in _BY_CHANCE):
        return True
    finite = (inspect.EnumType, inspect.LiteralType)
    general = (inspect.StrType, inspect.IntType, inspect.BoolType, inspect.NoneType)
    is_same = source.__class__ is target.__class__
    return is_same or isinstance(source, general) or isinstance(target, (*general, *finite))


def _reads(value: object, target: Any) -> bool:
    """Whether one value of an enum or a Literal is also what another type has."""
    wanted: Any = {inspect.StrType: str, inspect.IntType: int}.get(target.__class__, Any)
    if isinstance(target, inspect.EnumType):
        wanted = target.cls
    elif isinstance(target, inspect.LiteralType):
        wanted = Literal[target.values]  # pyright: ignore[reportInvalidTypeForm]
    try:
        decoder(wanted)(encode(value))
    except PayloadError:
        return False
    return True
