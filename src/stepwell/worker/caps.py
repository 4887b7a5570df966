"""How much of one flow, machine or job a worker has in hand at most, whatever room it has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from stepwell.worker.desk import Desk
from stepwell.worker.lanes import Lanes


@dataclass(frozen=True, slots=True)
class Ask:
    """What one turn asks for."""

    want: int
    queues: list[str]
    versions: list[int]


class Caps:
    """Lanes of a slug that is at its cap are not asked for; with others that have one, a turn asks
    for no more than the least room among them. So no cap is ever passed, and what is capped stands
    in nobody's way: the next turn fills the rest."""

    def __init__(self, most: Mapping[str, int], desk: Desk, lanes: Lanes) -> None:
        self._most = most
        self._desk = desk
        self._lanes = lanes
        self._coming: Counter[str] = Counter()  # what turns under way may bring

    @contextmanager
    def asking(self, want: int) -> Generator[Ask]:
        """What to ask for with room for `want` tasks, for as long as a turn takes."""
        lanes = self._lanes
        room = self._room() if self._most and want else {}
        open_lanes = [
            (queue, version)
            for queue, version in zip(lanes.queues, lanes.versions, strict=True)
            if room.get(lanes.slugs.get(version, ""), 1) > 0
        ]
        asked = {lanes.slugs.get(version, "") for _, version in open_lanes} & room.keys()
        want = min([want, *(room[slug] for slug in asked)]) if open_lanes else 0
        self._desk.waiting_for = {slug for slug, free in room.items() if free <= 0}
        self._coming.update(dict.fromkeys(asked, want))
        try:
            yield Ask(want, [queue for queue, _ in open_lanes], [v for _, v in open_lanes])
        finally:
            self._coming.subtract(dict.fromkeys(asked, want))

    def _room(self) -> dict[str, int]:
        desk = self._desk
        busy = Counter(running.task.flow_slug for running in desk.running.values())
        given_up = desk.lingering.keys() - desk.running.keys()  # their threads still run
        busy.update(desk.lost[token].flow_slug for token in given_up if token in desk.lost)
        return {s: most - busy[s] - self._coming[s] for s, most in self._most.items()}
