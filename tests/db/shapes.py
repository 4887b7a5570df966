"""Shapes as the compiler would make them, in as few words as a test can spend on them."""

from __future__ import annotations

import json
from typing import Any, TypeAlias

Shape: TypeAlias = dict[str, Any]
DEFAULTS = {"maxAttempts": 3, "baseDelay": 0, "timeout": 60}


def flow(slug: str, *steps: Shape, **options: Any) -> Shape:
    """No base delay unless asked for: a retry is ready at once."""
    return {"slug": slug, "kind": "flow", "options": DEFAULTS | options, "steps": list(steps)}


def step(
    slug: str,
    *dependencies: str,
    map: bool = False,
    unmet: str = "skip",
    exhausted: str = "fail",
    required: Shape | None = None,
    takes_input: bool = True,
    **options: Any,
) -> Shape:
    pattern = {"defined": False} if required is None else {"defined": True, "value": required}
    return {
        "slug": slug,
        "stepType": "map" if map else "single",
        "dependencies": sorted(dependencies),
        "whenUnmet": unmet,
        "whenExhausted": exhausted,
        "requiredInputPattern": pattern,
        "forbiddenInputPattern": {"defined": False},
        "takesInput": takes_input,
        "options": options,
    }


def chain(slug: str, length: int = 3, **options: Any) -> Shape:
    """s0 → s1 → s2."""
    steps = [step(f"s{n}", *([f"s{n - 1}"] if n else [])) for n in range(length)]
    return flow(slug, *steps, **options)


def single(slug: str, **options: Any) -> Shape:
    return chain(slug, 1, **options)


def spread(slug: str, **options: Any) -> Shape:
    """list → each (a map) → total."""
    each = step("each", "list", map=True)
    return flow(slug, step("list"), each, step("total", "each"), **options)


def text(shape: Shape) -> str:
    return json.dumps(shape, sort_keys=True)
