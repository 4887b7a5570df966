"""What JSON, or the jsonb of Postgres, would change by itself: it is refused here, or written so
that it comes back as it was. Each check has a test of the bytes before it that costs little."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from datetime import datetime, time
from typing import Any

import msgspec

from stepwell.define.models import plain
from stepwell.define.parts import leaves, parts
from stepwell.errors import PayloadError

DEEPEST = 200  # readers give up at about 900, the fewer the more they have to do themselves

_NO_BRACKETS = bytes(set(range(256)) - set(b'[]{}"\\'))
_AS_LISTS = bytes.maketrans(b"{}", b"[]")
_PIECE = 2**16
_raw_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_raw_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_TEXT = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"')
_MAYBE_EXPONENT = re.compile(rb"e[0-9]+(?:[,\]}]|$)")
_EXPONENT = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|(-?[0-9]+(?:\.[0-9]+)?e[0-9]+)')
_NOT_FINITE = re.compile(rb"\xcb[\x7f\xff][\xf0-\xff]")
_MAYBE_OFFSET = re.compile(rb':[0-9]{2}"(?<=[+-][0-9]{2}:[0-9]{2}")')


def kept(value: object, payload: bytes, around: int) -> bytes:
    """The payload of a value, as it is to be stored; PayloadError for what would not come back.
    JSON text that somebody else wrote is Postgres' to judge. `around`: levels that are ours."""
    if isinstance(value, msgspec.Raw):
        return payload
    if payload.count(b"[") + payload.count(b"{") > DEEPEST:
        _refuse_depth(value, payload, around)
    if b"null" in payload:
        _refuse_not_a_number(value)
    if b"\\u0000" in payload:
        _refuse_zero_character(msgspec.json.decode(payload))
    if b"{" in payload:
        _refuse_twins(value, payload)
    if _MAYBE_OFFSET.search(payload):
        _refuse_odd_offsets(value)
    if _MAYBE_EXPONENT.search(payload):
        payload = _EXPONENT.sub(_in_full, payload)
    return payload


def _refuse_depth(value: object, payload: bytes, around: int) -> None:
    brackets = payload.translate(_AS_LISTS, _NO_BRACKETS)
    if b"\\" not in brackets:
        brackets = brackets.replace(b'""', b"")
    if b'"' in brackets:
        brackets = _TEXT.sub(b"", brackets)
    for _ in range(DEEPEST + around):  # the innermost of all go at once
        brackets = brackets.replace(b"[]", b"")
        if not brackets:
            return
    raise PayloadError(
        f"the value is nested more than {DEEPEST} deep (it begins {_way_down(value)}); make it "
        "flatter, for example a list of rows that name their parents"
    )


def _way_down(value: object) -> str:
    """The first steps of the way to the deepest part, as far as a message has room."""
    path = "$"
    for _ in range(8):
        inner = [(_depth(part), step, part) for step, part in parts(value)]
        if not inner:
            break
        _, step, value = max(inner, key=lambda each: each[0])
        path += step
    return f"{path}…"


def _depth(value: object) -> int:
    level, depth = [value], 0
    while level and depth <= 2 * DEEPEST:
        level = [part for each in level for _, part in parts(each)]
        depth += 1
    return depth


def _refuse_not_a_number(value: object) -> None:
    """msgspec and pydantic write null for NaN and Infinity; a value that changes by itself is
    worse."""
    try:  # as msgpack, which has them, a large value is looked through in milliseconds
        if not _NOT_FINITE.search(msgspec.msgpack.encode(value, enc_hook=plain)):
            return
    except (TypeError, ValueError, OverflowError):
        pass  # no msgpack for it, as for large integers
    for path, leaf in leaves(msgspec.to_builtins(value, enc_hook=plain, str_keys=True)):
        if isinstance(leaf, float) and not math.isfinite(leaf):
            raise PayloadError(f"{leaf} at {path} is not a JSON number; send None or a str instead")


def _refuse_zero_character(value: object) -> None:
    for path, leaf in leaves(value):
        if isinstance(leaf, str) and "\0" in leaf:
            raise PayloadError(
                f"the text at {path} contains the character U+0000, which Postgres cannot store; "
                "remove it, or send bytes (they travel as base64)"
            )


def _refuse_twins(value: object, payload: bytes) -> None:
    """Two keys that are one in JSON, as 1 and "1": of their values only the last would stay."""
    try:
        if not _has_twins(payload):
            return
    except (msgspec.DecodeError, UnicodeDecodeError):  # a Raw inside that is no JSON
        return
    for path, keys in _objects(json.loads(payload, object_pairs_hook=_Pairs), "$"):
        twins = sorted({key for key in keys if keys.count(key) > 1})
        if twins:
            raise PayloadError(
                f"the dict at {path} has two keys that are both {twins[0]!r} in JSON; give them "
                "keys that differ as text"
            )


def _has_twins(payload: bytes) -> bool:
    """Whether less comes back when it is read and written again. What is large is looked at piece
    by piece: all of it as Python's objects would be ten times as large."""
    if len(payload) <= _PIECE or payload[:1] not in (b"[", b"{"):
        return len(msgspec.json.encode(msgspec.json.decode(payload))) < len(payload)
    if payload[:1] == b"[":
        return any(map(_has_twins, _pieces(_raw_list(payload))))
    parts = _raw_object(payload)
    if len(msgspec.json.encode(parts)) < len(payload):
        return True
    return any(map(_has_twins, _pieces(parts.values())))


def _pieces(parts: Iterable[msgspec.Raw]) -> Iterator[bytes]:
    """The large ones each for itself, the small ones together, as lists."""
    small: list[bytes] = []
    size = 0
    for part in map(bytes, parts):
        if len(part) > _PIECE // 2:
            yield part
            continue
        small.append(part)
        size += len(part) + 1
        if size > _PIECE // 4:
            yield b"[%s]" % b",".join(small)
            small, size = [], 0
    yield b"[%s]" % b",".join(small)


class _Pairs(list[tuple[str, Any]]):
    """An object of JSON with all that is written in it."""


def _objects(value: Any, path: str) -> Iterator[tuple[str, list[str]]]:
    if isinstance(value, _Pairs):
        yield path, [key for key, _ in value]
        for key, part in value:
            yield from _objects(part, f"{path}.{key}")
    elif isinstance(value, list):
        for index, part in enumerate(value):  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
            yield from _objects(part, f"{path}[{index}]")


def _refuse_odd_offsets(value: object) -> None:
    """Some zones of before 1972 have seconds in their offset, and JSON's times have not."""
    kept = msgspec.to_builtins(value, builtin_types=(datetime, time), enc_hook=plain)
    for path, leaf in leaves(kept):
        offset = leaf.utcoffset() if isinstance(leaf, datetime | time) else None
        if offset is not None and offset.total_seconds() % 60:
            raise PayloadError(
                f"the time at {path} is {offset} from UTC, and JSON knows whole minutes only; "
                "send it as UTC: .astimezone(UTC)"
            )


def _in_full(found: re.Match[bytes]) -> bytes:
    """Large floats without an exponent: jsonb would make 1e16 an integer."""
    number = found[1]
    return found[0] if number is None else f"{_exact(number)}.0".encode()


def _exact(number: bytes) -> int:
    mantissa, exponent = number.split(b"e")
    whole, _, fraction = mantissa.partition(b".")
    return int(whole + fraction + b"0" * (int(exponent) - len(fraction)))
