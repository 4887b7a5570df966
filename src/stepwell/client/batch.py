"""Runs to start, as values: ids made, inputs checked and written as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, cast
from uuid import UUID

from stepwell.client.definition import parts_of, written_input, written_inputs
from stepwell.client.identity import checked_key
from stepwell.client.options import (
    Choices,
    StartChoices,
    check_flow,
    check_known,
    options_of,
    with_trace,
)
from stepwell.client.reading import Read, reader_of
from stepwell.client.wakes import Wake
from stepwell.db.call import Call
from stepwell.db.start import Started, start_runs
from stepwell.define.definition import Definition, slug_of
from stepwell.define.flow import Flow
from stepwell.define.ids import new_run_id
from stepwell.define.payload import check_size
from stepwell.define.startable import Startable, check_startable
from stepwell.settings import MAX_PAYLOAD

CHUNK = 1000
NOTHING: Mapping[str, Any] = MappingProxyType({})
Keys = Iterable[str | None]


@dataclass(frozen=True, slots=True)
class Batch:
    """What to start of one definition. A name in its place means the version that is current.
    `places`: where its runs stand in what the caller gave."""

    definition: Definition | str
    places: Sequence[int]
    inputs: Sequence[str]
    run_ids: Sequence[UUID]
    keys: Sequence[str | None]
    options: Sequence[str] | None = None
    queue: str | None = None
    ids_are_ours: bool = True
    trace: str | None = None

    @property
    def slug(self) -> str:
        return slug_of(self.definition)

    @property
    def wake(self) -> Wake:
        return Wake(self.slug) if self.queue is None else Wake(self.queue, is_queue=True)

    def calls(self, version_id: int | None, most: int = MAX_PAYLOAD) -> list[Call[Started]]:
        """One call per chunk; run them in one transaction. No input has more than `most` bytes."""
        for payload in self.inputs:
            check_size(payload, most, f"the input of {self.slug!r}")
        parts = (slice(at, at + CHUNK) for at in range(0, len(self.inputs), CHUNK))
        return [
            start_runs(
                self.slug,
                self.inputs[p],
                self.run_ids[p],
                self.keys[p],
                version_id,
                self._options(p),
            )
            for p in parts
        ]

    def _options(self, part: slice) -> Sequence[str] | None:
        options = None if self.options is None else self.options[part]
        return options if self.trace is None else with_trace(self.trace, options, self.inputs[part])

    def created(self, rows: Sequence[Started]) -> list[bool]:
        """Which runs it made. A call that was repeated, because its answer was lost,
        finds its own runs there: their ids tell."""
        return [
            row.created or (self.ids_are_ours and row.run_id == run_id)
            for row, run_id in zip(rows, self.run_ids, strict=True)
        ]


def batch_of(
    definition: Definition | str,
    inputs: Iterable[object],
    keys: Keys | None = None,
    choices: Mapping[str, Any] = NOTHING,
) -> Batch:
    """Check and write the inputs; PayloadError says which one cannot be one and why."""
    check_known(choices, Choices)
    written = written_inputs(definition, inputs)
    return _batch(definition, range(len(written)), written, _names(keys, len(written)), choices)


def batch_of_one(
    what: Definition | Startable | str, given: object, choices: Mapping[str, Any]
) -> Batch:
    """One run: of a definition with its input, or of something that has its input in it."""
    check_known(choices, StartChoices)
    keys = [checked_key(choices.get("key"))]
    if isinstance(what, Flow | str):
        return _batch(what, [0], [written_input(what, given)], keys, choices)
    check_startable(what, "start")
    if given is not None:
        raise TypeError(f"{what!r} has its input already; start it without another")
    definition, payload = parts_of(cast("Startable", what))
    return _batch(definition, [0], [payload], keys, choices)


def batches_of(
    calls: Iterable[Startable], keys: Keys | None, choices: Mapping[str, Any]
) -> list[Batch]:
    """A batch per definition, in the order of their slugs: whoever starts some of the same keys
    at the same time takes them in the same order."""
    check_known(choices, Choices)
    parts = [parts_of(call) for call in calls]
    names = _names(keys, len(parts))
    places: dict[Definition, list[int]] = {}
    for place, (definition, _) in enumerate(parts):
        places.setdefault(definition, []).append(place)
    return [
        _batch(d, at, [parts[n][1] for n in at], [names[n] for n in at], choices)
        for d, at in sorted(places.items(), key=lambda item: slug_of(item[0]))
    ]


@dataclass(frozen=True, slots=True)
class Begun:
    """One run of a batch, as the database answered."""

    place: int
    run_id: UUID
    created: bool
    read: Read[Any]


def begun(batches: Sequence[Batch], rows: Iterable[Started]) -> list[Begun]:
    """The runs in the order that the caller gave."""
    rest = iter(rows)
    found: list[Begun] = []
    for batch in batches:
        mine = [next(rest) for _ in batch.inputs]
        read = reader_of(batch.definition)
        for place, row, new in zip(batch.places, mine, batch.created(mine), strict=True):
            found.append(Begun(place, row.run_id, new, read))
    return sorted(found, key=lambda each: each.place)


def wakes_of(batches: Sequence[Batch], runs: Sequence[Begun]) -> list[Wake]:
    """Who has something to do now: nobody where every run was there before."""
    return [batch.wake for batch in batches if any(runs[place].created for place in batch.places)]


def _batch(
    definition: Definition | str,
    places: Sequence[int],
    inputs: Sequence[str],
    keys: Sequence[str | None],
    choices: Mapping[str, Any],
) -> Batch:
    if isinstance(definition, Flow):
        check_flow(definition.slug, choices)
    options = options_of(choices)
    run_id = choices.get("run_id")
    return Batch(
        definition,
        places,
        inputs,
        [new_run_id() for _ in inputs] if run_id is None else [run_id],
        keys,
        None if options is None else [options] * len(inputs),
        choices.get("queue"),
        ids_are_ours=run_id is None,
    )


def _names(keys: Keys | None, count: int) -> list[str | None]:
    names: list[str | None] = [None] * count if keys is None else [checked_key(key) for key in keys]
    if len(names) != count:
        raise ValueError(f"{count} inputs and {len(names)} keys: give each input one key")
    return names
