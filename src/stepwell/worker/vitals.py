"""How a worker is: what its health endpoint says."""

from __future__ import annotations

from typing import Any

from stepwell.db.link import Outage
from stepwell.observe import meters
from stepwell.worker.incarnation import Incarnation
from stepwell.worker.lanes import Lanes
from stepwell.worker.starter import Starter


class Vitals:
    """One worker's, for as long as it runs."""

    def __init__(self, name: str, starter: Starter, lanes: Lanes, outage: Outage) -> None:
        self._name = name
        self._starter = starter
        self._lanes = lanes
        self._outage = outage
        self.current: Incarnation | None = None
        self.stopping = False

    def live(self) -> bool:
        """Whoever answers is alive. A database that is away is no reason to be started anew."""
        return True

    def ready(self) -> bool:
        """Everything has come up or was given up, something has come up, and it is claiming."""
        claiming = self.state() == "serving" and self._outage.since is None
        return claiming and self._starter.ready() and self._starter.healthy()

    def state(self) -> str:
        if self.stopping or (self.current and self.current.stopping):
            return "draining"
        return "serving" if self.current and self.current.registered else "starting"

    def gauges(self) -> dict[str, float]:
        """As numbers, by the names of their meters."""
        current, links = self.current, self._outage.links
        found = {
            meters.DATABASE_UP.name: float(self._outage.since is None),
            meters.RUNNING.name: float(current.running if current else 0),
            meters.LINKS.name: float(sum(not link.broken for link in list(links))),
        }
        if current and current.registered:
            found[meters.CONCURRENCY.name] = float(current.concurrency)
            found[meters.LEASE_LEFT.name] = current.lease_left
        return found

    def status(self) -> dict[str, Any]:
        """As plain data."""
        current, starter = self.current, self._starter.status()
        return {
            "name": self._name,
            "state": self.state(),
            "live": self.live(),
            "ready": self.ready(),
            "healthy": starter.healthy,
            "database": "up" if self._outage.since is None else "away",
            "worker_id": current.id if current else None,
            "running": current.running if current else 0,
            "queues": current.queue_names if current else sorted(set(self._lanes.queues)),
            "starter": starter,
        }
