"""The parts of a value, each with the path that leads to it."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping

import msgspec


def leaves(value: object, path: str = "$") -> Iterator[tuple[str, object]]:
    """The value and all that is in it."""
    yield path, value
    for step, part in parts(value):
        yield from leaves(part, path + step)


def parts(value: object) -> Iterator[tuple[str, object]]:
    """Each direct part of a value, keys included, with the step that leads to it."""
    if isinstance(value, str | bytes | bytearray | memoryview | type):
        return
    if isinstance(value, Mapping):
        for key, part in value.items():  # pyright: ignore[reportUnknownVariableType]
            yield f".(key {key!r})", key
            yield f".{key}", part
    elif isinstance(value, Collection):
        for index, part in enumerate(value):  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
            yield f"[{index}]", part
    elif isinstance(value, msgspec.Struct):
        yield from ((f".{name}", getattr(value, name)) for name in value.__struct_fields__)
    elif dataclasses.is_dataclass(value):
        yield from ((f".{f.name}", getattr(value, f.name)) for f in dataclasses.fields(value))
