"""A start as a span, whose trace goes with every run that it starts."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from stepwell.client.batch import Batch
from stepwell.db.start import Started
from stepwell.observe.traces import Sending, Traces


@contextmanager
def sending(traces: Traces, batches: Sequence[Batch]) -> Generator[tuple[Sequence[Batch], Sending]]:
    """The batches to start, with the trace that their runs are to be part of."""
    count = sum(len(batch.inputs) for batch in batches)
    with traces.starting([batch.slug for batch in batches], count) as span:
        if span.trace is not None:
            batches = [replace(batch, trace=span.trace) for batch in batches]
        yield batches, span


def answered(span: Sending, answers: Sequence[Sequence[Any]]) -> list[Any]:
    """The rows of all answers, told to the span."""
    rows = [row for rows in answers for row in rows]
    span.answered([row.run_id for row in _starts(rows)])
    return rows


def _starts(rows: Iterable[Any]) -> Iterable[Started]:
    return (row for row in rows if isinstance(row, Started))
