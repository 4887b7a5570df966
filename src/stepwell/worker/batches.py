"""Which outcomes go into one round trip."""

from __future__ import annotations

from stepwell.worker.desk import Desk, Ended

MOST = 500
LARGE = 2**20  # characters of one outcome
HEAVIEST = 2**22  # of a batch: Postgres has it in memory several times


class Batches:
    """A large outcome takes Postgres seconds. It goes alone, and only one at a time, so that there
    is always a loop for all that is small; and one that fails harms no neighbour."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._large_one: Ended | None = None  # under way

    @property
    def waiting(self) -> bool:
        """Whether there is something that can be written now."""
        ended = self._desk.ended
        return bool(ended) and (self._large_one is None or not all(map(is_large, ended)))

    def take(self) -> list[Ended]:
        """The next batch; tell when it is written, or may be again."""
        ended, later = self._desk.ended, list[Ended]()
        batch: list[Ended] = []
        weight = 0
        while ended and len(batch) < MOST:
            each = ended.popleft()
            if is_large(each):
                if not batch and self._large_one is None:
                    self._large_one = each
                    batch.append(each)
                    break
                later.append(each)
                continue
            weight += weight_of(each)
            if weight > HEAVIEST:
                later.append(each)
                break
            batch.append(each)
        ended.extendleft(reversed(later))
        return batch

    def holds_large(self, batch: list[Ended]) -> bool:
        return bool(batch) and batch[0] is self._large_one

    def done(self, batch: list[Ended]) -> None:
        if self.holds_large(batch):
            self._large_one = None
            self._desk.changed.set()


def is_large(ended: Ended) -> bool:
    return weight_of(ended) > LARGE


def weight_of(ended: Ended) -> int:
    return len(ended.entry.output or "")
