"""What a starter brings up, and how far each of it is: frozen values, safe to hand out."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from stepwell.define.definition import Definition, slug_of

ModuleType = Literal["flow", "machine", "job"]
ModuleStatus = Literal["pending", "retrying", "succeeded", "failed_permanent"]
ErrorClass = Literal["transient", "permanent"]
OVER: frozenset[ModuleStatus] = frozenset({"succeeded", "failed_permanent"})


@dataclass(frozen=True, slots=True)
class Module:
    """A definition to serve, by its slug; of a machine all versions that the code has."""

    name: str
    type: ModuleType
    definitions: tuple[Definition, ...] = ()


@dataclass(frozen=True, slots=True)
class Phase:
    """A step on the way up. `verdict` says of an error whether another try may help; None: it is
    none of the module's, and ends the starter."""

    name: str
    run: Callable[[Module], Awaitable[None]]
    verdict: Callable[[Exception], ErrorClass | None]


@dataclass(frozen=True, slots=True)
class ModuleError:
    """Why the last attempt failed, in which phase, and when."""

    error_class: ErrorClass
    phase: str
    reason: str
    at: datetime


@dataclass(frozen=True, slots=True)
class ModuleState:
    """How far a module is. `attempts` counts those that failed since it was last up or given up."""

    module: str
    type: ModuleType
    status: ModuleStatus
    attempts: int
    last_error: ModuleError | None
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class StarterStatus:
    """All modules at one moment. `ready`: each has come up or was given up; `healthy`: one at least
    has come up. `ready_at` is the first time that it was ready."""

    ready: bool
    healthy: bool
    started_at: datetime | None
    ready_at: datetime | None
    modules: tuple[ModuleState, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Seconds between attempts: `base`, doubled each time up to `longest`, and off by a random part
    of up to `jitter` of it, so that modules and processes do not come all at once."""

    base: float = 1.0
    longest: float = 30.0
    jitter: float = 0.2

    def after(self, failed: int) -> float:
        """The pause after so many failed attempts."""
        raw = min(self.longest, self.base * 2.0 ** min(failed - 1, 60))
        return max(0.0, raw + random.uniform(-raw, raw) * self.jitter)


def name_of(module: Definition | str | Any) -> str:
    """The name of a module, of which the definition may be given instead."""
    return slug_of(module)
