"""Messages that are handled in a child process: it gets the JSON, and answers what became of it."""

from __future__ import annotations

from collections.abc import Callable

from stepwell.define.outcome import Failed
from stepwell.observe.traces import carried
from stepwell.worker.failure import FailedElsewhere
from stepwell.worker.guard import Handler
from stepwell.worker.imported import path_of
from stepwell.worker.process_wire import Handle
from stepwell.worker.processes import Lingering, Processes
from stepwell.worker.queue_message import Held


def in_process(held: Held, processes: Processes, linger: Lingering) -> Handler:
    """What is awaited in the handler's place; DefinitionError when a child could not find it. What
    it returned means nothing, and stays behind."""
    path = path_of(held.definition)

    async def run(begins: Callable[[], None]) -> None:
        asked = Handle(path, held.queue, held.message, held.worker_id, carried())
        outcome = await processes.run(asked, held, begins, linger)
        if isinstance(outcome, Failed):
            raise FailedElsewhere(outcome)

    return Handler(run, is_async=False, elsewhere=True)
