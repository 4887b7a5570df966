"""A run of which no archive can have a document stays and is told, and the rest goes on."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from psycopg.rows import class_row

from stepwell.db.archive import Batch, Documents, end_archive, take_archive
from tests.unreadable import SAYS, tag_unreadable

from .hands import Hands
from .shapes import single

DAY = 86400.0


def later(hands: Hands, days: float, seconds: float = 0) -> None:
    hands.at(f"{days * DAY + seconds} seconds")


def ended(hands: Hands, slug: str, *inputs: Any) -> list[UUID]:
    hands.define(single(slug, archive=True))
    if not hands.rows("select 1 from pgflow.workers"):
        hands.register()
    runs = [hands.start(slug, each)[0] for each in inputs]
    hands.drain()
    return runs


def unreadable(hands: Hands, run: UUID) -> None:
    tag_unreadable(hands.conn)
    hands.conn.execute("update pgflow.runs set tags = '{unreadable}' where run_id = %s", (run,))


def take(hands: Hands, *slugs: str) -> Batch:
    return take_archive(slugs, hands.id, 30).on_sync(hands.conn)[0]


def end(hands: Hands, batch: Batch) -> int:
    assert batch.flow_slug is not None
    call = end_archive(hands.id, batch.flow_slug, batch.run_ids, batch.ended or ())
    return call.on_sync(hands.conn)[0].runs


def page(hands: Hands, slug: str, largest: int, last: Documents | None = None) -> Documents:
    with hands.conn.cursor(row_factory=class_row(Documents)) as cursor:
        cursor.execute(
            """
            select run_ids, ended, documents::text[], last_start, last_run, refused, reasons
            from pgflow.runs_to_archive(
              %s, pgflow.now() - interval '30 days', after_start => %s, after_run => %s,
              largest => %s)
            """,
            (slug, last and last.last_start, last and last.last_run, largest),
        )
        [found] = cursor.fetchall()
    return found


def test_the_rest_goes_on_and_what_stays_is_tried_every_day(hands: Hands) -> None:
    first, bad, last = sorted(ended(hands, "one", {}, {}, {}))
    hands.conn.execute("update pgflow.runs set started_at = '2020-01-01'")  # looked at by id
    two = ended(hands, "two", {})
    unreadable(hands, bad)
    later(hands, 40)
    batch = take(hands, "one", "two")
    assert (batch.flow_slug, batch.run_ids) == ("one", [first, last])
    assert (batch.refused, batch.reasons) == ([bad], [SAYS])
    assert take(hands, "one", "two").run_ids == two  # others are not behind it
    assert end(hands, batch) == 2
    assert take(hands, "one").run_ids == []  # the round ends
    later(hands, 40, 400)
    assert [take(hands, "one").refused for _ in "ab"] == [[], []]  # a round, and its end
    later(hands, 41, 400)
    again = take(hands, "one")
    assert (again.run_ids, again.refused) == ([], [bad])
    assert hands.rows("select run_id, flow_slug, tries from pgflow.archive_refusals") == [
        (bad, "one", 2)
    ]
    assert take(hands, "one").run_ids == []
    hands.conn.execute("update pgflow.runs set tags = null")
    later(hands, 43)
    batch = take(hands, "one")
    assert (batch.run_ids, batch.refused) == ([bad], [])
    assert end(hands, batch) == 1
    assert hands.rows("select 1 from pgflow.archive_refusals") == []


def test_a_document_that_is_too_large_is_refused_with_its_size(hands: Hands) -> None:
    small, large, other = ended(hands, "one", {}, {"text": "ab" * 50_000}, {})
    hands.conn.execute("update pgflow.runs set started_at = started_at - interval '60 days'")
    later(hands, 40)
    found = page(hands, "one", 20_000)
    assert (sorted(found.run_ids), found.refused) == (sorted([small, other]), [large])
    assert "its document would be larger than 20000 bytes" in found.reasons[0]
    assert page(hands, "one", 200_000).refused == []  # by hand it is tried at once
    assert page(hands, "one", 200).refused == [small, large, other]
    unreadable(hands, small)
    hands.conn.execute("alter table pgflow.runs alter column input set storage external")
    hands.conn.execute("update pgflow.runs set input = to_jsonb(repeat('x', 90000))")
    reasons = page(hands, "one", 20_000).reasons  # so much that nobody tries to make one
    assert ["88 kB in the tables" in reason for reason in reasons] == [True] * 3


def test_documents_that_are_large_together_come_on_pages_of_their_own(hands: Hands) -> None:
    """What compresses well is larger as text than it is in the tables."""
    runs = ended(hands, "one", {}, {})
    hands.conn.execute("update pgflow.runs set input = to_jsonb(repeat('x', 17000000))")
    later(hands, 40)
    first = page(hands, "one", 250_000_000)
    second = page(hands, "one", 250_000_000, first)
    assert sorted(first.run_ids + second.run_ids) == sorted(runs)
    assert (len(first.run_ids), first.last_run) == (1, first.run_ids[0])


def test_what_was_refused_is_forgotten_with_its_run(hands: Hands) -> None:
    [bad] = ended(hands, "one", {})
    unreadable(hands, bad)
    later(hands, 40)
    assert take(hands, "one").refused == [bad]
    hands.conn.execute("select pgflow.delete_flow_and_data('one')")
    assert hands.rows("select 1 from pgflow.archive_refusals") == []
