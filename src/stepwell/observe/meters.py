"""Every metric, as a value: its name, what it says, its labels. metrics.py gives them to
Prometheus; the page docs/reference/metrics.md and the dashboard are compared with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "histogram", "gauge"]

# seconds: of a database's answer, of a handler, of a run
QUICK = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
BODIES = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600)
RUNS = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600, 21600, 86400, 604800)
SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500)


@dataclass(frozen=True, slots=True)
class Meter:
    """One metric; its name goes after `stepwell_`. `sampled`: the database is asked for it."""

    name: str
    kind: Kind
    says: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    sampled: bool = False


ATTEMPTS = Meter(
    "attempts_total",
    "counter",
    "attempts by how they ended: completed, the word of a move, failed, gave_up, handled, released",
    ("flow", "step", "outcome"),
)
ATTEMPT_SECONDS = Meter(
    "attempt_seconds", "histogram", "how long handlers ran", ("flow", "step"), BODIES
)
WAIT_SECONDS = Meter(
    "task_wait_seconds", "histogram", "how long tasks were ready before they began", ("flow",), RUNS
)
RUNS_ENDED = Meter(
    "runs_ended_total",
    "counter",
    "runs that outcomes of this worker brought to an end",
    ("flow", "kind", "status"),
)
RUN_SECONDS = Meter(
    "run_seconds", "histogram", "how long those runs took from their start", ("flow",), RUNS
)
DROPPED = Meter(
    "outcomes_dropped_total",
    "counter",
    "outcomes that were not written: the claim was no longer ours",
    ("flow",),
)
HELD = Meter(
    "outcomes_held_total", "counter", "outcomes that waited for who held their run", ("flow",)
)
TURN_SECONDS = Meter(
    "turn_seconds",
    "histogram",
    "how long Postgres took for a turn: commit, claim, or both in one",
    ("what",),
    QUICK,
)
COMMITTED = Meter("batch_committed", "histogram", "outcomes written by a turn", (), SIZES)
CLAIMED = Meter("batch_claimed", "histogram", "tasks taken on by a turn", (), SIZES)
REFUSED = Meter("commits_refused_total", "counter", "outcomes that Postgres refused")
MESSAGES = Meter(
    "messages_total",
    "counter",
    "messages by how a try ended: archived, retried, dead, released, lost",
    ("queue", "outcome"),
)
MESSAGE_SECONDS = Meter(
    "message_seconds", "histogram", "how long handlers of messages ran", ("queue",), BODIES
)
RECLAIMED = Meter(
    "tasks_reclaimed_total",
    "counter",
    "tasks of lost workers that this worker found: requeued or failed",
    ("outcome",),
)
PRUNED = Meter("runs_pruned_total", "counter", "ended runs that this worker deleted")
LAPSED = Meter("leases_lapsed_total", "counter", "leases that this worker lost")
OUTAGES = Meter("database_outages_total", "counter", "how often Postgres went out of reach")
DATABASE_UP = Meter("database_up", "gauge", "1 while Postgres is in reach of this worker")

RUNNING = Meter("worker_running", "gauge", "tasks and messages that this worker has in hand")
CONCURRENCY = Meter("worker_concurrency", "gauge", "tasks that this worker runs at once at most")
LEASE_LEFT = Meter(
    "worker_lease_seconds", "gauge", "for how long the lease of this worker is still good"
)
LINKS = Meter("worker_connections", "gauge", "connections to Postgres that this worker has open")

QUEUE_READY = Meter(
    "queue_ready",
    "gauge",
    "tasks and messages that are ready, counted up to 10,000",
    ("queue",),
    sampled=True,
)
QUEUE_OLDEST = Meter(
    "queue_oldest_seconds",
    "gauge",
    "for how long the oldest of them has been ready",
    ("queue",),
    sampled=True,
)
TASKS = Meter(
    "tasks",
    "gauge",
    "tasks by stage: running, delayed, blocked, parked, paused; counted up to 10,000",
    ("stage",),
    sampled=True,
)
TIMERS_LATE = Meter(
    "timers_late_seconds", "gauge", "how long ago the earliest timer was due", sampled=True
)
SCHEDULES_LATE = Meter(
    "schedules_late_seconds", "gauge", "how long ago the earliest slot was due", sampled=True
)
LIMIT_CAPACITY = Meter(
    "limit_capacity",
    "gauge",
    "slots of a limit, as queue/mail or concurrency/reports (of one by key: per key)",
    ("limit",),
    sampled=True,
)
LIMIT_TAKEN = Meter(
    "limit_taken", "gauge", "slots of a limit that are taken", ("limit",), sampled=True
)
WORKERS = Meter(
    "workers",
    "gauge",
    "workers that have not left: healthy, stale, dead (without a lease); lost: whose lease ran out "
    "in the last 15 minutes",
    ("health",),
    sampled=True,
)
HEARTBEAT_AGE = Meter(
    "heartbeat_age_seconds", "gauge", "how long the most silent worker was silent", sampled=True
)
STEERED = Meter(
    "runs_steered",
    "gauge",
    "runs that were cancelled, retried, restarted or deleted in the last 15 minutes, by whoever, "
    "with the children that a cancel took along; counted up to 10,000",
    ("action",),
    sampled=True,
)
DEAD_LETTERS = Meter(
    "dead_letters",
    "gauge",
    "messages that no try could deal with, counted up to 10,000",
    sampled=True,
)
CONNECTIONS = Meter(
    "connections",
    "gauge",
    "connections of Stepwell to this database, of all its processes, by application name",
    ("application",),
    sampled=True,
)
CONNECTIONS_LIMIT = Meter(
    "connections_limit", "gauge", "connections that Postgres allows, to all", sampled=True
)

METERS = {each.name: each for each in list(globals().values()) if isinstance(each, Meter)}
