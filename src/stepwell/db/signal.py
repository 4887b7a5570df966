"""Send signals to runs, and read a run's inbox."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from stepwell.db.call import Call


@dataclass(frozen=True, slots=True)
class Sent:
    """`created` is False when the run had got a signal with that dedup key before. `queue`: where
    somebody may wait for it."""

    signal_id: int
    run_id: UUID
    created: bool
    queue: str | None


@dataclass(frozen=True, slots=True)
class SignalRow:
    """`payload` is JSON text. `consumed_at` is None until a step has gone on with it."""

    id: int
    name: str
    payload: str
    dedup_key: str | None
    sent_at: datetime
    consumed_at: datetime | None


def send_signal(
    target_id: UUID | None,
    target_key: str | None,
    name: str,
    payload: str,
    dedup_key: str | None,
) -> Call[Sent]:
    """The target is a run id, or else the key of a live run; NoTarget when it is neither."""
    return Call(
        "select signal_id, run_id, created, queue from pgflow.send_signal(target_id => %s::uuid,"
        " target_key => %s::text, name => %s, payload => %s::text::jsonb, dedup_key => %s::text)",
        (target_id, target_key, name, payload, dedup_key),
        Sent,
    )


def signals_of(run_id: UUID, most: int, unconsumed_only: bool = False) -> Call[SignalRow]:
    """The first so many of a run's signals, oldest first."""
    return Call(
        "select signal_id as id, name, payload::text, dedup_key, sent_at, consumed_at"
        " from pgflow.signals_of(run_id => %s, most => %s::int, unconsumed_only => %s)",
        (run_id, most, unconsumed_only),
        SignalRow,
    )
