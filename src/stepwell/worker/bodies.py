"""The handlers under way in one lease: begun with what a turn brought, cut off when time is up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from uuid import UUID

from stepwell.db.claim import Task
from stepwell.db.commit import Turn
from stepwell.observe.emit import emit
from stepwell.observe.events import OutcomeDropped, TaskReleased
from stepwell.observe.traces import Traces
from stepwell.settings import Settings
from stepwell.worker.asking import Asking
from stepwell.worker.binding import Bindings
from stepwell.worker.body import Body, Hands
from stepwell.worker.context import TaskContext
from stepwell.worker.desk import Desk, Running
from stepwell.worker.entry import entry_of
from stepwell.worker.execute import execute
from stepwell.worker.notes import Notes
from stepwell.worker.processes import Processes
from stepwell.worker.spans import observes
from stepwell.worker.threads import Threads
from stepwell.worker.transactions import Transactions, Written
from stepwell.worker.turns import facts


class Bodies:
    """What runs is on the desk; each ends there with an outcome, or with none. `broke` is called
    when one ends by a mistake of ours."""

    def __init__(
        self, hands: Hands, bindings: Bindings, desk: Desk, notes: Notes, broke: Callable[[], None]
    ) -> None:
        self._hands = hands
        self._bindings = bindings
        self._desk = desk
        self._notes = notes
        self._broke = broke
        self.running: set[asyncio.Task[None]] = set()

    def begin(self, turn: Turn) -> None:
        """Start the handlers of what was claimed."""
        inputs = {t.run_id: t.flow_input for t in turn.tasks if t.flow_input is not None}
        for task in turn.tasks:
            body = self._bindings.of(task)
            assert body is not None, "a task without a body was not given back"
            flow_input = inputs.get(task.run_id) if body.takes_input else None
            hands = self._hands
            context = TaskContext(
                task, hands.worker_id, hands.asking, flow_input, body.input_type, notes=self._notes
            )
            running = asyncio.create_task(self._handle(task, body, context))
            self._desk.running[task.claim_token] = Running(task, context, running)
            self.running.add(running)
            running.add_done_callback(self._over)

    def cut_off(self) -> int:
        """Ask all that run to stop; their claims go back. How many that were."""
        running = list(self._desk.running.values())
        for each in running:
            each.cancel()
            emit(TaskReleased(*facts(each.task)))
        return len(running)

    async def _handle(self, task: Task, body: Body, context: TaskContext) -> None:
        entry = None
        try:
            outcome = await execute(task, body, context, self._hands)
            entry = None if context.settled else entry_of(task, outcome)
        finally:
            ours = self._desk.end(task, entry)
            if entry is not None and not ours:
                emit(OutcomeDropped(*facts(task)))

    def _over(self, body: asyncio.Task[None]) -> None:
        self.running.discard(body)
        if not body.cancelled() and (error := body.exception()):
            asyncio.get_running_loop().call_exception_handler(
                {"message": "a stepwell handler task broke; please report this", "exception": error}
            )
            self._broke()


def hands_of(
    settings: Settings, worker: UUID, bindings: Bindings, desk: Desk, written: Written
) -> Hands:
    """What handlers lean on, made for one lease."""
    traces = Traces(settings.traces)
    return Hands(
        worker,
        Threads(settings.threads or settings.concurrency, desk.linger),
        Asking(settings),
        traces,
        observes=partial(observes, traces, settings.metrics),
        transactions=Transactions(settings, written=written),
        max_payload=settings.max_payload,
        middleware=bindings.middleware,
        processes=Processes(settings.body_processes, settings),
        linger=desk.linger,
    )
