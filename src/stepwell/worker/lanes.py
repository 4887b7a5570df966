"""Which work this code can do: the queues and versions that a claim asks for."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field


@dataclass(slots=True)
class Lanes:
    """Parallel lists, read by every turn and refreshed now and then: others deploy too, and a run
    may be sent to a queue that nobody used before. `slugs` says what each version is of."""

    queues: list[str] = field(default_factory=list[str])
    versions: list[int] = field(default_factory=list[int])
    slugs: dict[int, str] = field(default_factory=dict[int, str])
    _strange: set[str] = field(default_factory=set[str])  # heard of; a look at them is due or done
    _look: asyncio.Event = field(default_factory=asyncio.Event)

    def serve(self, queue: str) -> bool:
        """Whether we claim of it. One that we never heard of makes us look once."""
        if queue in self.queues:
            return True
        if queue not in self._strange:
            self._strange.add(queue)
            self._look.set()
        return False

    def look(self) -> None:
        """There may be something new to serve."""
        self._look.set()

    async def stale(self, after: float) -> None:
        """Returns when it is time for a refresh: at once for a strange queue."""
        with suppress(TimeoutError):
            async with asyncio.timeout(after):
                await self._look.wait()
                self._look.clear()
                return
        self._strange.clear()

    def forget(self, versions: set[int]) -> None:
        """Claim nothing of these any more, until the next refresh says otherwise."""
        kept = [i for i, version in enumerate(self.versions) if version not in versions]
        self.queues = [self.queues[i] for i in kept]
        self.versions = [self.versions[i] for i in kept]

    def replace(self, queues: list[str], versions: list[int], slugs: dict[int, str]) -> bool:
        """True when there is something new."""
        changed = (self.queues, self.versions) != (queues, versions)
        self.queues, self.versions, self.slugs = queues, versions, slugs
        return changed
