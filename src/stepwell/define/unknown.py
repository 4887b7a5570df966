"""Annotations that say nothing, for what they name is not there when they are read."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from itertools import chain

from stepwell.define.registry import Registry


def warn_of_unknown(registry: Registry) -> None:
    """Say which values come as plain JSON, although something else is written beside them."""
    for what, name in chain(_of_flows(registry), _of_machines(registry), _of_jobs(registry)):
        value = "what it returns" if name == "return" else repr(name)
        warnings.warn(
            f"{what}: the annotation of {value} names something that is not there when it is read, "
            "so the value stays plain JSON, unchecked; import it outside of `if TYPE_CHECKING:`, "
            "or define it above",
            stacklevel=3,  # where the app is made
        )


def _of_flows(registry: Registry) -> Iterator[tuple[str, str]]:
    for flow in registry.flows.values():
        for step in flow.steps.values():
            contexts = {p.name for p in step.parameters if p.source == "context"}
            what = f"flow {flow.slug!r}, step {step.slug!r}"
            yield from ((what, name) for name in step.unknown if name not in contexts)


def _of_machines(registry: Registry) -> Iterator[tuple[str, str]]:
    for machine in registry.machines.values():
        what = f"machine {machine.slug!r}"
        yield from ((what, name) for name in machine.state.unknown)


def _of_jobs(registry: Registry) -> Iterator[tuple[str, str]]:
    for job in registry.jobs.values():
        what = f"job {job.slug!r}"
        yield from ((what, name) for name in job.unknown if name != job.context_name)
