"""What the handler of a flow step or of a job returned or raised, as an outcome."""

from __future__ import annotations

from dataclasses import replace

from stepwell.db.claim import Task
from stepwell.define.outcome import Cancel, Completed, Moved, Outcome, Snooze
from stepwell.define.payload import check_size, encode
from stepwell.errors import DefinitionError, PayloadError, PayloadTooLarge
from stepwell.worker.failure import failed
from stepwell.worker.guard import Raised, Returned


def outcome_of(task: Task, ended: Returned | Raised) -> Outcome:
    """Snooze and Cancel mean the same whether they are returned or raised."""
    said = ended.value if isinstance(ended, Returned) else ended.error
    match said:
        case Snooze():
            return Moved("snooze", encode({"delay": said.delay}))
        case Cancel():
            return Moved("cancelled", b"null", message=said.reason)
        case _:
            if isinstance(ended, Raised):
                return finally_failed(ended).failed
            return completed(task, ended.value)


def finally_failed(raised: Raised) -> Raised:
    """An outcome that cannot be made cannot be made by a retry either. What the database refuses
    as a definition may be there later."""
    if not isinstance(raised.error, DefinitionError) or not _is_of_definitions(raised.error):
        return raised
    return replace(raised, failed=replace(raised.failed, permanent=True))


def _is_of_definitions(error: BaseException) -> bool:
    last = error.__traceback__
    while last and last.tb_next:
        last = last.tb_next
    module: str = last.tb_frame.f_globals.get("__name__", "") if last else ""
    return module.startswith("stepwell.define.")


def bounded(task: Task, outcome: Outcome, most: int) -> Outcome:
    """The outcome, or a failed attempt when it is larger than the setting `max_payload` allows: it
    is not even sent."""
    try:
        match outcome:
            case Completed(output):
                check_size(output, most, f"the output of step {task.step_slug!r}")
            case Moved(_, move):  # state, result and children together
                check_size(move, most, f"what step {task.step_slug!r} answered with")
            case _:
                pass
    except PayloadTooLarge as error:
        return failed(error)
    return outcome


def completed(task: Task, value: object) -> Outcome:
    try:
        payload = encode(value)
        payload.decode()  # a msgspec.Raw may hold any bytes
        return Completed(payload)
    except (PayloadError, UnicodeDecodeError) as error:
        return failed(error, says=f"the output of step {task.step_slug!r} is not JSON: {error}")
