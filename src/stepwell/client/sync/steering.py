# made by tools/sync.py out of client/steering.py: change that, and run `python -m tools.sync`
"""Steer runs by id or key, and whole queues and definitions. For SyncClient."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from stepwell.client.identity import Target, address_of
from stepwell.client.reading import reader_of, the_run
from stepwell.client.sync.run import SyncRun
from stepwell.client.sync.session import SyncSession
from stepwell.client.wakes import to_queues
from stepwell.db.inspect import DefinitionInfo, QueueInfo, find_run, list_flows, list_queues
from stepwell.db.steer import pause_flow, pause_queue, resume_flow, resume_queue


class SyncSteering:
    """What a person does to runs. Each call answers whether it changed anything, and leaves a row
    in the audit; `actor` is who did it, by default the client's name or the database user."""

    _session: SyncSession

    def cancel(
        self, target: Target, reason: str | None = None, *, actor: str | None = None
    ) -> bool:
        """End a run now; False when it had ended already."""
        return self.find(target).cancel(reason, actor=actor)

    def retry(self, target: Target, *, actor: str | None = None) -> bool:
        """Let a failed or cancelled run go on from where it ended; False when it is neither."""
        return self.find(target).retry(actor=actor)

    def pause(self, target: Target, *, actor: str | None = None) -> bool:
        """Begin nothing more of a run until it is resumed."""
        return self.find(target).pause(actor=actor)

    def resume(self, target: Target, *, actor: str | None = None) -> bool:
        """Let a paused run go on; False when it is not paused."""
        return self.find(target).resume(actor=actor)

    def restart(
        self, target: Target, from_step: str | None = None, *, actor: str | None = None
    ) -> SyncRun[Any]:
        """Start a new run with the input of an old one, from the beginning or from a step."""
        return self.find(target).restart(from_step, actor=actor)

    def set_priority(self, target: Target, priority: int, *, actor: str | None = None) -> bool:
        """Move a run before or behind others of its queue, lower first."""
        return self.find(target).set_priority(priority, actor=actor)

    def delete(self, target: Target, *, actor: str | None = None) -> bool:
        """Forget a run that has ended, with all that it left; Conflict while it is live."""
        return self.find(target).delete(actor=actor)

    def pause_queue(
        self, queue: str, reason: str | None = None, *, actor: str | None = None
    ) -> bool:
        """Begin nothing of a queue until it is resumed; what runs goes on to its end."""
        call = pause_queue(queue, actor or self._session.actor, reason)
        return self._session.pool.run(call)[0].done

    def resume_queue(self, queue: str, *, actor: str | None = None) -> bool:
        """Let a paused queue go on; False when it is not paused."""
        call = resume_queue(queue, actor or self._session.actor)
        [answer] = self._session.pool.run(call)
        self._session.wakes.wake(*to_queues(answer.queues))
        return answer.done

    def pause_flow(self, slug: str, reason: str | None = None, *, actor: str | None = None) -> bool:
        """Begin nothing of a flow, machine or job until it is resumed."""
        call = pause_flow(slug, actor or self._session.actor, reason)
        return self._session.pool.run(call)[0].done

    def resume_flow(self, slug: str, *, actor: str | None = None) -> bool:
        """Let a paused flow, machine or job go on; False when it is not paused."""
        call = resume_flow(slug, actor or self._session.actor)
        [answer] = self._session.pool.run(call)
        self._session.wakes.wake(*to_queues(answer.queues))
        return answer.done

    def queues(self) -> list[QueueInfo]:
        """Every queue, with what is ready in it and what runs."""
        return self._session.pool.run(list_queues())

    def definitions(self) -> list[DefinitionInfo]:
        """Every flow, machine and job that is deployed."""
        return self._session.pool.run(list_flows())

    def find(self, target: Target) -> SyncRun[Any]:
        """The run of an id or key. A key means the live run that has it, else the newest that had
        it; NotFound when there is none. An id is taken as it is."""
        address = address_of(target)
        if not isinstance(address, UUID):
            address = the_run(address, self._session.pool.run(find_run(address)))
        return SyncRun(address, False, self._session, reader_of(None))
