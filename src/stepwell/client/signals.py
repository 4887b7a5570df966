"""Signals as a client sends and sees them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from stepwell.client.batch import Batch, batch_of_one
from stepwell.client.reading import checked_limit, value_of
from stepwell.client.wakes import Wake
from stepwell.db.call import Call
from stepwell.db.signal import Sent, SignalRow, send_signal, signals_of
from stepwell.define.ids import new_run_id
from stepwell.define.limits import check_name
from stepwell.define.payload import check_size, encode, storable
from stepwell.define.startable import Startable
from stepwell.errors import PayloadError
from stepwell.settings import MAX_PAYLOAD

MOST_SIGNALS = 10_000
LONGEST_DEDUP_KEY = 512
RACES = 5  # runs that may end between being found and being signalled


@dataclass(frozen=True, slots=True)
class Signalled:
    """A signal that is in a run's inbox. `created` is False when the run had got one with that
    dedup key before: then `id` is that one's, and nothing was added."""

    id: int
    run_id: UUID
    created: bool


@dataclass(frozen=True, slots=True)
class SignalInfo:
    """A signal of a run. `consumed_at` is None until a step has gone on with it."""

    id: int
    name: str
    payload: Any
    dedup_key: str | None
    sent_at: datetime
    consumed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Message:
    """A signal to be sent."""

    call: Call[Sent]
    key_is_ours: bool

    def sent(self, row: Sent) -> Signalled:
        """A call that was repeated, because its answer was lost, finds its own signal there."""
        return Signalled(row.signal_id, row.run_id, row.created or self.key_is_ours)


def message_of(
    address: UUID | str,
    name: str,
    payload: object,
    dedup_key: str | None,
    *,
    repeatable: bool,
    most: int = MAX_PAYLOAD,
) -> Message:
    """Check and write a signal. One that may be sent twice, because an answer was lost, gets a
    dedup key of ours if it has none."""
    check_name(name, "the name of the signal")
    key_is_ours = dedup_key is None and repeatable
    key = str(new_run_id()) if key_is_ours else checked_dedup_key(dedup_key)
    by_id = isinstance(address, UUID)
    written = encode(payload)
    check_size(written, most, f"signal {name!r}")
    call = send_signal(
        address if by_id else None,
        None if by_id else address,
        name,
        written.decode(),
        key,
    )
    return Message(call, key_is_ours)


def start_of(start: Startable, address: UUID | str) -> Batch:
    """The run that a signal starts if there is none: it gets the key that the signal goes to."""
    if isinstance(address, UUID):
        raise PayloadError(f"no run is started for the id {address}; signal a key to start one")
    return batch_of_one(start, None, {"key": address})


def wake_of(row: Sent) -> list[Wake]:
    """Nobody when nobody waited for it."""
    return [] if row.queue is None else [Wake(row.queue, is_queue=True)]


def checked_dedup_key(key: str | None) -> str | None:
    if key is None or (key and len(key) <= LONGEST_DEDUP_KEY and storable(key)):
        return key
    raise PayloadError(
        f"{key[:60]!r} cannot be a dedup key; give text of 1 to {LONGEST_DEDUP_KEY} characters, "
        "without U+0000 and without half characters"
    )


def inbox_of(run_id: UUID, limit: int, unconsumed_only: bool) -> Call[SignalRow]:
    return signals_of(run_id, checked_limit(limit, MOST_SIGNALS), unconsumed_only)


def signal_of(row: SignalRow) -> SignalInfo:
    return SignalInfo(**{**asdict(row), "payload": value_of(row.payload)})
