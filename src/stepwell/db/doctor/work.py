"""What stands still, and why: lanes, workers, timers, limits; as sets, not runs."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime

from stepwell.db.doctor import ask
from stepwell.db.doctor.ask import ReadyLane
from stepwell.db.doctor.finding import Examination, Finding, counted, duration
from stepwell.db.workers import WorkerInfo, worker_health

START = "stepwell worker module:app"
SWEEPING = "any worker does it within seconds; none is there, or none gets to it"


async def lanes(look: Examination) -> list[Finding]:
    found: list[Finding] = []
    for lane in await ask.ready_lanes().on(look.conn):
        if lane.paused:
            found += paused(lane, look.thresholds.queue_age)
        elif lane.reason:
            found.append(unserved(lane))
        elif lane.oldest > look.thresholds.queue_age:
            found.append(behind(lane))
    return found


def tasks_of(lane: ReadyLane) -> str:
    return (
        f"{counted(lane.ready, 'task')} of {lane.flow}, version {lane.version}, in queue "
        f"{lane.queue}: the oldest for {duration(lane.oldest)}"
    )


def facts_of(lane: ReadyLane) -> dict[str, object]:
    return {
        "queue": lane.queue,
        "flow": lane.flow,
        "version": lane.version,
        "ready": lane.ready,
        "oldest": lane.oldest,
    }


def paused(lane: ReadyLane, age: float) -> list[Finding]:
    if lane.oldest < age:
        return []
    name = shlex.quote(lane.queue if lane.paused == "queue" else lane.flow)
    return [
        Finding(
            "paused",
            "warning",
            f"{tasks_of(lane)}; the {lane.paused} {name} is paused",
            "it stands still until somebody resumes it",
            (f"stepwell {lane.paused}s resume {name}",),
            facts_of(lane),
        )
    ]


def unserved(lane: ReadyLane) -> Finding:
    return Finding(
        str(lane.reason),
        "error",
        f"{tasks_of(lane)}; {lane.said}",
        "they stay where they are until somebody takes them on",
        (lane.remedy or START,),
        facts_of(lane),
    )


def behind(lane: ReadyLane) -> Finding:
    return Finding(
        "queue_is_behind",
        "warning",
        tasks_of(lane),
        "more comes in than is worked off, or a limit is too narrow",
        (
            f"start more workers: {START} --concurrency 50",
            "stepwell runs explain RUN of one of them says what it waits for",
        ),
        facts_of(lane),
    )


async def workers(look: Examination) -> list[Finding]:
    """Those that did not say that they stopped. Foreign ones may never do."""
    there = await worker_health().on(look.conn)
    ours = [each for each in there if each.pid is not None]
    found = [silent(each) for each in ours if each.health != "healthy"]
    if not any(each.health == "healthy" for each in there):
        what, why = "no worker is there", "nothing that is started will run"
        found.append(Finding("nobody_works", "info", what, why, (START,)))
    return found


def silent(each: WorkerInfo) -> Finding:
    where = f" on {each.host}" if each.host else ""
    return Finding(
        "silent_worker",
        "warning",
        f"worker {each.name}{where} (pid {each.pid}) was not heard of for {duration(each.silent)}",
        "it died or hangs, and no worker is there to take its tasks back"
        if each.health == "dead"
        else "it hangs, or its way to the database is broken",
        (START, f"stepwell workers drain {str(each.id)[:8]}"),
        {"worker": each.id, "silent": each.silent},
    )


async def clocks(look: Examination) -> list[Finding]:
    """This machine's, and those of the workers when they began."""
    most = look.thresholds.clock
    before = datetime.now(UTC)
    [row] = await look.ask("select clock_timestamp() as at")
    middle = before + (datetime.now(UTC) - before) / 2
    ahead = (middle - row["at"]).total_seconds()
    off = [("this machine", ahead)] if abs(ahead) > most else []
    for each in await ask.worker_clocks(most).on(look.conn):
        off.append((f"worker {each.name} on {each.host}", each.ahead))
    return [
        Finding(
            "clock_skew",
            "warning",
            f"the clock of {who} is {duration(abs(ahead))} "
            f"{'ahead of' if ahead > 0 else 'behind'} the database's",
            "times that its programs give (delay until, at=) come too early or too late, and its "
            "logs do not fit the others'",
            ("keep both on time: timedatectl set-ntp true",),
            {"ahead": ahead},
        )
        for who, ahead in off
    ]


async def timers(look: Examination) -> list[Finding]:
    late = await ask.late_timers(look.margin).on(look.conn)
    return [
        Finding(
            "late_timers",
            "error",
            f"{counted(each.late, 'task')} had their time and were not woken: the oldest "
            f"{duration(each.oldest)} ago",
            f"sleeps, retries and deadlines stand still: {SWEEPING}",
            (START,),
            {"tasks": each.late},
        )
        for each in late
    ]


async def losses(look: Examination) -> list[Finding]:
    lost = await ask.unclaimed_losses(look.margin).on(look.conn)
    found = [
        Finding(
            "lost_tasks",
            "error",
            f"{counted(each.tasks, 'task')} of {each.flow}: in the hands of a worker that is gone, "
            f"or past its timeout; the oldest began {duration(each.oldest)} ago",
            f"nobody took them back: {SWEEPING}",
            (START,),
            {"flow": each.flow, "tasks": each.tasks},
        )
        for each in lost
    ]
    found += [
        Finding(
            "deadly_task",
            "warning",
            f"step {each.step} of {each.flow} lost {each.lost} workers in a row",
            "it may be what ends them: too much memory, a crash of the process",
            (f"stepwell runs show {each.run_id} --attempts", f"stepwell runs pause {each.run_id}"),
            {"run_id": each.run_id, "step": each.step, "lost": each.lost},
        )
        for each in await ask.deadly_tasks().on(look.conn)
    ]
    return found


async def gates(look: Examination) -> list[Finding]:
    stuck = await ask.stuck_gates(look.margin).on(look.conn)
    return [
        Finding(
            "stuck_limit",
            "error",
            f"{counted(each.waiting, 'task', 1000)} waiting for {each.gate}, "
            + (
                f"{each.lost} of whose {each.capacity} slots belong to workers that are gone"
                if each.lost
                else f"which has room: {each.taken} of {each.capacity} slots are taken"
            ),
            f"nobody freed the slots or woke the tasks: {SWEEPING}",
            (START,),
            {"waiting": each.waiting, "taken": each.taken, "lost": each.lost},
        )
        for each in stuck
    ]


async def bare_runs(look: Examination) -> list[Finding]:
    runs = [each.run_id for each in await ask.runs_without_tasks().on(look.conn)]
    if not runs:
        return []
    return [
        Finding(
            "nothing_is_open",
            "error",
            f"{counted(len(runs), 'live run', 20)} without an open task, such as {runs[0]}",
            "nothing will ever end them: somebody changed their rows, or this is a defect of ours",
            (f"stepwell runs cancel {runs[0]} && stepwell runs retry {runs[0]}",),
            {"runs": runs},
        )
    ]
