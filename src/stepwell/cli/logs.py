"""How a worker says what happens: log lines for people or machines, or one line per step."""

from __future__ import annotations

import logging
import sys
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

import msgspec
from rich.console import Console
from rich.text import Text

from stepwell.cli.output import seconds, shortened
from stepwell.observe import events
from stepwell.observe.events import Event
from stepwell.observe.logs import log_event
from stepwell.observe.traces import current_ids

Style = Literal["human", "json", "steps"]
MessageEvent = events.MessageArchived | events.MessageFailed | events.MessageReleased
REMEMBERED = 1000  # runs whose id was printed; an old one is simply told again


def subscriber(style: Style | None, level: int) -> Callable[[Event], None]:
    """Set logging up for this process, and answer what to subscribe to the events."""
    style = style or ("human" if sys.stderr.isatty() else "json")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if style == "json" else human_lines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("stepwell").setLevel(level)
    return StepLines(Console(highlight=False, soft_wrap=True)) if style == "steps" else log_event


def human_lines() -> logging.Formatter:
    return logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", datefmt="%H:%M:%S")


class JsonLines(logging.Formatter):
    """One JSON object per record; an event's fields are keys of their own."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {"time": moment, "level": record.levelname.lower()}
        event = getattr(record, "event", None)
        if isinstance(event, Event):
            line["event"] = type(event).__name__
            line |= {field.name: getattr(event, field.name) for field in fields(event)}
        else:
            line |= {"logger": record.name, "message": record.getMessage()}
        line |= current_ids()
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line, enc_hook=str).decode()


class StepLines:
    """One line per finished task or message, and one with the id when a run first shows up."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._seen: OrderedDict[UUID, None] = OrderedDict()
        self._down: set[str] = set()  # what did not come up

    def __call__(self, event: Event) -> None:
        match event:
            case events.TaskStarted():
                self._introduce(event)
            case events.TaskEvent():
                self._ended(event)
            case events.WorkerStarted():
                up = [slug for slug in event.flows if slug not in self._down]
                self._line("serving ", ", ".join(up) or "no flow, machine or job", style="bold")
            case events.DatabaseLost():
                self._line("database lost: ", event.error, style="red")
            case events.DatabaseBack():
                self._line("database back after ", seconds(event.seconds), style="green")
            case events.ModuleEvent():
                self._came_up(event)
            case events.FlowNotServed():
                self._line("not served: ", shortened(event.reason, 200), style="yellow")
            case _:
                self._other(event)

    def _came_up(self, event: events.ModuleEvent) -> None:
        """A line where a flow, machine or job did not, and where it did after all."""
        what, reason = f"{event.module_type} {event.module}", shortened(event.reason or "", 200)
        match event:
            case events.StarterSuccess() if event.module in self._down:
                self._down.discard(event.module)
                self._line(f"{what} ", "is served now", style="green")
            case events.StarterRetryScheduled() if event.module not in self._down:
                self._down.add(event.module)
                self._line(f"{what} did not come up, is tried again: ", reason, style="yellow")
            case events.StarterFailed():
                self._down.add(event.module)
                self._line(f"{what} is not served: ", reason, style="red")
            case _:
                pass

    def _ended(self, event: events.TaskEvent) -> None:
        match event:
            case events.TaskSucceeded():
                self._task(event, "✓", "green", seconds(event.seconds))
            case events.TaskFailed():
                then = "tries again" if event.will_retry else "gives up"
                style = "yellow" if event.will_retry else "red"
                self._task(event, "✗", style, f"attempt {event.attempt} {then} {error_of(event)}")
            case events.ErrorHandled():
                then = f"attempt {event.attempt} is handled by on_error: {event.outcome}"
                self._task(event, "✗", "yellow", f"{then} {error_of(event)}")
            case events.TaskReleased():
                self._task(event, "↩", "yellow", "given back, runs again")
            case _:
                pass

    def _not_archived(self, event: events.ArchiveFailed | events.RunNotArchived) -> None:
        what, said = f"runs of {event.flow} are not archived: ", shortened(event.message, 200)
        if isinstance(event, events.RunNotArchived):
            what = f"run {event.run_id} of {event.flow} cannot be archived: "
        else:
            said = f"{event.error_type}: {said}"
        self._line(what, said, style="red")

    def _other(self, event: Event) -> None:
        match event:
            case events.ArchiveFailed() | events.RunNotArchived():
                self._not_archived(event)
            case events.QueueOpened():
                self._line("reading queue ", event.queue, style="bold")
            case events.QueueFailed():
                self._line(f"queue {event.queue}: ", shortened(event.error, 200), style="red")
            case events.MessageArchived():
                self._message(event, "✓", "green", seconds(event.seconds))
            case events.MessageFailed(retry_in=None):
                self._message(event, "✗", "red", f"is a dead letter {error_of(event)}")
            case events.MessageFailed():
                said = f"try {event.read_ct} failed, tries again {error_of(event)}"
                self._message(event, "✗", "yellow", said)
            case events.MessageReleased():
                self._message(event, "↩", "yellow", "given back, is read again")
            case _:
                pass

    def _message(self, event: MessageEvent, mark: str, style: str, said: str) -> None:
        what = f" message {event.msg_id} of {event.queue}  "
        self._console.print(
            Text.assemble((clock(), "dim"), "  ", (mark, style), what, (said, style))
        )

    def _introduce(self, event: events.TaskEvent) -> None:
        if event.run_id in self._seen:
            return
        self._seen[event.run_id] = None
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        self._line(f"{event.flow} ", str(event.run_id), style="bold")

    def _task(self, event: events.TaskEvent, mark: str, style: str, said: str) -> None:
        index = f"[{event.task_index}]" if event.task_index else ""
        run = str(event.run_id)[-4:]
        self._console.print(
            Text.assemble(
                (clock(), "dim"),
                f"  {run}  ",
                (mark, style),
                f" {event.step}{index}  ",
                (said, style),
            )
        )

    def _line(self, first: str, rest: str, *, style: str) -> None:
        self._console.print(Text.assemble((clock(), "dim"), "  ", (first, style), rest))


def error_of(event: events.TaskFailed | events.ErrorHandled | events.MessageFailed) -> str:
    return f"({event.error_type}: {shortened(event.message, 200)})"


def clock() -> str:
    return time.strftime("%H:%M:%S")
