"""Two shapes to sentences: where their structures differ, in the words of pgflow's SQL."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, cast

import msgspec

from stepwell.compile.shape import PatternShape, Shape, StepShape, canonical


def differences(first: Shape, second: Shape) -> list[str]:
    """Compare step by step; no sentence means that the structures are equal."""
    ours, theirs = first.steps, second.steps
    said: list[str] = []
    if len(ours) != len(theirs):
        said.append(f"Step count differs: {len(ours)} vs {len(theirs)}")
    for index in range(max(len(ours), len(theirs))):
        at = f"Step at index {index}:"
        if index >= len(ours):
            said.append(f"{at} missing in first shape (second has '{theirs[index].slug}')")
        elif index >= len(theirs):
            said.append(f"{at} missing in second shape (first has '{ours[index].slug}')")
        else:
            said += [f"{at} {what}" for what in _step_differences(ours[index], theirs[index])]
    return said


def _step_differences(ours: StepShape, theirs: StepShape) -> Iterator[str]:
    if ours.slug != theirs.slug:
        yield f"slug differs '{ours.slug}' vs '{theirs.slug}'"
    if ours.step_type != theirs.step_type:
        yield f"type differs '{ours.step_type}' vs '{theirs.step_type}'"
    if sorted(ours.dependencies) != sorted(theirs.dependencies):
        yield f"dependencies differ [{_listed(ours)}] vs [{_listed(theirs)}]"
    if ours.when_unmet != theirs.when_unmet:
        yield f"whenUnmet differs '{ours.when_unmet}' vs '{theirs.when_unmet}'"
    if ours.when_exhausted != theirs.when_exhausted:
        yield f"whenExhausted differs '{ours.when_exhausted}' vs '{theirs.when_exhausted}'"
    if ours.signal_name != theirs.signal_name:
        yield f"signalName differs '{ours.signal_name or ''}' vs '{theirs.signal_name or ''}'"
    yield from _pattern_difference(
        "requiredInputPattern", ours.required_input_pattern, theirs.required_input_pattern
    )
    yield from _pattern_difference(
        "forbiddenInputPattern", ours.forbidden_input_pattern, theirs.forbidden_input_pattern
    )


def _pattern_difference(name: str, ours: PatternShape, theirs: PatternShape) -> Iterator[str]:
    if canonical(msgspec.to_builtins(ours)) != canonical(msgspec.to_builtins(theirs)):
        yield f"{name} differs '{_as_jsonb(ours)}' vs '{_as_jsonb(theirs)}'"


def _listed(step: StepShape) -> str:
    return ", ".join(sorted(step.dependencies))


def _as_jsonb(pattern: PatternShape) -> str:
    return json.dumps(_ordered(msgspec.to_builtins(pattern)), ensure_ascii=False)


def _ordered(data: Any) -> Any:
    """Postgres prints the keys of jsonb by length, then by bytes."""
    if isinstance(data, dict):
        pairs = cast("dict[str, Any]", data).items()
        by_length = sorted(pairs, key=lambda pair: (len(pair[0].encode()), pair[0].encode()))
        return {key: _ordered(value) for key, value in by_length}
    if isinstance(data, list):
        return [_ordered(item) for item in cast("list[Any]", data)]
    return data
