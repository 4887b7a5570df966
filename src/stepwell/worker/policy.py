"""Whether and when there is another attempt, as far as the code says it. The rest is counted out by
the database, which has the plain policies as options."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from stepwell.define.backoff import ByError
from stepwell.define.duration import seconds
from stepwell.define.options import RunOptions, StepOptions
from stepwell.define.outcome import Failed, Outcome, Retry
from stepwell.errors import DefinitionError
from stepwell.worker.failure import both, failed

Pause = Callable[[int], Any]


@dataclass(frozen=True, slots=True)
class Policy:
    """What a step and its definition say. `by_error`: those of the step, then those of the
    definition."""

    no_retry: tuple[type[BaseException], ...] = ()
    backoff: Pause | None = None
    by_error: tuple[ByError, ...] = ()

    def judged(self, outcome: Outcome, attempt: int) -> Outcome:
        """A failed attempt that no retry can help is final; another waits as long as its error, or
        a function of theirs, says. One that says nothing sensible is named in the stored error."""
        if not isinstance(outcome, Failed) or outcome.permanent or outcome.delay is not None:
            return outcome
        if any(isinstance(error, self.no_retry) for error in outcome.errors):
            return replace(outcome, permanent=True)
        if (asked := _asked(outcome)) is not None:
            return replace(outcome, delay=asked)
        if (pause := self._pause(outcome)) is None:
            return outcome
        try:
            return replace(outcome, delay=seconds(pause(attempt), "what backoff returned"))
        except BaseException as error:
            return both(outcome, failed(error), "its backoff function failed")

    def timed(self, outcome: object, failure: Failed, attempt: int) -> object:
        """What on_error answered: a Retry without a delay has the one that this policy gives."""
        if not isinstance(outcome, Retry) or outcome.delay is not None or failure.permanent:
            return outcome
        judged = self.judged(failure, attempt)
        delay = judged.delay if isinstance(judged, Failed) else None
        return outcome if delay is None else Retry(delay)

    def _pause(self, outcome: Failed) -> Pause | None:
        """By the class of the error, the nearest of its bases; or for all."""
        bases = type(outcome.errors[0]).__mro__ if outcome.errors else ()
        for by_error in self.by_error:
            for cls in bases:
                if cls in by_error:
                    return by_error[cls]
        return self.backoff


UNSAID = Policy()


def policy_of(around: RunOptions, step: StepOptions | None = None) -> Policy:
    """What a step says goes before what its definition says. A step that has a backoff of its own
    has all of it; one that has it for some errors only adds them."""
    step = step or StepOptions()
    backoff = step.backoff or around.backoff
    mappings = (step.backoff_by, around.backoff_by if step.backoff is None else None)
    made = Policy(
        around.no_retry if step.no_retry is None else step.no_retry,
        backoff if callable(backoff) else None,
        tuple(each for each in mappings if each),
    )
    return UNSAID if made == UNSAID else made


def _asked(outcome: Failed) -> float | None:
    """What the error itself says. Others' attributes of that name may be anything."""
    for error in outcome.errors[:1]:
        try:
            return seconds(getattr(error, "retry_after", None), "")
        except DefinitionError:
            return None
        except BaseException:  # a property of theirs
            return None
    return None
