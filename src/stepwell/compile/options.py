"""Options as they stand in a shape."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET

from stepwell.compile.shape import RunOptionsShape, StepOptionsShape
from stepwell.define.options import RunOptions, StepOptions

_AS_THEY_ARE = ("max_attempts", "base_delay", "timeout", "max_delay", "jitter", "priority")


def run_options_shape(options: RunOptions) -> RunOptionsShape:
    """What a definition says for all its steps."""
    return RunOptionsShape(
        **{name: getattr(options, name) for name in _AS_THEY_ARE},
        max_crashes=options.max_crashes,
        queue=options.queue,
        max_running=options.max_running,
        fairness_by=options.fairness_by,
        retention=options.retention,
        backoff=_backoff(options.backoff),
    )


def step_options_shape(
    step: StepOptions, around: RunOptions, *, alone: bool = False
) -> StepOptionsShape:
    """What a step says for itself, and the limits of its definition, which only steps have.

    `alone`: all the rest of the definition's options too, for one whose versions differ in them.
    """
    said: dict[str, Any] = {name: getattr(step, name) for name in (*_AS_THEY_ARE, "backoff")}
    if alone:
        said = {name: getattr(around, name) if v is None else v for name, v in said.items()}
    said["backoff"] = None if said["backoff"] is None else _backoff(said["backoff"])
    said["start_delay"] = step.start_delay
    said["signal_timeout"] = step.signal_timeout
    for use in (step.concurrency or around.concurrency, step.rate_limit or around.rate_limit):
        said |= {} if use is None else use.said
    return StepOptionsShape(**{n: UNSET if v is None else v for n, v in said.items()})


def _backoff(backoff: Any) -> Any:
    return "custom" if callable(backoff) else backoff
