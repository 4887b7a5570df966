"""The definitions one worker serves, found by slug. Passed in by hand: there is no global."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from stepwell.define.flow import Flow
from stepwell.define.job import Job
from stepwell.define.machine import Machine, MachineDef, machine_of
from stepwell.define.slug import meant
from stepwell.define.step import Step
from stepwell.errors import DefinitionError, NotFound

AnyFlow = Flow[Any, Any]
AnyJob = Job[..., Any, ...]


class Registry:
    """A fixed set of definitions. All kinds share their slugs; a machine may be there in several
    versions."""

    def __init__(
        self,
        flows: Iterable[AnyFlow] = (),
        machines: Iterable[type[Machine]] = (),
        jobs: Iterable[AnyJob] = (),
    ) -> None:
        self._kinds: dict[str, str] = {}
        found: dict[str, AnyFlow] = {}
        for flow in flows:
            if not isinstance(flow, Flow):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise DefinitionError(f"{flow!r} is no flow; list what Flow(...) made")
            if found.setdefault(flow.slug, flow) is not flow:
                raise _twice("flows", flow.slug)
            self._take(flow.slug, "flow")
        self.flows: Mapping[str, AnyFlow] = MappingProxyType(found)
        self.machines: Mapping[tuple[str, int], MachineDef] = MappingProxyType(
            self._machines(machines)
        )
        self.jobs: Mapping[str, AnyJob] = MappingProxyType(self._jobs(jobs))

    @property
    def slugs(self) -> tuple[str, ...]:
        """Of all kinds, each once."""
        return tuple(self._kinds)

    def flow(self, slug: str) -> AnyFlow:
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

    def machine(self, slug: str, version: int) -> MachineDef:
        """The machine of that slug and version; NotFound when it is not served here."""
        if (slug, version) not in self.machines:
            known = sorted(v for s, v in self.machines if s == slug)
            has = f"; there is version {', '.join(map(str, known))}" if known else ""
            raise NotFound(f"no machine {slug!r} of version {version} is served here{has}")
        return self.machines[slug, version]

    def job(self, slug: str) -> AnyJob:
        """The job of that slug; NotFound when it is not served here."""
        if slug not in self.jobs:
            raise NotFound(f"no job {slug!r} is served here{meant(slug, self.jobs)}")
        return self.jobs[slug]

    def _machines(self, classes: Iterable[type[Machine]]) -> dict[tuple[str, int], MachineDef]:
        found: dict[tuple[str, int], MachineDef] = {}
        for cls in classes:
            facts = _facts(cls)
            if found.setdefault((facts.slug, facts.version), facts) is not facts:
                raise DefinitionError(
                    f"two different machines are called {facts.slug!r} and are of version "
                    f"{facts.version}; give the newer one another version"
                )
            self._take(facts.slug, "machine")
        return found

    def _jobs(self, jobs: Iterable[AnyJob]) -> dict[str, AnyJob]:
        found: dict[str, AnyJob] = {}
        for job in jobs:
            if not isinstance(job, Job):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise DefinitionError(f"{job!r} is no job; list functions decorated with @job")
            if found.setdefault(job.slug, job) is not job:
                raise _twice("jobs", job.slug)
            self._take(job.slug, "job")
        return found

    def _take(self, slug: str, kind: str) -> None:
        other = self._kinds.setdefault(slug, kind)
        if other != kind:
            raise DefinitionError(
                f"a {other} and a {kind} are both called {slug!r}; give one another name"
            )


def _twice(kind: str, slug: str) -> DefinitionError:
    return DefinitionError(f"two different {kind} are called {slug!r}; give one another slug")


def _facts(cls: object) -> MachineDef:
    if isinstance(cls, type) and issubclass(cls, Machine) and cls is not Machine:
        facts = machine_of(cls)
        if facts.initial:
            return facts
        raise DefinitionError(f"machine {cls.__name__} is abstract; list the classes made of it")
    raise DefinitionError(f"{cls!r} is no machine; list subclasses of Machine")
