"""Values to JSON and back. What Postgres could not hold is refused here, with its place."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import lru_cache
from typing import Any, TypeVar, overload

import msgspec

from stepwell.errors import PayloadError

T = TypeVar("T")

_encoder = msgspec.json.Encoder()


def encode(value: object) -> bytes:
    """Write a value as JSON that a jsonb column holds unchanged, or say which part is not JSON."""
    try:
        payload = _encoder.encode(value)
    except RecursionError:
        raise PayloadError(
            f"{_name(value)} is nested too deeply, or contains itself; it cannot be JSON"
        ) from None
    except (TypeError, ValueError, OverflowError) as error:
        raise _refusal(value, "$", str(error)) from error
    if b"null" in payload:
        _refuse_not_a_number(value)
    if b"\\u0000" in payload:
        _refuse_zero_character(msgspec.json.decode(payload))
    return payload


def storable(text: str) -> bool:
    """Whether a text column can hold it: no U+0000, and no half of a character."""
    return "\0" not in text and not any("\ud800" <= c <= "\udfff" for c in text)


@overload
def decoder(wanted: type[T]) -> Callable[[bytes | str], T]: ...
@overload
def decoder(wanted: Any) -> Callable[[bytes | str], Any]: ...
def decoder(wanted: Any) -> Callable[[bytes | str], Any]:
    """Make the reader for one annotation; PayloadError when no JSON could ever fit it."""
    try:
        return _decoder(wanted)
    except (TypeError, NameError, RecursionError) as error:
        raise PayloadError(f"{_type_name(wanted)} cannot be read from JSON: {error}") from error


@lru_cache(maxsize=1024)
def _decoder(wanted: Any) -> Callable[[bytes | str], Any]:
    decode = msgspec.json.Decoder(wanted).decode

    def read(payload: bytes | str) -> Any:
        try:
            return decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            if wanted is Any:  # which any JSON fits
                raise PayloadError(f"the JSON cannot be read: {error}") from error
            raise PayloadError(f"the JSON does not fit {_type_name(wanted)}: {error}") from error

    return read


def _refusal(value: object, path: str, reason: str) -> PayloadError:
    """The innermost part that cannot be encoded is the one worth naming."""
    for step, part in _parts(value):
        try:
            _encoder.encode(part)
        except (TypeError, ValueError, OverflowError) as error:
            return _refusal(part, path + step, str(error))
    if isinstance(value, str):
        reason = "half of a surrogate pair is not a character; remove it"
    elif "unsupported" in reason:
        reason = "return dicts, lists, text, numbers, dataclasses or msgspec Structs"
    return PayloadError(f"{_name(value)} at {path} cannot be written as JSON: {reason}")


def _refuse_not_a_number(value: object) -> None:
    """msgspec writes null for NaN and Infinity; a value that changes by itself is worse."""
    plain = msgspec.to_builtins(value, enc_hook=_already_json)
    for path, leaf in _leaves(plain, "$"):
        if isinstance(leaf, float) and not math.isfinite(leaf):
            raise PayloadError(f"{leaf} at {path} is not a JSON number; send None or a str instead")


def _already_json(raw: object) -> None:
    """A msgspec.Raw is JSON text already; the encoder took it as it is."""


def _refuse_zero_character(value: object) -> None:
    for path, leaf in _leaves(value, "$"):
        if isinstance(leaf, str) and "\0" in leaf:
            raise PayloadError(
                f"the text at {path} contains the character U+0000, which Postgres cannot store; "
                "remove it, or send bytes (they travel as base64)"
            )


def _leaves(value: object, path: str) -> Iterator[tuple[str, object]]:
    yield path, value
    for step, part in _parts(value):
        yield from _leaves(part, path + step)


def _parts(value: object) -> Iterator[tuple[str, object]]:
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


def _name(value: object) -> str:
    return f"a value of type {type(value).__qualname__}"


def _type_name(wanted: Any) -> str:
    return wanted.__qualname__ if isinstance(wanted, type) else str(wanted)
