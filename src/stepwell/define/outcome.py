"""How the execution of one task ended: what the worker hands to the commit."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Completed:
    """The handler returned; its result is already JSON."""

    output_json: bytes


@dataclass(frozen=True, slots=True)
class Failed:
    """The handler raised. `permanent` closes the task whatever attempts remain."""

    error_type: str
    message: str
    traceback: str
    permanent: bool = False


Outcome = Completed | Failed
