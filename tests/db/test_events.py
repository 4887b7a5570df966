"""Who listens gets all that happens from then on, in order and once; who does not costs nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from stepwell.db import events
from stepwell.errors import NotFound
from tests.servers import DatabaseServer

from .explain import explained
from .hands import Connection, Hands
from .realtime import BROKEN, install, names
from .shapes import chain, single, spread
from .waiting import held_up, transaction

pytestmark = pytest.mark.timeout(120)
LEASE = timedelta(minutes=1)
Connect = Callable[[], Connection]
PAST = "update pgflow.listeners set until = pgflow.now() - interval '1 second'"
ALONE = ["run:started", "step:s0:started", "step:s0:completed", "run:completed"]


@pytest.fixture(scope="session")
def server(any_server: DatabaseServer) -> DatabaseServer:
    return any_server


class Reader:
    """A listener moved by hand."""

    def __init__(self, conn: Connection, run: UUID | None = None) -> None:
        self.conn = conn
        self.run = run
        self.id = uuid4()
        self.begun = events.listen_to(self.id, run, LEASE).on_sync(conn)[0]
        self.after = self.begun.after or 0
        self.seen = self.begun.seen or ""

    def read(self, most: int = 500) -> list[str]:
        return [event for _, event in self.read_all(most)]

    def read_all(self, most: int = 500) -> list[tuple[UUID | None, str]]:
        if self.run is not None:
            rows = events.events_of([self.run], [self.after], most).on_sync(self.conn)
            self.after = rows[-1].event_id if rows else self.after
            return [(row.run_id, row.event) for row in rows]
        until, after, found = None, 0, list[tuple[UUID | None, str]]()
        while True:
            rows = events.events_between(self.seen, until, after, most).on_sync(self.conn)
            until = rows[0].snapshot
            found += [(row.run_id, row.event) for row in rows if row.event is not None]
            after = rows[-1].event_id or 0
            if len(rows) < most:
                self.seen = until
                return found

    def keep(self) -> bool:
        return bool(events.keep_listening([self.id], LEASE).on_sync(self.conn))


def kept(hands: Hands) -> int:
    return hands.value("select count(*) from pgflow.events")


def test_nothing_is_kept_or_put_together_while_nobody_listens(hands: Hands) -> None:
    hands.define(spread("spread"))

    def lap() -> None:
        hands.start("spread", 1)
        hands.drain([1])

    lap()
    told = explained(hands.conn, lap)
    asked = [each for each in told if "pgflow.listeners" in each.text]
    assert asked
    assert not [each for each in told if "tell_" in each.text or "pgflow.told" in each.text]
    assert kept(hands) == 0


def test_a_listener_gets_what_happens_to_its_run_and_no_other(hands: Hands) -> None:
    hands.define(single("one"))
    ours, other = hands.start("one", 1, 2)
    reader = Reader(hands.conn, ours)
    hands.drain(1)
    assert reader.read() == ALONE[2:]
    assert reader.read() == []
    assert hands.rows("select distinct run_id from pgflow.events") == [(ours,)]
    assert hands.status(other) == "completed"


def test_any_number_of_listeners_get_the_same(hands: Hands) -> None:
    hands.define(single("one"))
    [run] = hands.start("one", 1)
    readers = [Reader(hands.conn, run), Reader(hands.conn, run), Reader(hands.conn)]
    hands.drain(1)
    assert [reader.read() for reader in readers] == [ALONE[2:]] * 3
    assert kept(hands) == 2


def test_who_begins_when_the_run_has_ended_gets_its_last_event(hands: Hands) -> None:
    hands.define(single("one"))
    [run] = hands.start("one", 1)
    hands.drain([1])
    begun = Reader(hands.conn, run).begun
    assert (begun.event, begun.seen) == ("run:completed", None)
    assert '"output": {"s0": [1]}' in (begun.payload or "")
    assert hands.value("select count(*) from pgflow.listeners") == 0


def test_a_run_that_is_not_there_has_no_events(hands: Hands) -> None:
    with pytest.raises(NotFound, match="no run"):
        Reader(hands.conn, uuid4())
    assert hands.value("select count(*) from pgflow.listeners") == 0


def test_who_begins_while_the_run_moves_waits_for_it_and_sees_where_it_is(
    hands: Hands, connect: Connect
) -> None:
    """The commit asked whether anybody listens before this one did."""
    hands.define(single("one"))
    [run] = hands.start("one", 1)
    tasks, other = hands.claim(), connect()
    with transaction(hands.conn):
        hands.complete(tasks, 1)
        beginning = held_up(lambda: Reader(other, run), other, hands.conn)
    assert beginning.result(30).begun.event == "run:completed"


def test_what_moves_the_run_next_sees_who_began(hands: Hands, connect: Connect) -> None:
    hands.define(chain("chain", 2))
    [run] = hands.start("chain", 1)
    tasks, other = hands.claim(), connect()
    with transaction(other):
        reader = Reader(other, run)
        writing = held_up(lambda: hands.complete(tasks, 1), hands.conn, other)
    writing.result(30)
    assert reader.read() == ["step:s0:completed", "step:s1:started"]


def test_a_reader_of_all_runs_misses_nothing_that_commits_late(
    hands: Hands, connect: Connect
) -> None:
    late = Hands(connect(), lanes=hands.lanes)
    hands.define(single("one"))
    reader = Reader(hands.conn)
    with transaction(late.conn):
        [slow] = late.start("one", 1)
        [quick] = hands.start("one", 2)
        assert reader.read_all() == [(quick, event) for event in ALONE[:2]]
        assert reader.read_all() == []
    assert reader.read_all() == [(slow, event) for event in ALONE[:2]]
    assert reader.read_all() == []
    first = hands.value("select run_id from pgflow.events order by event_id limit 1")
    assert first == slow  # its ids are lower than those that were read before


def test_what_was_rolled_back_did_not_happen(hands: Hands) -> None:
    hands.define(single("one"))
    reader = Reader(hands.conn)
    with pytest.raises(ZeroDivisionError), transaction(hands.conn):
        hands.start("one", 1)
        raise ZeroDivisionError
    assert reader.read_all() == []


def test_many_events_are_read_in_pages_while_more_come(hands: Hands, connect: Connect) -> None:
    hands.define(single("one"))
    reader = Reader(hands.conn)
    runs = hands.start("one", *range(20))
    snapshot = events.events_between(reader.seen, None, 0, 7).on_sync(hands.conn)[0].snapshot
    hands.drain(1)
    in_pages = list[str]()
    after = 0
    while rows := events.events_between(reader.seen, snapshot, after, 7).on_sync(hands.conn):
        if rows[0].event_id is None:
            break
        in_pages += [row.event or "" for row in rows]
        after = rows[-1].event_id or 0
    assert len(in_pages) == 2 * len(runs)  # what came after the first page is not in it
    reader.seen = snapshot
    assert len(reader.read(7)) == 2 * len(runs)


def test_a_lease_that_is_renewed_goes_on_and_one_that_lapsed_says_so(hands: Hands) -> None:
    reader = Reader(hands.conn)
    assert reader.keep()
    hands.conn.execute(PAST)
    assert not reader.keep()
    hands.define(single("one"))
    hands.start("one", 1)
    assert kept(hands) == 0


def test_what_is_old_is_forgotten_and_so_is_who_did_not_come_back(hands: Hands) -> None:
    hands.define(single("one"))
    Reader(hands.conn)
    hands.start("one", *range(5))
    hands.conn.execute("update pgflow.events set at = at - interval '1 hour' where event_id <= 8")
    assert hands.value("select pgflow.prune_events(most => 5)") == 5
    assert hands.value("select pgflow.prune_events(most => 5)") == 3
    assert (kept(hands), hands.value("select count(*) from pgflow.listeners")) == (2, 1)
    hands.conn.execute(PAST)
    hands.rows("select pgflow.prune_events()")
    assert hands.value("select count(*) from pgflow.listeners") == 0


def test_no_read_looks_at_events_of_others_or_at_old_ones(hands: Hands) -> None:
    hands.conn.execute(
        "insert into pgflow.events (run_id, event, payload, at, xid)"
        " select gen_random_uuid(), 'run:started', '{}', now(), '3'::xid8"
        " from generate_series(1, 20000)"
    )
    hands.define(single("one"))
    [run] = hands.start("one", 1)
    of_one, of_all = Reader(hands.conn, run), Reader(hands.conn)
    hands.drain(1)
    for reader in (of_one, of_all):
        told = explained(hands.conn, reader.read)
        scans = [scan for each in told for scan in each.scans if scan.table == "events"]
        assert scans
        assert {scan.index for scan in scans} <= {"events_pkey", "idx_events_xid"}
        assert max(scan.rows for scan in scans) <= 10
    told = explained(hands.conn, lambda: hands.rows("select pgflow.prune_events(most => 100)"))
    scans = [scan for each in told for scan in each.scans if scan.index == "idx_events_xid"]
    assert [scan.rows for scan in scans] == [100]


def test_a_broken_realtime_is_a_warning_and_the_others_still_go(hands: Hands) -> None:
    install(hands.conn)
    hands.conn.execute(BROKEN)
    said = list[str]()
    hands.conn.add_notice_handler(lambda notice: said.append(notice.message_primary or ""))
    hands.define(single("one"))
    [run] = hands.start("one", 1)
    hands.drain(1)
    assert hands.status(run) == "completed"
    assert names(hands) == ["run:started", "run:completed"]
    assert f"event step:s0:started of run {run} was not sent: the channel is gone" in said


def test_realtime_that_comes_and_goes_while_a_connection_is_open(hands: Hands) -> None:
    hands.define(single("one"))
    hands.start("one", 1)
    install(hands.conn)
    hands.drain(1)
    assert names(hands) == ALONE[2:]
    hands.conn.execute("drop schema realtime cascade")
    hands.start("one", 2)
    hands.drain(1)


def test_both_are_told_the_same(hands: Hands) -> None:
    install(hands.conn)
    hands.define(spread("spread"))
    reader = Reader(hands.conn)
    hands.start("spread", 1)
    hands.drain([1])
    assert reader.read() == names(hands)
    assert hands.rows("select payload from pgflow.events order by event_id") == hands.rows(
        "select payload from realtime.sent order by place"
    )
