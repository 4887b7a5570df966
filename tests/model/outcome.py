"""What a task's body came to, as the model and the test scripts say it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from .rows import Value


@dataclass(frozen=True, slots=True)
class Completed:
    output: Value


@dataclass(frozen=True, slots=True)
class Failed:
    message: str
    permanent: bool = False


Outcome: TypeAlias = "Completed | Failed"
