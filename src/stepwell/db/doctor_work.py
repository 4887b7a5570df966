"""What stands still, and why: lanes, timers, limits, schedules, messages; as sets, not runs."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime, timedelta

from stepwell.db import diagnose
from stepwell.db.diagnose import ReadyLane, TroubledSchedule, WaitingMessages
from stepwell.db.finding import Examination, Finding, counted, duration
from stepwell.db.workers import WorkerInfo, worker_health

START = "stepwell worker module:app"
SWEEPING = "any worker does it within seconds; none is there, or none gets to it"


async def lanes(look: Examination) -> list[Finding]:
    found: list[Finding] = []
    for lane in await diagnose.ready_lanes().on(look.conn):
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
    for each in await diagnose.worker_clocks(most).on(look.conn):
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
    late = await diagnose.late_timers(margin(look)).on(look.conn)
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
    lost = await diagnose.unclaimed_losses(margin(look)).on(look.conn)
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
        for each in await diagnose.deadly_tasks().on(look.conn)
    ]
    return found


async def gates(look: Examination) -> list[Finding]:
    stuck = await diagnose.stuck_gates(margin(look)).on(look.conn)
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
    runs = [each.run_id for each in await diagnose.runs_without_tasks().on(look.conn)]
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


async def schedules(look: Examination) -> list[Finding]:
    found = await diagnose.troubled_schedules(margin(look)).on(look.conn)
    return [
        late(each)
        if each.late
        else Finding(
            "schedule_fails",
            "warning",
            f"schedule {each.name} started nothing when it fired last: {each.error_message}",
            "its next slots will start nothing either",
            (f"stepwell schedules show {each.name}",),
            {"schedule": each.name},
        )
        for each in found
    ]


def late(each: TroubledSchedule) -> Finding:
    return Finding(
        "late_schedule",
        "error",
        f"schedule {each.name} of {each.flow} was due {duration(each.overdue)} ago",
        f"nobody fired it: {SWEEPING}",
        (START, f"stepwell schedules trigger {each.name}"),
        {"schedule": each.name, "overdue": each.overdue},
    )


async def letters(look: Examination) -> list[Finding]:
    return [
        Finding(
            "dead_letters",
            "warning",
            f"queue {each.queue} has {counted(each.letters, 'dead letter')}",
            "no try could deal with these messages, and nobody will try again by himself",
            (
                f"stepwell queues dead {shlex.quote(each.queue)} --traceback",
                f"stepwell queues resend {shlex.quote(each.queue)} --all",
            ),
            {"queue": each.queue, "letters": each.letters},
        )
        for each in await diagnose.count_dead_letters().on(look.conn)
    ]


async def messages(look: Examination) -> list[Finding]:
    waiting = await diagnose.waiting_messages().on(look.conn)
    return [
        unread(each)
        for each in waiting
        if not each.paused and each.oldest > look.thresholds.queue_age
    ]


def unread(each: WaitingMessages) -> Finding:
    queue = shlex.quote(each.queue)
    return Finding(
        "messages_wait",
        "warning",
        f"queue {queue} has {counted(each.ready, 'message')}, the oldest for "
        f"{duration(each.oldest)}" + ("" if each.served else "; no worker of ours reads it"),
        "more comes in than is read",
        (f"{START} --queues {queue}",),
        {"queue": each.queue, "ready": each.ready, "served": each.served},
    )


async def pruning(look: Examination) -> list[Finding]:
    [state] = await diagnose.pruning_state().on(look.conn)
    if state.idle < look.thresholds.unpruned or state.runs < 1000:
        return []
    return [
        Finding(
            "nothing_is_pruned",
            "warning",
            f"no worker has looked for old runs for {duration(state.idle)}",
            f"there are about {state.runs:.0f} runs, and none of them goes",
            (START, "stepwell prune"),
            {"idle": state.idle, "runs": state.runs},
        )
    ]


def margin(look: Examination) -> timedelta:
    return timedelta(seconds=look.thresholds.late)
