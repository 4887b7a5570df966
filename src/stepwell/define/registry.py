"""The definitions one worker serves, found by slug. Passed in by hand: there is no global."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from threading import Lock
from types import MappingProxyType
from typing import Any

from stepwell.define.definition import AnyFlow, AnyJob
from stepwell.define.loaded import loaded
from stepwell.define.machine import Machine, MachineDef, machine_of
from stepwell.define.registered import Registered, entry_of
from stepwell.define.slug import meant
from stepwell.define.step import Step
from stepwell.errors import DefinitionError, InvalidDefinition, NotFound

Key = tuple[str, str, int]  # kind, slug, version
KINDS = ("flow", "machine", "job")


class Registry:
    """Definitions by slug. All kinds share their slugs; a machine may be there in several versions.

    What is given at first must fit together. What is registered later takes the place of what had
    its slug. Threads may share one: who reads sees all of a change, or nothing of it.

    >>> registry = Registry()
    >>> registry.register(Flow("orders"))
    >>> registry.get("orders").max_attempts
    3
    >>> registry.register("orders")
    InvalidDefinition('not_loaded', "'orders' names no definition; write 'package.module:name'")
    """

    def __init__(
        self,
        flows: Iterable[AnyFlow] = (),
        machines: Iterable[type[Machine]] = (),
        jobs: Iterable[AnyJob] = (),
    ) -> None:
        self._lock = Lock()
        self._put({})
        for kind, listed in (("flow", flows), ("machine", machines), ("job", jobs)):
            if not isinstance(listed, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise DefinitionError(f"{kind}s is {listed!r}; list them: {kind}s=[...]")
            for each in listed:
                self._take_first(kind, each)

    def register(self, definition: object) -> InvalidDefinition | None:
        """Take in a flow, a machine or a job, or the one that "package.module:name" names. Answers
        with None, or with the reason why not, which `register_or_raise` would raise.

        Again with the same one changes nothing. Another one of that slug takes its place, with a
        warning."""
        try:
            self._take(definition)
        except InvalidDefinition as refusal:
            return refusal
        return None

    def register_or_raise(self, definition: object) -> None:
        """The same; InvalidDefinition, with a `reason`, for what cannot be taken in."""
        self._take(definition)

    def get(self, named: object, version: int | None = None) -> Registered:
        """What is registered under a slug, or for a definition; NotFound when nothing is. Of a
        machine the newest version, unless one is said."""
        found = [e for e in self._entries.values() if is_meant(e, named)]
        for entry in sorted(found, key=lambda e: -e.version):
            if version in (None, entry.version):
                return entry_of(entry.definition)  # a flow may have grown a step since
        slug = named if isinstance(named, str) else repr(named)
        raise NotFound(f"{slug!r} is not registered{meant(slug, self.slugs)}")

    def unregister(self, named: object) -> None:
        """Forget what has that slug, or that definition; nothing happens when there is none."""
        with self._lock:
            self._put({key: e for key, e in self._entries.items() if not is_meant(e, named)})

    @property
    def slugs(self) -> tuple[str, ...]:
        """Of all kinds, each once."""
        return tuple(dict.fromkeys(entry.slug for entry in self._entries.values()))

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

    def list(self) -> list[Registered]:
        """All of them, in the order in which their slugs came."""
        return [entry_of(entry.definition) for entry in self._entries.values()]

    def _take(self, definition: object) -> None:
        entry = entry_of(loaded(definition))
        with self._lock:
            self._check_kind(entry)
            key = key_of(entry)
            before = self._entries.get(key)
            self._put({**self._entries, key: entry})
        if before is not None and before.definition is not entry.definition:
            warnings.warn(
                f"another {entry.kind} called {entry.slug!r} was registered before; the last one "
                "counts. Give one of them another slug, or unregister it first",
                stacklevel=3,  # where it was registered
            )

    def _take_first(self, kind: str, definition: object) -> None:
        """Two of one slug in one list are a mistake: nobody meant one of them to go."""
        entry = entry_of(definition, kind)
        self._check_kind(entry)
        same = self._entries.get(key_of(entry))
        if same is not None and same.definition is not definition:
            raise twice(entry)
        self._put({**self._entries, key_of(entry): entry})

    def _put(self, entries: Mapping[Key, Registered]) -> None:
        """What was handed out before stays as it was."""
        by_kind = {kind: [e for e in entries.values() if e.kind == kind] for kind in KINDS}
        self._entries = entries
        self.flows: Mapping[str, AnyFlow] = MappingProxyType(
            {entry.slug: entry.definition for entry in by_kind["flow"]}
        )
        self.machines: Mapping[tuple[str, int], MachineDef] = MappingProxyType(
            {(e.slug, e.version): machine_of(e.definition) for e in by_kind["machine"]}
        )
        self.jobs: Mapping[str, AnyJob] = MappingProxyType(
            {entry.slug: entry.definition for entry in by_kind["job"]}
        )

    def _check_kind(self, entry: Registered) -> None:
        for other in self._entries.values():
            if other.slug == entry.slug and other.kind != entry.kind:
                raise InvalidDefinition(
                    "slug_taken",
                    f"a {other.kind} and a {entry.kind} are both called {entry.slug!r}; give one "
                    "another name",
                )


def key_of(entry: Registered) -> Key:
    return entry.kind, entry.slug, entry.version


def is_meant(entry: Registered, named: object) -> bool:
    return entry.slug == named if isinstance(named, str) else entry.definition is named


def twice(entry: Registered) -> DefinitionError:
    if entry.kind == "machine":
        return DefinitionError(
            f"two different machines are called {entry.slug!r} and are of version "
            f"{entry.version}; give the newer one another version"
        )
    return DefinitionError(
        f"two different {entry.kind}s are called {entry.slug!r}; give one another slug"
    )
