"""The durable state of a machine: its fields, to JSON and back."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import msgspec
from msgspec import NODEFAULT

from stepwell.define.annotations import hints_of, shown
from stepwell.define.fits import never_json
from stepwell.define.payload import decoder, encode
from stepwell.errors import DefinitionError, PayloadError


class State:
    """Reads and writes the fields of one class of machines."""

    def __init__(self, cls: type[Any], names: Mapping[str, Any], what: str) -> None:
        self._cls = cls
        fields = dataclasses.fields(cls)
        self.fields = tuple(field.name for field in fields)
        types = _types_of(cls, names)
        for field in fields:
            _check_field(field.name, types[field.name], what)
        self._what = what
        self._read = self._reader([_planned(field, types[field.name]) for field in fields])

    def encode(self, machine: Any) -> bytes:
        """The fields as JSON; PayloadError says which is none."""
        values = {name: getattr(machine, name, msgspec.UNSET) for name in self.fields}
        for name, value in values.items():
            if value is msgspec.UNSET:
                raise PayloadError(f"{self._what}: its field {name!r} was never set")
        try:
            return encode(values)
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

    def _reader(self, plan: list[Any]) -> Callable[[bytes | str], Any]:
        return decoder(msgspec.defstruct(self._cls.__name__, plan, kw_only=True))


def safe_default(value: Any) -> Any:
    """A default that no two machines share."""
    if isinstance(value, list | dict | set | bytearray):
        return dataclasses.field(default_factory=partial(copy.deepcopy, value))  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    return value


def _types_of(cls: type[Any], names: Mapping[str, Any]) -> dict[str, Any]:
    """Each field by the annotation of the class that declares it last."""
    types: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if base is not object:
            types |= dict(hints_of(base, names).parameters)
    return types


def _planned(field: dataclasses.Field[Any], wanted: Any) -> tuple[str, Any, Any]:
    if field.default is not dataclasses.MISSING:
        return (field.name, wanted, msgspec.field(default_factory=lambda: field.default))
    if field.default_factory is not dataclasses.MISSING:
        return (field.name, wanted, msgspec.field(default_factory=field.default_factory))
    return (field.name, wanted, NODEFAULT)


def _check_field(name: str, wanted: Any, what: str) -> None:
    if name.startswith("_"):
        raise DefinitionError(f"{what}: field {name!r} begins with an underscore; rename it")
    if hasattr(type(None), name):
        raise DefinitionError(f"{what}: field {name!r} has a name of Python's own; rename it")
    if reason := never_json(wanted):
        raise DefinitionError(
            f"{what}: field {name!r} is {shown(wanted)}, and no JSON fits it: {reason}; "
            "use numbers, text, lists, dicts, dataclasses or msgspec Structs"
        )
