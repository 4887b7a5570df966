"""A flow of the model as the shape that `pgflow.ensure_flow` takes."""

from __future__ import annotations

from typing import Any

from .definition import FlowDef, Pattern, StepDef


def shape(flow: FlowDef) -> dict[str, Any]:
    return {
        "slug": flow.slug,
        "kind": "flow",
        "options": {"maxAttempts": flow.max_attempts, "baseDelay": 0, "timeout": 60},
        "steps": [_step_shape(step) for step in flow.steps],
    }


def _step_shape(step: StepDef) -> dict[str, Any]:
    return {
        "slug": step.slug,
        "stepType": step.kind,
        "dependencies": sorted(step.dependencies),
        "whenUnmet": step.when_unmet,
        "whenExhausted": step.when_exhausted,
        "requiredInputPattern": _pattern(step.required),
        "forbiddenInputPattern": _pattern(step.forbidden),
        "takesInput": True,
        "options": {} if step.max_attempts is None else {"maxAttempts": step.max_attempts},
    }


def _pattern(pattern: Pattern | None) -> dict[str, Any]:
    return {"defined": False} if pattern is None else {"defined": True, "value": dict(pattern)}
