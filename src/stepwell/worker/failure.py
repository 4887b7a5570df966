"""Why an attempt failed, as text that a column holds."""

from __future__ import annotations

import traceback
from dataclasses import replace

from stepwell.define.outcome import Failed

LONGEST_MESSAGE = 10_000
LONGEST_TRACEBACK = 50_000


class FailedElsewhere(Exception):
    """A body in another process failed; what is kept of that was said there."""

    def __init__(self, failed: Failed) -> None:
        super().__init__(f"{failed.error_type}: {failed.message}")
        self.failed = failed


def failed(error: BaseException, *, permanent: bool = False, says: str | None = None) -> Failed:
    """What is kept of an attempt that ended with this error."""
    if isinstance(error, FailedElsewhere) and says is None:
        return error.failed
    message = says if says is not None else said_by(error)
    said = (type(error).__name__, no_novel(message), shown(error), permanent)
    return Failed(*said, errors=(error,))


def failed_as(error_type: str, message: str, trace: str = "", *, permanent: bool = False) -> Failed:
    """What is kept of an attempt that ended for a reason of ours."""
    return Failed(error_type, no_novel(message), trace, permanent)


def both(first: Failed, second: Failed, where: str) -> Failed:
    """One failure on top of another, which came `where` the first was dealt with."""
    half = LONGEST_MESSAGE // 2
    said = f"{clean(first.message, half)}; then {where}: {second.error_type}: {second.message}"
    traces = [trace for trace in (first.traceback, second.traceback) if trace]
    return replace(
        first,
        message=no_novel(said),
        traceback=clean("\n".join(traces), LONGEST_TRACEBACK, keep_end=True),
        permanent=first.permanent or second.permanent,
        errors=first.errors + second.errors,
    )


def said_by(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException:
        return f"(the message of this {type(error).__name__} could not be read)"


def shown(error: BaseException) -> str:
    """The traceback from the handler on, without our own frames; the end matters most."""
    frames = error.__traceback__
    while frames and frames.tb_frame.f_globals.get("__name__", "").startswith("stepwell.worker"):
        frames = frames.tb_next
    try:
        text = "".join(traceback.format_exception(type(error), error, frames))
    except BaseException:
        text = f"{type(error).__name__} (its traceback could not be formatted)"
    return clean(text, LONGEST_TRACEBACK, keep_end=True)


def described(value: object) -> str:
    """A value in a message: short, whatever its repr does."""
    try:
        return clean(repr(value), 200)
    except BaseException:
        return f"a value of type {type(value).__name__}"


def no_novel(message: str) -> str:
    return clean(message, LONGEST_MESSAGE)


def clean(text: str, longest: int, *, keep_end: bool = False) -> str:
    """What a text column holds: no U+0000, no half characters, no novels."""
    text = text.replace("\0", "\N{REPLACEMENT CHARACTER}")
    text = text.encode("utf-8", "replace").decode()
    if len(text) <= longest:
        return text
    return f"…{text[-longest:]}" if keep_end else f"{text[:longest]}…"
