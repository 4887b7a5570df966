"""Subscriber: one log line per event, `key=value`. A failed attempt is a warning, never hidden."""

from __future__ import annotations

import logging
from dataclasses import fields

from stepwell.observe import events
from stepwell.observe.events import Event

log = logging.getLogger("stepwell")

LEVELS: dict[type[Event], int] = {
    events.TaskFailed: logging.WARNING,
    events.ErrorHandled: logging.WARNING,
    events.AttemptRepeated: logging.WARNING,
    events.OutcomeDropped: logging.WARNING,
    events.OutcomeHeld: logging.WARNING,
    events.CommitFailed: logging.WARNING,
    events.NotesLost: logging.WARNING,
    events.TasksReclaimed: logging.WARNING,
    events.FlowNotServed: logging.WARNING,
    events.FlowEnsured: logging.INFO,
    events.FlowDeleted: logging.INFO,
    events.WorkerLapsed: logging.WARNING,
    events.DatabaseLost: logging.ERROR,
    events.MeasuringFailed: logging.WARNING,
    events.DatabaseBack: logging.INFO,
    events.MessageFailed: logging.WARNING,
    events.MessageRepeated: logging.WARNING,
    events.MessageLost: logging.WARNING,
    events.QueueFailed: logging.WARNING,
    events.QueueOpened: logging.INFO,
    events.MessageReleased: logging.INFO,
    events.TaskReleased: logging.INFO,
    events.ProcessStarted: logging.INFO,
    events.ProcessEnded: logging.WARNING,
    events.WorkerStarted: logging.INFO,
    events.SettingUnused: logging.WARNING,
    events.WorkerStopping: logging.INFO,
    events.WorkerStopped: logging.INFO,
    events.StarterRetryScheduled: logging.WARNING,
    events.StarterFailed: logging.ERROR,
    events.StarterSuccess: logging.INFO,
    events.StarterReady: logging.INFO,
    events.RunsPruned: logging.INFO,
    events.AuditPruned: logging.INFO,
    events.RunsArchived: logging.INFO,
    events.ArchiveFailed: logging.ERROR,
    events.RunNotArchived: logging.ERROR,
}


def log_event(event: Event) -> None:
    """Write one event to the `stepwell` logger. Subscribe it: `with subscribed(log_event):`."""
    level = LEVELS.get(type(event), logging.DEBUG)
    if log.isEnabledFor(level):
        log.log(level, "%s", line(event), extra={"event": event})


def line(event: Event) -> str:
    values = (f"{f.name}={_shown(getattr(event, f.name))}" for f in fields(event))
    return " ".join([type(event).__name__, *values])


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    text = str(value)
    return repr(text) if " " in text or "\n" in text or not text else text
