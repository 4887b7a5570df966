# made by tools/sync.py out of client/finding.py: change that, and run `python -m tools.sync`
"""Find runs by what they are. For SyncClient."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Unpack
from uuid import UUID

from stepwell.client.filters import (
    Definitions,
    Filters,
    Kind,
    Place,
    Status,
    filters_of,
    newest_first,
    page_of,
)
from stepwell.client.sync.session import SyncSession
from stepwell.db.inspect import RunSummary, runs_between

PAGE = 500  # runs that are read at once


class SyncFinding:
    """Lists of runs, in the order in which they started."""

    _session: SyncSession

    def runs(
        self,
        flow: Definitions | None = None,
        status: Status | Iterable[Status] | None = None,
        kind: Kind | Iterable[Kind] | None = None,
        *,
        oldest_first: bool = False,
        **filters: Unpack[Filters],
    ) -> Iterator[RunSummary]:
        """All runs that fit, newest first, read page by page while you go on: none twice and none
        left out, whatever starts, ends or is deleted meanwhile. Oldest first it goes on into what
        starts while you read."""
        said = filters_of(flow, kind, status, filters)
        last: RunSummary | None = None
        while True:
            bounds = {"after" if oldest_first else "before": last}
            call = page_of(said, PAGE, **bounds, oldest_first=oldest_first)
            page = self._session.pool.run(call)
            for last in page:
                yield last
            if len(page) < PAGE:
                return

    def beginning_with(self, digits: str) -> Sequence[UUID]:
        """The first two ids of runs that begin with these digits, so that it is told whether there
        is one of them only."""
        first, last = UUID(digits.ljust(32, "0")), UUID(digits.ljust(32, "f"))
        return [row.run_id for row in self._session.pool.run(runs_between(first, last))]

    def list(
        self,
        flow: Definitions | None = None,
        status: Status | Iterable[Status] | None = None,
        before: Place | None = None,
        limit: int = 50,
        kind: Kind | Iterable[Kind] | None = None,
        *,
        after: Place | None = None,
        **filters: Unpack[Filters],
    ) -> list[RunSummary]:
        """A page of runs, newest first, at most 10,000: of definitions, in states, of kinds, and of
        what `filters` say. `before`, the last of a page or its id, asks for the next one, and
        `after`, the first of it, for the one before it."""
        call = page_of(filters_of(flow, kind, status, filters), limit, before, after)
        return newest_first(self._session.pool.run(call), before, after)
