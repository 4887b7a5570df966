"""The durable state of a machine: its fields, to JSON and back."""

from __future__ import annotations

import copy
import dataclasses
import sys
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from typing import Any, Generic, TypeVar, get_args, get_origin

import msgspec
from msgspec import NODEFAULT, UNSET

from stepwell.define.annotations import hints_of, shown
from stepwell.define.fits import never_json
from stepwell.define.models import readable
from stepwell.define.payload import decoder, encode
from stepwell.define.slug import FIELD_RESERVED
from stepwell.errors import DefinitionError, PayloadError

Field = dataclasses.Field[Any]


class State:
    """Reads and writes the fields of one class of machines. `names`: the locals around it."""

    def __init__(self, cls: type[Any], names: Mapping[str, Any], what: str) -> None:
        self._cls = cls
        self._what = what
        self._fields = dataclasses.fields(cls)
        self.fields = tuple(field.name for field in self._fields)
        around = sys.modules.get(cls.__module__)
        self._names = {} if around and names is vars(around) else dict(names)
        types = self._types()
        self._unbound = {name: wanted for name, wanted in types.items() if _variables(wanted)}
        for field in self._fields:
            _check_field(field, types[field.name], what)

    @property
    def unknown(self) -> tuple[str, ...]:
        """Fields whose annotations name what is not there, as far as is known by now."""
        hints = (hints_of(base, self._names) for base in self._cls.__mro__[:-1])
        return tuple(name for each in hints for name in each.unknown if name in self.fields)

    def check_bound(self) -> None:
        """Refuse fields of which nobody knows the type."""
        for name, wanted in self._unbound.items():
            raise DefinitionError(
                f"{self._what}, field {name!r}: nothing says what {shown(_variables(wanted)[0])} "
                "is; derive from the base with its types: class Numbers(Base[int])"
            )

    def encode(self, machine: Any) -> bytes:
        """The fields as JSON; PayloadError says which is none."""
        values = {name: getattr(machine, name, UNSET) for name in self.fields}
        for name, value in values.items():
            if value is UNSET:
                raise PayloadError(f"the state of {self._what}: field {name!r} was never set")
        try:
            payload = encode(values)
            self._read(payload)  # or the next step would be the one that fails
            return payload
        except PayloadError as error:
            raise PayloadError(f"the state of {self._what}: {error}") from error

    def decode(self, payload: bytes | str) -> Any:
        """A machine with these fields; its constructor is not called again."""
        try:
            values = self._read(payload)
        except PayloadError as error:
            raise PayloadError(f"the state of {self._what}: {error}") from error
        machine = object.__new__(self._cls)
        for name in self.fields:
            object.__setattr__(machine, name, getattr(values, name))
        return machine

    @cached_property
    def _read(self) -> Callable[[bytes | str], Any]:
        """Made when it is needed: a field's class may be written further down."""
        types = self._types()
        plan = [(f.name, readable(types[f.name]), _default_of(f)) for f in self._fields]
        return decoder(msgspec.defstruct(self._cls.__name__, plan, kw_only=True))

    def _types(self) -> dict[str, Any]:
        """Each field by the annotation of the class that declares it last."""
        types: dict[str, Any] = {}
        bound = _bindings(self._cls)
        for base in reversed(self._cls.__mro__[:-1]):
            variables = {v.__name__: v for v in getattr(base, "__type_params__", ())}
            hints = hints_of(base, {**self._names, **variables}, keep_variables=True)
            for name, wanted in hints.parameters.items():
                types[name] = _filled(wanted, bound.get(base, {}))
        return types


def _bindings(cls: type[Any]) -> dict[type[Any], dict[Any, Any]]:
    """What the type variables of each generic base are, by what its subclasses say."""
    found: dict[type[Any], dict[Any, Any]] = {}
    for sub in cls.__mro__:  # a subclass before its bases
        for said in getattr(sub, "__orig_bases__", ()):
            base = get_origin(said)
            if isinstance(base, type) and base is not Generic:
                arguments = [_filled(part, found.get(sub, {})) for part in get_args(said)]
                variables = getattr(base, "__parameters__", ())
                found.setdefault(base, dict(zip(variables, arguments, strict=False)))
    return found


def _filled(wanted: Any, bound: Mapping[Any, Any]) -> Any:
    """A type with its variables replaced by what is known of them."""
    if isinstance(wanted, TypeVar):
        return bound.get(wanted, wanted)
    variables = _variables(wanted)
    return wanted[tuple(bound.get(v, v) for v in variables)] if variables else wanted


def _variables(wanted: Any) -> tuple[Any, ...]:
    if isinstance(wanted, TypeVar):
        return (wanted,)
    return () if isinstance(wanted, type) else getattr(wanted, "__parameters__", ())


def safe_default(value: Any) -> Any:
    """A default that no two machines share."""
    if isinstance(value, list | dict | set | bytearray):
        return dataclasses.field(default_factory=partial(copy.deepcopy, value))  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    return value


def _default_of(field: Field) -> Any:
    if field.default is not dataclasses.MISSING:
        return msgspec.field(default_factory=lambda: field.default)
    if field.default_factory is not dataclasses.MISSING:
        return msgspec.field(default_factory=field.default_factory)
    return NODEFAULT


def _check_field(field: Field, wanted: Any, what: str) -> None:
    what = f"{what}, field {field.name!r}"
    if field.name.startswith("_") or field.name in FIELD_RESERVED:
        raise DefinitionError(f"{what}: the name is reserved; rename the field")
    if reason := never_json(wanted):
        raise DefinitionError(
            f"{what}: no JSON fits {shown(wanted)}: {reason}; "
            "use numbers, text, lists, dicts, dataclasses or msgspec Structs"
        )
    if field.default is not dataclasses.MISSING:
        _check_default(field.default, wanted, what)


def _check_default(default: Any, wanted: Any, what: str) -> None:
    try:
        payload = encode(default)
    except PayloadError as error:
        raise DefinitionError(f"{what}: its default is not JSON: {error}") from error
    try:
        decoder(wanted)(payload)
    except PayloadError as error:
        if not isinstance(error.__cause__, NameError):  # a class may be written further down
            raise DefinitionError(f"{what}: its default does not fit: {error}") from error
