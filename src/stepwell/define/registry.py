"""The definitions one worker serves, found by slug. Passed in by hand: there is no global."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from stepwell.define.flow import Flow
from stepwell.define.slug import meant
from stepwell.define.step import Step
from stepwell.errors import DefinitionError, NotFound


class Registry:
    """A fixed set of flows, each slug once."""

    def __init__(self, flows: Iterable[Flow[Any, Any]] = ()) -> None:
        found: dict[str, Flow[Any, Any]] = {}
        for flow in flows:
            if not isinstance(flow, Flow):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise DefinitionError(f"{flow!r} is no flow; list what Flow(...) made")
            if found.setdefault(flow.slug, flow) is not flow:
                raise DefinitionError(
                    f"two different flows are called {flow.slug!r}; give one another slug"
                )
        self.flows: Mapping[str, Flow[Any, Any]] = MappingProxyType(found)

    def flow(self, slug: str) -> Flow[Any, Any]:
        """The flow of that slug; NotFound when it is not served here."""
        if slug not in self.flows:
            raise NotFound(f"no flow {slug!r} is served here{meant(slug, self.flows)}")
        return self.flows[slug]

    def step(self, flow: str, step: str) -> Step[..., Any]:
        """The step of that flow; NotFound when this code has none of that slug."""
        steps = self.flow(flow).steps
        if step not in steps:
            raise NotFound(f"flow {flow!r} has no step {step!r} here{meant(step, steps)}")
        return steps[step]
