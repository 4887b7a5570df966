"""What of a server hurts a queue: its settings, its connections."""

from __future__ import annotations

from stepwell.db.doctor.finding import Examination, Finding

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
