"""Two shapes to sentences: what another structure means, in the words of those who write
definitions. The SQL core says the same in pgflow's words (`surface_shape.sql`)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from stepwell.compile.shape import PatternShape, Shape, StepShape, canonical

TYPES = {
    "single": "a plain step",
    "map": "a map",
    "signal": "a wait for a signal",
    "sleep": "a sleep",
}


def differences(now: Shape, before: Shape) -> list[str]:
    """Step by step by their names; no sentence means that the structures are equal."""
    ours = {step.slug: step for step in now.steps}
    theirs = {step.slug: step for step in before.steps}
    said = [f"step {slug!r} is gone" for slug in theirs if slug not in ours]
    for slug, step in ours.items():
        if slug in theirs:
            said += [f"step {slug!r}{what}" for what in _changes(step, theirs[slug])]
        else:
            said.append(f"step {slug!r} is new{_place(step)}")
    return said + _reordered(ours, theirs)


def changed(option: str, now: object, before: object) -> str:
    """An option, from what it was to what it is."""
    return f"{option} {_text(before)} -> {_text(now)}"


def _place(step: StepShape) -> str:
    kind = "" if step.step_type == "single" else f": {TYPES[step.step_type]}"
    return kind + (f", depends on {_listed(step.dependencies)}" if step.dependencies else "")


def _changes(now: StepShape, before: StepShape) -> Iterator[str]:
    if now.step_type != before.step_type:
        yield f" is {TYPES[now.step_type]} now, not {TYPES[before.step_type]}"
    elif now.signal_name != before.signal_name:
        yield f": {changed('signal', now.signal_name, before.signal_name)}"
    if sorted(now.dependencies) != sorted(before.dependencies):
        had = _listed(before.dependencies) or "nothing"
        yield f" depends on {_listed(now.dependencies) or 'nothing'} now, not on {had}"
    if now.when_unmet != before.when_unmet:
        yield f": {changed('if_unmet', now.when_unmet, before.when_unmet)}"
    if now.when_exhausted != before.when_exhausted:
        yield f": {changed('if_exhausted', now.when_exhausted, before.when_exhausted)}"
    for option, pattern, was in (
        ("when", now.required_input_pattern, before.required_input_pattern),
        ("unless", now.forbidden_input_pattern, before.forbidden_input_pattern),
    ):
        if _data(pattern) != _data(was):
            yield f": {changed(option, _shown(pattern), _shown(was))}"


def _reordered(ours: Mapping[str, StepShape], theirs: Mapping[str, StepShape]) -> list[str]:
    """Their order is of the structure, though none of what they do."""
    now, before = [s for s in ours if s in theirs], [s for s in theirs if s in ours]
    return [] if now == before else [f"the order of the steps is {_listed(now)} now"]


def _listed(slugs: Sequence[str]) -> str:
    return ", ".join(repr(slug) for slug in slugs)


def _data(pattern: PatternShape) -> str:
    return canonical(msgspec.to_builtins(pattern))


def _shown(pattern: PatternShape) -> object:
    return pattern.value if pattern.defined else msgspec.UNSET


def _text(value: object) -> str:
    return "none" if value is msgspec.UNSET else json.dumps(value, ensure_ascii=False)
