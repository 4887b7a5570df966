"""Where commands print: data on stdout, what they say about it on stderr."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from typing import Any, cast

import msgspec
from rich.console import Console
from rich.text import Text

UNTERMINATED_WIDTH = 200  # a pipe has no width; a table there should not be cut at 80


def console() -> Console:
    """A console on stdout as it is now; colours only on a terminal."""
    plain = None if sys.stdout.isatty() else UNTERMINATED_WIDTH
    return Console(width=plain, highlight=False, soft_wrap=False)


def note(text: str, style: str = "dim") -> None:
    """Say something about the work on stderr, so that stdout stays data."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(Text(text, style=style))


def complain(text: str) -> None:
    first, *rest = visible(text).splitlines() or ["failed"]
    where = Console(stderr=True, highlight=False, soft_wrap=True)
    where.print(Text.assemble(("error: ", "bold red"), first))
    for line in rest:
        where.print(Text(f"  {line}"))


def print_json(value: object) -> None:
    """Indented JSON with a newline; dataclasses, UUIDs and times as in our payloads."""
    text = msgspec.json.format(msgspec.json.encode(plain(value)), indent=2)
    sys.stdout.write(text.decode() + "\n")
    sys.stdout.flush()


def plain(value: object) -> Any:
    """A dataclass as an object of its fields, one level deep and in lists."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, list | tuple):
        return [plain(each) for each in cast(Sequence[object], value)]
    return value


def compact(value: object, limit: int = 60) -> str:
    """A value as JSON on one line, cut off at the limit."""
    return shortened(msgspec.json.encode(value).decode(), limit)


def visible(text: str) -> str:
    """What others wrote, without what a terminal would obey."""
    return "".join(
        c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text
    )


def shortened(text: str, limit: int) -> str:
    line = " ".join(visible(text).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def seconds(value: float) -> str:
    """A duration for a person: 12 ms, 3.4 s, 5 min 3 s."""
    if value < 0.9995:
        return f"{value * 1000:.0f} ms"
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
