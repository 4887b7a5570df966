"""
Every error we raise, and where it comes from.

StepwellError
├── DefinitionError      the flow you wrote cannot work (raised where it is written)
│   └── InvalidDefinition  a flow made from data cannot work; `reason` says why in a word
├── PayloadError         a value is not JSON, or does not fit its annotation
│   ├── InvalidArgument  an argument of a call can mean nothing; `reason` says why in a word
│   └── PayloadTooLarge  more bytes than max_payload allows, or more elements than a map may have
├── SettingsError        a setting is unknown or has an impossible value
├── EmbeddedError        the embedded Postgres cannot be found, started or stopped
├── DatabaseUnavailable  no connection to Postgres (with what to do about it)
├── SchemaError          the database is missing our schema, or is too old or too new
├── NotFound             no such run, flow or step
│   └── NoTarget         the signal had no live run to go to
├── Conflict             that key already belongs to a run of another flow
├── RunFailed            you awaited a run that failed
│   └── RunCancelled     you awaited a run that somebody cancelled
├── RunTimeout           the run had not ended when your timeout had (also a TimeoutError)
├── EventsMissed         who read the events of all runs was away for so long that some are gone
├── ProcessDied          the child process of a body with process=True died under it
├── NotReady             the worker's starter had not converged in time (also a TimeoutError)
├── RetryAfter           raise it in a handler: the next attempt comes after so many seconds
└── PermanentError       raise it in a handler: the task fails at once, without a retry
    └── TransactionError   a handler did with its transaction what only its worker may do

`remedy` is what helps in general; the message says what helps with the thing that it names.
The SQL core raises SQLSTATEs of class "PF"; `from_sqlstate` is the only translator.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import ClassVar
from uuid import UUID


class StepwellError(Exception):
    """Base of every error in this package."""

    sqlstate: ClassVar[str | None] = None
    remedy: ClassVar[str] = "do what the message says"


class DefinitionError(StepwellError):
    """A flow, machine, job or limit that you wrote cannot work: raised where it is written, or when
    a run would need what the database does not have. The message names the step."""

    sqlstate = "PF422"
    remedy: ClassVar[str] = "change the definition, or deploy what the database lacks"


class InvalidDefinition(DefinitionError):
    """A definition that comes as data, or by name, cannot work. `reason` is one word for why, for
    example `unknown_dependency`; `step` is the slug of the step, and `value` what is wrong in it.
    """

    sqlstate = None  # SQL has no such data in its hands
    remedy: ClassVar[str] = "change the data: docs/how-to/flows-from-data.md"

    def __init__(
        self, reason: str, message: str, *, step: str | None = None, value: object = None
    ) -> None:
        super().__init__(reason, message)
        self.reason = reason
        self.message = message
        self.step = step
        self.value = value

    def __str__(self) -> str:
        return self.message


class PayloadError(StepwellError):
    """A value is not JSON, or does not fit its annotation. The message has the path inside it."""

    remedy: ClassVar[str] = "make the value fit: docs/how-to/payloads.md"


class PayloadTooLarge(PayloadError):
    """A value has more bytes, or a map more elements, than a limit allows. The message names it."""

    sqlstate = "PF413"
    remedy: ClassVar[str] = "say less, or raise the limit: docs/how-to/payloads.md"


class InvalidArgument(PayloadError, ValueError):
    """An argument of a call can mean nothing. `reason` is one word for why: `invalid_id`,
    `invalid_delay_seconds`, `invalid_scheduled_at`, `invalid_timeout` or `invalid_poll_interval`.
    """

    remedy: ClassVar[str] = "correct the call; `value` is what was wrong"

    def __init__(self, reason: str, message: str, *, value: object = None) -> None:
        super().__init__(reason, message)
        self.reason = reason
        self.message = message
        self.value = value

    def __str__(self) -> str:
        return self.message


class SettingsError(StepwellError):
    """A setting is unknown or has an impossible value. The message says what was probably meant."""

    remedy: ClassVar[str] = "correct or unset it: docs/reference/settings.md"


class EmbeddedError(StepwellError):
    """The embedded Postgres cannot be found, started or stopped."""

    remedy: ClassVar[str] = (
        "name a server with DATABASE_URL, or see docs/how-to/embedded-postgres.md"
    )


class DatabaseUnavailable(StepwellError):
    """There is no connection to Postgres within `connect_timeout`, or it refused the password or
    the database."""

    remedy: ClassVar[str] = (
        "check DATABASE_URL and that the server runs and accepts connections "
        "(for development: `stepwell db start`, then `export DATABASE_URL=$(stepwell db url)`)"
    )

    def __str__(self) -> str:
        return f"{super().__str__() or 'no connection to Postgres'}; {self.remedy}"


class SchemaError(StepwellError):
    """The database is missing our schema, or its schema is too old or too new."""

    remedy: ClassVar[str] = "run `stepwell migrate`, or the code that fits the database"


class NotFound(StepwellError):
    """No such run, flow, machine, job, version or step."""

    sqlstate = "PF404"
    remedy: ClassVar[str] = "see `stepwell runs list` and `stepwell flows list`"


class NoTarget(NotFound):
    """The signal had no live run to go to: there is none, or it has ended."""

    sqlstate = "PF410"
    remedy: ClassVar[str] = "send it while the run is live; a run that starts later does not get it"


class Conflict(StepwellError):
    """That key or run id already belongs to a run of another definition or, where the input is
    checked, to one with another input."""

    sqlstate = "PF409"
    remedy: ClassVar[str] = "use another key, or take the run that has it"


class RunFailed(StepwellError):
    """The awaited run `run_id` failed: at `step`, with an `error_type` that said `message`.
    `start_flow_sync` leaves the run, with the states of its steps, in `run`."""

    remedy: ClassVar[str] = "`stepwell runs show --attempts`; once mended, `stepwell runs retry`"

    ended: ClassVar[str] = "failed"
    run: object = None  # the whole run, where the call that raises this had it

    def __init__(
        self,
        run_id: UUID,
        step: str | None = None,
        error_type: str | None = None,
        message: str | None = None,
    ) -> None:
        super().__init__(run_id, step, error_type, message)
        self.run_id = run_id
        self.step = step
        self.error_type = error_type
        self.message = message

    def __str__(self) -> str:
        where = f" at step {self.step!r}" if self.step else ""
        why = [said for said in (self.error_type, self.message) if said]
        return ": ".join([f"run {self.run_id} {self.ended}{where}", *why])


class RunCancelled(RunFailed):
    """The awaited run was cancelled."""

    remedy: ClassVar[str] = "`stepwell audit` says who did it, `stepwell runs retry` lets it go on"

    ended = "was cancelled"


class RunTimeout(StepwellError, TimeoutError):
    """The awaited run, and so many `others`, had not ended within `timeout` seconds. The run itself
    goes on."""

    remedy: ClassVar[str] = "wait again, or ask `stepwell runs explain` why it does not end"

    def __init__(self, run_id: UUID, timeout: float, others: int = 0) -> None:
        super().__init__(run_id, timeout, others)
        self.run_id = run_id
        self.timeout = timeout
        self.others = others

    def __str__(self) -> str:
        more = f" and {self.others} more" if self.others else ""
        return (
            f"run {self.run_id}{more} had not ended after {self.timeout:g} s; "
            "it goes on: wait again, or cancel it"
        )


class EventsMissed(StepwellError):
    """Who read the events of all runs was away for so long that some of them are gone."""

    remedy: ClassVar[str] = "begin a new stream, and then read the runs as they are now"

    def __str__(self) -> str:
        return (
            "events were not read for minutes, so some are gone; begin a new stream, and then read "
            "the runs as they are now"
        )


class NotReady(StepwellError, TimeoutError):
    """The worker was not ready within `timeout` seconds; `waiting` says what was not, and why. It
    goes on trying."""

    remedy: ClassVar[str] = "wait again, or see `starter.status()`"

    def __init__(self, timeout: float, waiting: list[str]) -> None:
        super().__init__(timeout, waiting)
        self.timeout = timeout
        self.waiting = waiting

    def __str__(self) -> str:
        return (
            f"not ready after {self.timeout:g} s: {', '.join(self.waiting)}; "
            "it goes on trying: wait again, or see starter.status()"
        )


class ProcessDied(StepwellError):
    """The child process in which a body ran (`process=True`) died under it: a crash, a kill, no
    memory left, or `os._exit`. The attempt failed."""

    remedy: ClassVar[str] = "the next attempt has another process: docs/how-to/cpu-bound.md"


class RetryAfter(StepwellError):
    """Raise it in a handler when it is known for how long another try is of no use: the attempt
    failed, and the next one comes after `delay` (seconds or a timedelta)."""

    remedy: ClassVar[str] = "none is needed: the worker tries again"

    def __init__(self, delay: float | timedelta, message: str | None = None) -> None:
        super().__init__(delay, message)
        self.retry_after = delay
        self.message = message

    def __str__(self) -> str:
        return self.message or f"try again after {self.retry_after}"


class PermanentError(StepwellError):
    """Raise it in a handler when trying again cannot help: the task fails without a retry."""

    remedy: ClassVar[str] = "mend what the message names, then `stepwell runs retry`"


class TransactionError(PermanentError):
    """A handler committed, rolled back or closed what is its worker's to end, or asked for a
    connection that it does not have."""

    sqlstate = "PF412"
    remedy: ClassVar[str] = "leave the ends to the worker: docs/how-to/transactional-steps.md"


def _descendants(cls: type[StepwellError]) -> Iterator[type[StepwellError]]:
    for child in cls.__subclasses__():
        yield child
        yield from _descendants(child)


BY_SQLSTATE: dict[str, type[StepwellError]] = {
    cls.sqlstate: cls for cls in _descendants(StepwellError) if cls.sqlstate
}


NO_LIST = " has root map steps but input is "


def from_sqlstate(code: str | None, message: str) -> StepwellError | None:
    """Translate an error of the SQL core; None when it is not ours to explain."""
    if code == "P0001" and NO_LIST in message:  # pgflow's words, without a code of their own
        return PayloadError(f"{message}; give it a list")
    cls = BY_SQLSTATE.get(code or "")
    return cls(message) if cls else None
