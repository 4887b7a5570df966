"""What of a server hurts a queue: its settings, what holds back vacuum, who waits for whom."""

from __future__ import annotations

from typing import Any

from stepwell.db.finding import Examination, Finding, Severity, duration, literal, name, size

OLDEST = 150_000
SETTINGS = (
    "server_version_num",
    "fsync",
    "full_page_writes",
    "synchronous_commit",
    "autovacuum",
    "track_counts",
    "default_transaction_read_only",
    "statement_timeout",
    "lock_timeout",
    "transaction_timeout",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
)
SHORTEST = {  # milliseconds; what is shorter cuts off work of ours
    "statement_timeout": 30_000,
    "lock_timeout": 1_000,
    "transaction_timeout": 60_000,
    "idle_in_transaction_session_timeout": 10_000,
    "idle_session_timeout": 600_000,
}
CUT_OFF = {
    "statement_timeout": "large commits, sweeps and migrations are cut off in the middle",
    "lock_timeout": "commits that wait for a moment fail, and are tried again and again",
    "transaction_timeout": "transactional steps and migrations are cut off in the middle",
    "idle_in_transaction_session_timeout": "transactional steps lose their connection while they "
    "do other things",
    "idle_session_timeout": "workers that only listen lose their connection again and again",
}
RELOAD = "select pg_reload_conf();"


async def server(look: Examination) -> list[Finding]:
    """Settings as a new session has them."""
    rows = await look.ask(
        "select name, reset_val from pg_settings where name = any (%s)", list(SETTINGS)
    )
    said = {row["name"]: row["reset_val"] for row in rows}
    found = [*of_safety(said), *of_timeouts(said)]
    if int(said["server_version_num"]) < OLDEST:
        found.append(
            Finding(
                "server_version",
                "error",
                "this Postgres is older than 15",
                "our SQL is written for 15 to 18",
                ("upgrade the server",),
            )
        )
    [row] = await look.ask("select pg_is_in_recovery() as standby")
    if row["standby"]:
        found.append(
            Finding(
                "standby",
                "error",
                "this server is a standby: nothing can be written",
                "no run starts, and no worker can claim or commit",
                ("let DATABASE_URL name the primary: add target_session_attrs=read-write",),
            )
        )
    elif said["default_transaction_read_only"] == "on":
        remedy = "alter role current_user set default_transaction_read_only = off;"
        found.append(
            Finding(
                "read_only",
                "error",
                "sessions of this role are read-only",
                "no run starts, and no worker can claim or commit",
                (remedy,),
            )
        )
    return found


def of_safety(said: dict[str, str]) -> list[Finding]:
    found: list[Finding] = []
    for setting in ("fsync", "full_page_writes"):
        if said[setting] == "off":
            found.append(
                Finding(
                    f"{setting}_off",
                    "error",
                    f"{setting} is off",
                    "when the machine or the server crashes, the whole database may be broken",
                    (f"alter system set {setting} = on; {RELOAD}",),
                )
            )
    for setting in ("autovacuum", "track_counts"):
        if said[setting] == "off":
            found.append(
                Finding(
                    "autovacuum_off",
                    "error",
                    f"{setting} is off: nobody cleans up after the queue",
                    "each task leaves dead rows; claims get slower without end",
                    (f"alter system set {setting} = on; {RELOAD}",),
                )
            )
    if said["synchronous_commit"] == "off":
        found.append(
            Finding(
                "synchronous_commit_off",
                "info",
                "synchronous_commit is off",
                "what was committed just before a crash of the server may be gone: steps run "
                "again, and a run that somebody was told of may not exist",
                ("alter role current_user set synchronous_commit = on;",),
            )
        )
    return found


def of_timeouts(said: dict[str, str]) -> list[Finding]:
    found: list[Finding] = []
    for setting, shortest in SHORTEST.items():
        value = int(said.get(setting, 0))
        if 0 < value < shortest:
            found.append(
                Finding(
                    "timeout_too_short",
                    "warning",
                    f"{setting} is {value / 1000:g} s for this role",
                    CUT_OFF[setting],
                    (f"alter role current_user set {setting} = 0;",),
                    {"setting": setting, "seconds": value / 1000},
                )
            )
    return found


async def connections(look: Examination) -> list[Finding]:
    [row] = await look.ask(
        "select count(*)::int as used, current_setting('max_connections')::int"
        " - current_setting('superuser_reserved_connections')::int as most"
        " from pg_stat_activity"
        " where coalesce(backend_type, 'client backend') in ('client backend', 'walsender')"
    )
    if row["used"] < row["most"] * look.thresholds.connections:
        return []
    return [
        Finding(
            "connections",
            "warning",
            f"{row['used']} of {row['most']} connections are in use",
            "when none is left, workers and clients wait for one or fail",
            (
                "select usename, application_name, state, count(*) from pg_stat_activity "
                "group by 1, 2, 3 order by 4 desc;",
                "run fewer processes, or put PgBouncer between",
            ),
            row,
        )
    ]


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


async def notifications(look: Examination) -> list[Finding]:
    [row] = await look.ask("select pg_notification_queue_usage()::float8 as usage")
    if row["usage"] < look.thresholds.notify_queue:
        return []
    return [
        Finding(
            "notify_queue",
            "warning",
            f"the queue of notifications is {row['usage']:.0%} full",
            "when it is full, every commit that notifies fails; a session that listens sits in an "
            "open transaction",
            ("end the oldest transaction: see old_transaction",),
            row,
        )
    ]
