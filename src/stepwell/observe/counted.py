"""What each event counts as, in metrics: pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from stepwell.observe import events, meters
from stepwell.observe.events import Event
from stepwell.observe.meters import Meter

Count = tuple[Meter, float, tuple[str, ...]]  # by how much, or what was observed; labels


def counted(event: Event) -> Iterator[Count]:
    match event:
        case events.TaskEvent():
            yield from _of_attempt(event)
        case events.BatchCommitted():
            what = "claim" if not event.size else "both" if event.claimed else "commit"
            yield meters.TURN_SECONDS, event.seconds, (what,)
            if event.size:
                yield meters.COMMITTED, event.size, ()
            if event.claimed:
                yield meters.CLAIMED, event.claimed, ()
        case events.RunEnded():
            yield meters.RUNS_ENDED, 1, (event.flow, event.kind, event.status)
            yield meters.RUN_SECONDS, event.seconds, (event.flow,)
        case _:
            yield from _of_message(event)


def unlucky(
    steps: Iterable[tuple[str, str, str]], queues: Iterable[str]
) -> Iterator[tuple[Meter, tuple[str, ...]]]:
    """What may go wrong with these steps (kind, flow, step) and queues."""
    for kind, flow, step in steps:
        yield meters.ATTEMPTS, (flow, step, "failed")
        yield meters.ATTEMPTS, (flow, step, "gave_up")
        yield meters.RUNS_ENDED, (flow, kind, "failed")
        yield meters.DROPPED, (flow,)
        yield meters.HELD, (flow,)
    for queue in queues:
        yield meters.MESSAGES, (queue, "retried")
        yield meters.MESSAGES, (queue, "dead")
    yield meters.RECLAIMED, ("requeued",)
    yield meters.RECLAIMED, ("failed",)


def _of_attempt(event: events.TaskEvent) -> Iterator[Count]:
    where = (event.flow, event.step)
    match event:
        case events.TaskStarted(waited=float(waited)):
            yield meters.WAIT_SECONDS, waited, (event.flow,)
        case events.TaskSucceeded():
            yield meters.ATTEMPTS, 1, (*where, event.outcome)
            yield meters.ATTEMPT_SECONDS, event.seconds, where
        case events.TaskFailed():
            yield meters.ATTEMPTS, 1, (*where, "failed" if event.will_retry else "gave_up")
            yield meters.ATTEMPT_SECONDS, event.seconds, where
        case events.ErrorHandled():
            yield meters.ATTEMPTS, 1, (*where, "handled")
            yield meters.ATTEMPT_SECONDS, event.seconds, where
        case events.TaskReleased():
            yield meters.ATTEMPTS, 1, (*where, "released")
        case events.OutcomeDropped():
            yield meters.DROPPED, 1, (event.flow,)
        case events.OutcomeHeld():
            yield meters.HELD, 1, (event.flow,)
        case _:
            pass


def _of_message(event: Event) -> Iterator[Count]:
    match event:
        case events.MessageArchived():
            yield meters.MESSAGES, 1, (event.queue, "archived")
            yield meters.MESSAGE_SECONDS, event.seconds, (event.queue,)
        case events.MessageFailed():
            ended = "dead" if event.retry_in is None else "retried"
            yield meters.MESSAGES, 1, (event.queue, ended)
            yield meters.MESSAGE_SECONDS, event.seconds, (event.queue,)
        case events.MessageReleased():
            yield meters.MESSAGES, 1, (event.queue, "released")
        case events.MessageLost():
            yield meters.MESSAGES, 1, (event.queue, "lost")
        case _:
            yield from _seldom(event)


def _seldom(event: Event) -> Iterator[Count]:
    match event:
        case events.CommitFailed():
            yield meters.REFUSED, 1, ()
        case events.TasksReclaimed():
            yield meters.RECLAIMED, event.requeued, ("requeued",)
            yield meters.RECLAIMED, event.failed, ("failed",)
        case events.RunsPruned():
            yield meters.PRUNED, event.runs, ()
        case events.WorkerLapsed():
            yield meters.LAPSED, 1, ()
        case events.DatabaseLost():
            yield meters.OUTAGES, 1, ()
        case _:
            pass
