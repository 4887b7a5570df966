# made by tools/sync.py out of testing/expect.py: change that, and run `python -m tools.sync`
"""What a test says of a run; where it is not so, the message shows the run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NoReturn
from uuid import UUID

from stepwell.client.identity import Target
from stepwell.client.reading import RunInfo, StepInfo
from stepwell.client.sync.client import SyncClient
from stepwell.testing.expected import ANYTHING, WERE, ErrorLike, as_json, fits
from stepwell.testing.picture import waits_of
from stepwell.testing.sync.picturing import pictured
from stepwell.testing.tally import check_ran


class SyncExpect:
    """Asks of one run, as it is now, what a test expects. Each answers with what it found, or
    raises AssertionError with a picture of the run."""

    def __init__(
        self, client: SyncClient, target: Target, ran: Mapping[tuple[UUID, str], int]
    ) -> None:
        self._client = client
        self._target = target
        self._ran = ran

    def completed(self, output: Any = ANYTHING) -> RunInfo:
        """It completed; with this output, if you say."""
        __tracebackhide__ = True
        run = self._ended_as("completed")
        if output is not ANYTHING and run.output != (wanted := as_json(output)):
            self._fail(run, f"to complete with {wanted!r}, and its output is {run.output!r}")
        return run

    def failed(self, *, step: str | None = None, error: ErrorLike | None = None) -> RunInfo:
        """It failed: at that step, with that error. It is a class, or a pattern that is found in
        "Class: message"."""
        __tracebackhide__ = True
        run = self._ended_as("failed")
        said = f"{run.error_type}: {run.error_message}"
        if step is not None and run.failed_step != step:
            self._fail(run, f"to fail at step {step!r}, and it failed at {run.failed_step!r}")
        if error is not None and not fits(error, run.error_type, said):
            named = error if isinstance(error, str) else error.__name__
            self._fail(run, f"to fail with {named!r}, and it failed with {said!r}")
        return run

    def cancelled(self, reason: str | None = None) -> RunInfo:
        """It was cancelled; for a reason in which that pattern is found."""
        __tracebackhide__ = True
        run = self._ended_as("cancelled")
        if reason is not None and not re.search(reason, run.error_message or ""):
            said = f"to be cancelled because of {reason!r}, and it was because of"
            self._fail(run, f"{said} {run.error_message!r}")
        return run

    def live(self) -> RunInfo:
        """It has not ended."""
        __tracebackhide__ = True
        return self._ended_as("started")

    def waiting_for(self, *signals: str) -> StepInfo:
        """A step of it waits for these signals; without any, for whatever it may be: a signal, a
        time, children, a limit."""
        __tracebackhide__ = True
        run = self.live()
        steps = self._client.run(run.id).steps()
        waiting = [s for s in steps if any(waits_of(s)) or s.status == "waiting"]
        for each in waiting:
            if set(signals) <= set(each.awaits or ()):
                return each
        wanted = " and ".join(map(repr, signals)) or "something"
        found = "; ".join(f"{s.step} {' '.join(waits_of(s)) or 'waits'}" for s in waiting)
        self._fail(run, f"to wait for {wanted}, and {found or 'none of its steps waits'}")

    def skipped(self, *steps: str) -> RunInfo:
        """These of its steps were skipped."""
        __tracebackhide__ = True
        run = self._client.get(self._target)
        found = {s.step: s.status for s in self._client.run(run.id).steps()}
        for step in steps:
            if found.get(step) != "skipped":
                state = f"{step!r} is {found.get(step, 'no step of it')}"
                self._fail(run, f"to skip {step!r}, and {state}")
        return run

    def ran(self, step: Any, times: int | None = None) -> RunInfo:
        """The kit ran this step of it, so often if you say."""
        __tracebackhide__ = True
        run = self._client.get(self._target)
        ran = {name: count for (run_id, name), count in self._ran.items() if run_id == run.id}
        check_ran(step, times, ran, f" of run {run.id}")
        return run

    def _ended_as(self, status: str) -> RunInfo:
        __tracebackhide__ = True
        run = self._client.get(self._target)
        if run.status != status:
            wanted = "to be live" if status == "started" else f"to have {status}"
            wanted = "to be cancelled" if status == "cancelled" else wanted
            now = "it has not ended" if run.status == "started" else f"it {WERE[run.status]}"
            self._fail(run, f"{wanted}, and {now}")
        return run

    def _fail(self, run: RunInfo, said: str) -> NoReturn:
        __tracebackhide__ = True
        picture = pictured(self._client, run)
        raise AssertionError(f"expected run {run.id} of {run.flow!r} {said}\n\n{picture}\n")
