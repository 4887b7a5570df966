"""Runs to start, as a value: ids made, inputs checked and written as JSON."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from stepwell.db.call import Call
from stepwell.db.start import Started, start_runs
from stepwell.define.flow import Flow
from stepwell.define.payload import decoder, encode, storable
from stepwell.errors import PayloadError

AnyFlow = Flow[Any, Any]
CHUNK = 1000
LONGEST_KEY = 512


@dataclass(frozen=True, slots=True)
class Batch:
    """What to start of one flow. A name in place of a flow means its current version."""

    flow: AnyFlow | str
    inputs: Sequence[str]
    run_ids: Sequence[UUID]
    keys: Sequence[str | None]
    ids_are_ours: bool = True

    @property
    def slug(self) -> str:
        return self.flow if isinstance(self.flow, str) else self.flow.slug

    def calls(self, version_id: int | None) -> list[Call[Started]]:
        """One call per chunk; run them in one transaction."""
        parts = (slice(at, at + CHUNK) for at in range(0, len(self.inputs), CHUNK))
        return [
            start_runs(self.slug, self.inputs[p], self.run_ids[p], self.keys[p], version_id)
            for p in parts
        ]

    def created(self, rows: Sequence[Started]) -> list[bool]:
        """Which runs this batch made. A call that was repeated, because its answer was lost,
        finds its own runs there: their ids tell."""
        return [
            row.created or (self.ids_are_ours and row.run_id == run_id)
            for row, run_id in zip(rows, self.run_ids, strict=True)
        ]


def batch_of(
    flow: AnyFlow | str,
    inputs: Iterable[object],
    keys: Iterable[str | None] | None = None,
    run_id: UUID | None = None,
) -> Batch:
    """Check and write the inputs; PayloadError says which one cannot be one and why."""
    written = written_inputs(flow, inputs)
    names = [None] * len(written) if keys is None else [checked_key(key) for key in keys]
    if len(names) != len(written):
        raise ValueError(f"{len(written)} inputs and {len(names)} keys: give each input one key")
    ids = [new_run_id() for _ in written] if run_id is None else [run_id]
    return Batch(flow, written, ids, names, ids_are_ours=run_id is None)


def written_inputs(flow: AnyFlow | str, inputs: Iterable[object]) -> list[str]:
    wanted = Any if isinstance(flow, str) else flow.input_type
    read = None if wanted is Any else decoder(wanted)
    array = not isinstance(flow, str) and has_root_map(flow)
    written: list[str] = []
    for index, value in enumerate(inputs):
        slug = flow if isinstance(flow, str) else flow.slug
        try:
            payload = encode(value)
            if read is not None:
                read(payload)
        except PayloadError as error:
            raise PayloadError(f"input {index} of flow {slug!r}: {error}") from error
        if array and not payload.startswith(b"["):
            raise PayloadError(
                f"input {index} of flow {slug!r} is not a list, and the flow maps over it"
            )
        written.append(payload.decode())
    return written


def has_root_map(flow: AnyFlow) -> bool:
    return any(step.kind == "map" and not step.dependencies for step in flow.steps.values())


def checked_key(key: str | None) -> str | None:
    """A key is text that an index of Postgres can hold; an empty one is a mistake, not a key."""
    if key is None:
        return None
    if not isinstance(key, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"a key is text, not {type(key).__name__}: write key=str(...)")
    if not key or not storable(key):
        raise PayloadError(
            f"{key[:LONGEST_KEY]!r} cannot be a key; give some text without U+0000 and without "
            "half characters (lone surrogates), or None for no key"
        )
    if len(key) > LONGEST_KEY:
        raise PayloadError(
            f"a key has at most {LONGEST_KEY} characters; {key[:20]!r}… has {len(key)}: "
            "use a digest of it"
        )
    return key


class Clock:
    """Run ids grow with time, also within one millisecond and when the clock is set back."""

    def __init__(self) -> None:
        self._last = 0
        self._lock = threading.Lock()
        os.register_at_fork(after_in_child=self._unlock)

    def tick(self) -> int:
        """60 bits: milliseconds, and 4096ths of one."""
        whole, rest = divmod(time.time_ns(), 1_000_000)
        with self._lock:
            self._last = max(whole << 12 | rest * 4096 // 1_000_000, self._last + 1)
            return self._last

    def _unlock(self) -> None:
        self._lock = threading.Lock()


_clock = Clock()


def new_run_id() -> UUID:
    """A uuid of version 7."""
    tick = _clock.tick()
    chance = int.from_bytes(os.urandom(8)) & (1 << 62) - 1
    return UUID(int=tick >> 12 << 80 | 7 << 76 | (tick & 0xFFF) << 64 | 2 << 62 | chance)


def run_id_of(value: UUID | str) -> UUID:
    """The id that is meant; a ValueError for text that is none."""
    if isinstance(value, UUID):
        return value
    try:
        return UUID(value)
    except ValueError:
        raise ValueError(f"{value!r} is no run id; a run id is a uuid") from None
