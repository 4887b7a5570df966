"""What nobody looks after: schedules, messages, old runs."""

from __future__ import annotations

import shlex

from stepwell.db.doctor import ask
from stepwell.db.doctor.ask import TroubledSchedule, WaitingMessages
from stepwell.db.doctor.finding import Examination, Finding, counted, duration

START = "stepwell worker module:app"
SWEEPING = "any worker does it within seconds; none is there, or none gets to it"


async def schedules(look: Examination) -> list[Finding]:
    found = await ask.troubled_schedules(look.margin).on(look.conn)
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
        for each in await ask.count_dead_letters().on(look.conn)
    ]


async def messages(look: Examination) -> list[Finding]:
    waiting = await ask.waiting_messages().on(look.conn)
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
    [state] = await ask.pruning_state().on(look.conn)
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


async def archives(look: Examination) -> list[Finding]:
    idle, days = look.thresholds.unpruned, look.settings.retention
    return [
        Finding(
            "nothing_is_archived",
            "warning",
            f"old runs of {each.flow} wait for an archive, the oldest for {duration(each.waited)}",
            "they go once an archive has them, and no worker that has one looked at them",
            (START, f"stepwell prune --flow {each.flow} --to runs.jsonl"),
            {"flow": each.flow, "waited": each.waited},
        )
        for each in await ask.unarchived(idle, days).on(look.conn)
    ]


async def refusals(look: Examination) -> list[Finding]:
    return [
        Finding(
            "run_not_archived",
            "warning",
            f"{counted(each.runs, 'old run')} of {each.flow} cannot be archived; of "
            f"{each.run_id}: {each.message}",
            "workers try again every day; what is not archived does not go by itself",
            (
                f"select * from pgflow.run_steps('{each.run_id}');",  # noqa: S608
                f"stepwell runs delete {each.run_id}",
            ),
            {"flow": each.flow, "runs": each.runs, "run": str(each.run_id)},
        )
        for each in await ask.refused_runs().on(look.conn)
    ]
