"""Values to JSON and back. What Postgres could not hold is refused here, with its place."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar, overload

import msgspec

from stepwell.define import models
from stepwell.define.faithful import kept
from stepwell.define.parts import parts
from stepwell.errors import PayloadError, PayloadTooLarge

T = TypeVar("T")

_encoder = msgspec.json.Encoder(enc_hook=models.written)
_PATH = re.compile(r" - at `(\$.*)`$")
_TAGS = "make them msgspec Structs with tag=True, which JSON can tell apart, or pydantic models"
_HINTS = {  # what msgspec says of a type, and what helps
    "more than one dataclass": _TAGS,
    "more than one dict-like": _TAGS,
    "more than one Struct": "give each of them tag=True, so that JSON can tell them apart",
    "must be tagged": "give each of them tag=True, so that JSON can tell them apart",
    "custom type": "let the class around it be a pydantic model too, or keep to one model",
}


def encode(value: object, *, around: int = 0) -> bytes:
    """Write a value as JSON that a jsonb column holds unchanged, or say which part is not JSON.
    `around`: levels that are not the user's."""
    try:
        payload = _encoder.encode(value)
    except RecursionError:
        raise PayloadError(
            f"{_name(value)} is nested too deeply, or contains itself; it cannot be JSON"
        ) from None
    except (TypeError, ValueError, OverflowError) as error:
        raise _refusal(value, "$", str(error)) from error
    return kept(value, payload, around)


def check_size(payload: bytes | str, most: int, what: str) -> None:
    """Refuse a payload that is larger than the setting `max_payload` allows."""
    size = len(payload)
    if isinstance(payload, str) and size * 4 > most:
        size = len(payload.encode())
    if size > most:
        raise PayloadTooLarge(
            f"{what} is {_bytes(size)} of JSON, and max_payload allows {_bytes(most)}; keep what "
            "is large in a table or a file store and pass its key, or raise STEPWELL_MAX_PAYLOAD"
        )


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
        hint = next((hint for said, hint in _HINTS.items() if said in str(error)), None)
        raise PayloadError(
            f"{_type_name(wanted)} cannot be read from JSON: {error}{f'; {hint}' if hint else ''}"
        ) from error


@lru_cache(maxsize=1024)
def _decoder(wanted: Any) -> Callable[[bytes | str], Any]:
    decode = msgspec.json.Decoder(models.readable(wanted), dec_hook=models.read).decode

    def read(payload: bytes | str) -> Any:
        try:
            return decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            if wanted is Any:  # which any JSON fits
                raise PayloadError(f"the JSON cannot be read: {error}") from error
            raise PayloadError(
                f"the JSON does not fit {_type_name(wanted)}: {_told(error)}"
            ) from error

    return read


def _told(error: Exception) -> str:
    """What msgspec says, with the place; of a model that is inside, what pydantic says."""
    misfit = error.__cause__
    if not isinstance(misfit, models.Misfit):
        return str(error)
    place = _PATH.search(str(error))
    return misfit.told(place[1] if place else "$")


def _refusal(value: object, path: str, reason: str) -> PayloadError:
    """The innermost part that cannot be encoded is the one worth naming."""
    for step, part in parts(value):
        try:
            _encoder.encode(part)
        except (TypeError, ValueError, OverflowError) as error:
            return _refusal(part, path + step, str(error))
    if isinstance(value, str):
        reason = "half of a surrogate pair is not a character; remove it"
    elif value.__class__ is dict:
        reason = "its keys must be text, numbers, times, UUIDs or enums"
    elif "unsupported" in reason:
        reason = (
            "return dicts, lists, text, numbers, dataclasses, msgspec Structs or pydantic models"
        )
    return PayloadError(f"{_name(value)} at {path} cannot be written as JSON: {reason}")


def _name(value: object) -> str:
    return f"a value of type {type(value).__qualname__}"


def _type_name(wanted: Any) -> str:
    return wanted.__qualname__ if isinstance(wanted, type) else str(wanted)


def _bytes(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB" if size >= 2**20 else f"{size:,} bytes"
