"""The wire form of a definition. Equal definitions compile to equal shapes, byte for byte."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal, cast

import msgspec
from msgspec import UNSET, Struct, UnsetType

from stepwell.errors import DefinitionError

_STRUCTURE = (
    "slug",
    "stepType",
    "dependencies",
    "whenUnmet",
    "whenExhausted",
    "requiredInputPattern",
    "forbiddenInputPattern",
    "signalName",
)
BackoffShape = Literal["fixed", "linear", "exponential", "custom"]


class PatternShape(Struct, frozen=True, rename="camel"):
    """A pattern that may be missing: `{"defined": false}`, or true and its value."""

    defined: bool = False
    value: dict[str, Any] | UnsetType = UNSET


class StepOptionsShape(Struct, frozen=True, rename="camel", kw_only=True):
    """Only what the step says for itself is written."""

    max_attempts: int | UnsetType = UNSET
    base_delay: int | UnsetType = UNSET
    timeout: int | UnsetType = UNSET
    start_delay: int | UnsetType = UNSET
    max_delay: int | UnsetType = UNSET
    jitter: int | float | UnsetType = UNSET
    backoff: BackoffShape | UnsetType = UNSET
    priority: int | UnsetType = UNSET
    concurrency: str | UnsetType = UNSET
    concurrency_by: tuple[str, ...] | UnsetType = UNSET
    rate: str | UnsetType = UNSET
    rate_by: tuple[str, ...] | UnsetType = UNSET
    weight: int | float | UnsetType = UNSET
    signal_timeout: int | float | UnsetType = UNSET


class RunOptionsShape(Struct, frozen=True, rename="camel", kw_only=True):
    """What the steps inherit; always written in full."""

    max_attempts: int = 3
    base_delay: int = 1
    timeout: int = 60
    max_delay: int | None = None
    jitter: int | float = 0
    max_crashes: int = 3
    queue: str | None = None
    backoff: BackoffShape = "exponential"
    max_running: int | None = None
    priority: int = 0
    fairness_by: tuple[str, ...] | None = None
    retention: int | float | None = None
    archive: bool | UnsetType = UNSET  # written where it is so, so that nothing else changes


class StepShape(Struct, frozen=True, rename="camel", kw_only=True):
    slug: str
    step_type: Literal["single", "map", "signal", "sleep"] = "single"
    dependencies: tuple[str, ...] = ()
    when_unmet: Literal["skip", "fail", "skip-cascade"] = "skip"
    when_exhausted: Literal["fail", "skip", "skip-cascade"] = "fail"
    required_input_pattern: PatternShape = PatternShape()
    forbidden_input_pattern: PatternShape = PatternShape()
    takes_input: bool = True
    initial: bool | UnsetType = UNSET
    signal_name: str | UnsetType = UNSET
    options: StepOptionsShape = StepOptionsShape()


class Shape(Struct, frozen=True, rename="camel", kw_only=True):
    """A definition as plain data: what the database stores and compares. A machine and a job say
    which version they are; the versions of a flow are its structures."""

    slug: str
    kind: Literal["flow", "machine", "job"] = "flow"
    version: int | None = None
    options: RunOptionsShape = RunOptionsShape()
    steps: tuple[StepShape, ...] = ()

    @classmethod
    def from_data(cls, data: object) -> Shape:
        """Read a shape from parsed JSON; what is missing has its default."""
        try:
            shape = msgspec.convert(data, cls)
        except msgspec.ValidationError as error:
            raise DefinitionError(f"this is not the shape of a flow: {error}") from error
        steps = tuple(
            msgspec.structs.replace(step, dependencies=tuple(sorted(step.dependencies)))
            for step in shape.steps
        )
        return msgspec.structs.replace(shape, steps=steps)

    def to_data(self) -> dict[str, Any]:
        """The shape as parsed JSON."""
        return msgspec.to_builtins(self)

    def to_json(self) -> str:
        """The shape as canonical JSON: sorted keys, no spaces."""
        return canonical(self.to_data())

    def structure(self) -> dict[str, Any]:
        """The part whose change makes a new version; options can change under a running flow."""
        steps = self.to_data()["steps"]
        return {"steps": [{key: step[key] for key in _STRUCTURE if key in step} for step in steps]}

    def archived(self) -> Shape:
        """The same for an app that archives runs before they go."""
        options = msgspec.structs.replace(self.options, archive=True)
        return msgspec.structs.replace(self, options=options)

    @property
    def digest(self) -> str:
        """Names the structure: equal digests mean that runs of both can share a version."""
        return hashlib.sha256(canonical(self.structure()).encode()).hexdigest()


def canonical(data: object) -> str:
    """One text for equal data, whether it comes from Python or from jsonb."""
    return json.dumps(_whole(data), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _whole(data: Any) -> Any:
    """1.0 and 1 are one number to jsonb; 1e3 comes back from it as 1000."""
    if isinstance(data, dict):
        return {key: _whole(value) for key, value in cast("dict[str, Any]", data).items()}
    if isinstance(data, list):
        return [_whole(item) for item in cast("list[Any]", data)]
    return int(data) if isinstance(data, float) and data.is_integer() else data
