"""Options of the code beside those that the database goes by."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from stepwell.compile.shape import Shape, canonical
from stepwell.db.drift import StoredOptions


@dataclass(frozen=True, slots=True)
class Drift:
    """An option that differs. `step` is None for the definition's own, a value is None where the
    default holds. `stays`: it was tuned by hand since the code said this last, so a deploy leaves
    it unless it is told to apply the options of the code."""

    step: str | None
    option: str
    stored: Any
    wanted: Any
    stays: bool


def drift(shape: Shape, stored: Iterable[StoredOptions], *, new_version: bool) -> list[Drift]:
    """Every option in which the database differs from a shape, in the order of its steps. The
    steps of a new version begin with what the code says."""
    rows = {row.step_slug: row for row in stored}
    found: list[Drift] = []
    for slug, said in _said(shape):
        if row := rows.get(slug):
            stays = canonical(row.deployed) == canonical(said)
            stays = stays and not (new_version and slug is not None)
            found += _differing(slug, said, row.options, stays)
    return found


def _said(shape: Shape) -> Iterator[tuple[str | None, dict[str, Any]]]:
    """As the database keeps what the code said."""
    data = shape.to_data()
    yield None, data["options"]
    for step in data["steps"]:
        yield step["slug"], {**step["options"], "takesInput": step["takesInput"]}


def _differing(
    step: str | None, said: dict[str, Any], stored: dict[str, Any], stays: bool
) -> Iterator[Drift]:
    """Another queue is another version, and what a handler takes is no option."""
    for name in sorted({*said, *stored} - {"queue", "takesInput"}):
        if canonical(said.get(name)) != canonical(stored.get(name)):
            yield Drift(step, in_python(name), stored.get(name), said.get(name), stays)


def in_python(name: str) -> str:
    """As the option is called where people write it."""
    return re.sub("[A-Z]", lambda found: "_" + found[0].lower(), name)
