"""Which work this code can do: the queues and versions that a claim asks for."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Lanes:
    """Parallel lists, read by every turn and refreshed now and then: others deploy too."""

    queues: list[str] = field(default_factory=list[str])
    versions: list[int] = field(default_factory=list[int])

    def forget(self, versions: set[int]) -> None:
        """Claim nothing of these any more, until the next refresh says otherwise."""
        kept = [i for i, version in enumerate(self.versions) if version not in versions]
        self.queues = [self.queues[i] for i in kept]
        self.versions = [self.versions[i] for i in kept]

    def replace(self, queues: list[str], versions: list[int]) -> bool:
        """True when there is something new."""
        changed = (self.queues, self.versions) != (queues, versions)
        self.queues, self.versions = queues, versions
        return changed
