"""What holds back vacuum, and who waits for whom."""

from __future__ import annotations

from typing import Any

from stepwell.db.doctor.finding import Examination, Finding, Severity, duration, literal, name, size


async def transactions(look: Examination) -> list[Finding]:
    """In this database: what others have open does not hold back its vacuum."""
    rows = await look.ask(
        "select a.pid, a.usename as role, a.application_name as program, a.state,"
        " extract(epoch from clock_timestamp() - a.xact_start)::float8 as age"
        " from pg_stat_activity a where a.datname = current_database()"
        " and a.pid <> pg_backend_pid() and a.backend_type = 'client backend'"
        " and a.xact_start < clock_timestamp() - make_interval(secs => %s)"
        " order by a.xact_start limit 10",
        look.thresholds.old_transaction,
    )
    return [
        Finding(
            "old_transaction",
            "error" if row["age"] > 12 * look.thresholds.old_transaction else "warning",
            f"a transaction of {who(row)} is open for {duration(row['age'])} ({row['state']})",
            "vacuum can remove no row that it might still see: the queue fills with dead rows, and "
            "every claim gets slower",
            remedies_against(row["pid"]),
            row,
        )
        for row in rows
    ]


def remedies_against(pid: int) -> tuple[str, str]:
    look = f"select state, query from pg_stat_activity where pid = {pid};"  # noqa: S608
    return look, f"select pg_terminate_backend({pid});"


def who(row: dict[str, Any]) -> str:
    return f"{row['program'] or 'a program without a name'} (role {row['role']}, pid {row['pid']})"


async def sight(look: Examination) -> list[Finding]:
    """What the checks above cannot see."""
    [row] = await look.ask(
        "select count(*)::int as hidden, current_user::text as role from pg_stat_activity"
        " where datname = current_database() and query = '<insufficient privilege>'"
    )
    if not row["hidden"]:
        return []
    return [
        Finding(
            "limited_sight",
            "info",
            f"role {name(row['role'])} does not see what {row['hidden']} other sessions do",
            "old transactions and locks of other roles are not found",
            (f"grant pg_read_all_stats to {name(row['role'])};",),
            row,
        )
    ]


async def lock_waits(look: Examination) -> list[Finding]:
    rows = await look.ask(
        "select a.pid, a.usename as role, a.application_name as program, b.blocker,"
        " extract(epoch from clock_timestamp() - a.query_start)::float8 as age"
        " from pg_stat_activity a"
        " cross join lateral (select (pg_blocking_pids(a.pid))[1] as blocker offset 0) b"
        " where a.datname = current_database() and a.wait_event_type = 'Lock'"
        " and a.query_start < clock_timestamp() - make_interval(secs => %s) and b.blocker > 0"
        " order by a.query_start limit 10",
        look.thresholds.lock_wait,
    )
    return [
        Finding(
            "lock_wait",
            "warning",
            f"{who(row)} waits for a lock of pid {row['blocker']} for {duration(row['age'])}",
            "what it was about to write or claim stands still until that transaction ends",
            remedies_against(row["blocker"]),
            row,
        )
        for row in rows
    ]


async def prepared(look: Examination) -> list[Finding]:
    rows = await look.ask(
        "select p.gid, p.owner as role,"
        " extract(epoch from clock_timestamp() - p.prepared)::float8 as age"
        " from pg_prepared_xacts p where p.database = current_database()"
        " and p.prepared < clock_timestamp() - make_interval(secs => %s)"
        " order by p.prepared limit 10",
        look.thresholds.old_transaction,
    )
    return [
        Finding(
            "prepared_transaction",
            "warning",
            f"transaction {row['gid']!r} of role {row['role']} was prepared "
            f"{duration(row['age'])} ago, and neither committed nor rolled back",
            "it keeps its locks, and vacuum can remove nothing that is younger",
            (f"rollback prepared {literal(row['gid'])};",),
            row,
        )
        for row in rows
    ]


async def slots(look: Examination) -> list[Finding]:
    """Of the whole server: what they keep fills the disk of all."""
    limits = look.thresholds
    rows = await look.ask(
        "select s.* from ("
        " select slot_name as slot, active, wal_status, coalesce(pg_wal_lsn_diff("
        " case when pg_is_in_recovery() then pg_last_wal_receive_lsn()"
        " else pg_current_wal_lsn() end, restart_lsn), 0)::float8 as kept,"
        " coalesce(greatest(age(xmin), age(catalog_xmin)), 0) as holds"
        " from pg_replication_slots) s"
        " where s.kept >= %s or s.holds >= %s or s.wal_status in ('unreserved', 'lost')"
        " order by s.kept desc limit 10",
        limits.slot_bytes,
        limits.slot_age,
    )
    return [
        Finding(
            "replication_slot",
            slot_severity(row),
            f"replication slot {row['slot']}"
            + ("" if row["active"] else ", which nobody reads,")
            + f" keeps {size(row['kept'])} of WAL and holds back vacuum by {row['holds']} "
            "transactions",
            "the disk fills up, and dead rows of the queue stay",
            (
                "let its reader catch up; or, if nobody needs it any more: "
                f"select pg_drop_replication_slot({literal(row['slot'])});",
            ),
            row,
        )
        for row in rows
    ]


def slot_severity(row: dict[str, Any]) -> Severity:
    return "warning" if row["active"] else "error"


async def standbys(look: Examination) -> list[Finding]:
    rows = await look.ask(
        "select application_name as standby, age(backend_xmin) as holds from pg_stat_replication"
        " where age(backend_xmin) >= %s order by 2 desc limit 10",
        look.thresholds.slot_age,
    )
    return [
        Finding(
            "standby_holds_vacuum",
            "warning",
            f"standby {row['standby']} holds back vacuum by {row['holds']} transactions",
            "a long query there keeps dead rows of the queue here",
            ("end the query there, or set hot_standby_feedback = off on the standby",),
            row,
        )
        for row in rows
    ]


async def wraparound(look: Examination) -> list[Finding]:
    [row] = await look.ask(
        "select greatest(age(d.datfrozenxid), mxid_age(d.datminmxid)) as age, datname as database"
        " from pg_database d where d.datname = current_database()"
    )
    if row["age"] < look.thresholds.frozen_age:
        return []
    return [
        Finding(
            "wraparound",
            "error",
            f"the oldest row of database {row['database']} is {row['age']} transactions old",
            "at two billion the server takes no more writes",
            (
                "see what holds back vacuum, above",
                f"vacuumdb --freeze --dbname {name(row['database'])}",
            ),
            row,
        )
    ]
