"""Run the blocks of a page in order, with a worker beside them, as `stepwell dev` would."""

from __future__ import annotations

import ast
import asyncio
import inspect
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from types import ModuleType, TracebackType
from typing import Any, Self

import psycopg

from stepwell import Flow, Settings, Stepwell, Worker
from stepwell.define.handler import PatternHandler
from stepwell.define.job import Job
from stepwell.define.limits import ConcurrencyLimit, QueueLimit, RateLimit
from stepwell.define.machine import Machine
from stepwell.define.queue_worker import QueueWorker
from stepwell.define.schedule import Schedule
from stepwell.worker.imported import needs_process
from tests.docs.pages import Block, name_of


def machine_name(cls: Any) -> tuple[str, int] | None:
    """None for a class that is no machine, or the base of all."""
    is_one = issubclass(cls, Machine) and cls is not Machine
    return (cls.__machine__.slug, cls.__machine__.version) if is_one else None


KINDS: list[tuple[Any, str, Callable[[Any], Any]]] = [
    (Flow, "flows", lambda flow: flow.slug if flow.steps else None),
    (type, "machines", machine_name),
    (Job, "jobs", lambda job: job.slug),
    (QueueWorker, "queues", lambda worker: worker.queue),
    (PatternHandler, "handlers", lambda handler: handler.pattern),
    (Schedule, "schedules", lambda schedule: schedule.name),
    (QueueLimit, "limits", lambda limit: (QueueLimit, limit.queue)),
    (ConcurrencyLimit, "limits", lambda limit: (ConcurrencyLimit, limit.name)),
    (RateLimit, "limits", lambda limit: (RateLimit, limit.name)),
]
MODULE = "stepwell_docs_page"


class Notebook:
    """One page: its blocks share a module, an event loop and a database."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._module = ModuleType(MODULE)
        self._runner = asyncio.Runner()
        self._serving: Serving | None = None

    def __enter__(self) -> Self:
        sys.modules[MODULE] = self._module
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._serve(Served())
        self._runner.close()
        del sys.modules[MODULE]

    def run(self, block: Block) -> None:
        if block.language == "sql":
            self._run_sql(block.text)
        elif block.raises is None:
            self._run_python(block)
        else:
            self._run_failing(block, block.raises)

    def _run_sql(self, text: str) -> None:
        with psycopg.connect(self._dsn, autocommit=True) as conn:
            conn.execute(text.encode())

    def _run_failing(self, block: Block, expected: str) -> None:
        try:
            self._run_python(block)
        except Exception as error:
            names = [cls.__name__ for cls in type(error).__mro__]
            assert expected in names, f"{names[0]} and not {expected}: {error}"
        else:
            raise AssertionError(f"{name_of(block.page)}:{block.line} did not raise {expected}")

    def _run_python(self, block: Block) -> None:
        """What a block defines is served before the block goes on to use it."""
        defining, using = halves(block)
        self._execute(defining, block)
        if using.body:
            self._serve(self._served())
            self._execute(using, block)

    def _execute(self, tree: ast.Module, block: Block) -> None:
        result = eval(as_code(tree, block), vars(self._module))
        if inspect.iscoroutine(result):
            self._runner.run(result)

    def _served(self) -> Served:
        """What was written anew takes the place of the old one."""
        served = Served()
        for each in contents(vars(self._module).values()):
            for kind, place, name in KINDS:
                if isinstance(each, kind) and name(each) is not None and not elsewhere(each):
                    getattr(served, place)[name(each)] = each
        return served

    def _serve(self, served: Served) -> None:
        if self._serving is not None and self._serving.served == served:
            return
        if self._serving is not None:
            self._serving.stop()
        app = served.app
        some = app.registry.slugs or app.queues or app.handlers
        self._serving = Serving(served, self._dsn) if some else None


@dataclass
class Served:
    """What a page has defined so far, by name."""

    flows: dict[Any, Any] = field(default_factory=dict[Any, Any])
    machines: dict[Any, Any] = field(default_factory=dict[Any, Any])
    jobs: dict[Any, Any] = field(default_factory=dict[Any, Any])
    schedules: dict[Any, Any] = field(default_factory=dict[Any, Any])
    limits: dict[Any, Any] = field(default_factory=dict[Any, Any])
    queues: dict[Any, Any] = field(default_factory=dict[Any, Any])
    handlers: dict[Any, Any] = field(default_factory=dict[Any, Any])

    @property
    def app(self) -> Stepwell:
        return Stepwell(
            flows=self.flows.values(),
            machines=self.machines.values(),
            jobs=self.jobs.values(),
            schedules=self.schedules.values(),
            limits=self.limits.values(),
            queues=self.queues.values(),
            handlers=self.handlers.values(),
        )


def elsewhere(definition: Any) -> bool:
    """What a child process would run is not served: nobody can import a page."""
    kind: Any = definition
    if isinstance(kind, type):
        return machine_name(kind) is not None and needs_process(definition)
    return isinstance(kind, Flow | Job) and needs_process(definition)


def contents(values: Iterable[object]) -> Iterator[object]:
    """The values, and what the apps among them list."""
    for each in values:
        yield each
        if isinstance(each, Stepwell):
            yield from (*each.flows, *each.machines, *each.jobs, *each.schedules, *each.limits)
            yield from (*each.queues, *each.handlers)


class Serving:
    """A worker in a thread of its own, so that blocking blocks do not stop it."""

    def __init__(self, served: Served, dsn: str) -> None:
        self.served = served
        self._settings = Settings(dsn=dsn, grace=1.0, poll=0.1)
        self._started = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()
        assert self._started.wait(30)

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._worker = Worker(self.served.app, self._settings)
        self._started.set()
        try:
            await self._worker.run()
        except Exception as error:
            self._error = error

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._worker.stop)
        self._thread.join(30)
        assert not self._thread.is_alive()
        if self._error is not None:
            raise self._error


def compiled(block: Block) -> Any:
    return as_code(tree_of(block), block)


def tree_of(block: Block) -> ast.Module:
    """With the line numbers of the page."""
    return ast.parse("\n" * block.line + block.text, name_of(block.page))


def halves(block: Block) -> tuple[ast.Module, ast.Module]:
    """Up to the first `with`, which opens a client, and from there."""
    body = tree_of(block).body
    opens = (at for at, part in enumerate(body) if isinstance(part, ast.With | ast.AsyncWith))
    first = next(opens, len(body))
    return ast.Module(body[:first], []), ast.Module(body[first:], [])


def as_code(tree: ast.Module, block: Block) -> Any:
    """`await` is allowed at the top."""
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    return compile(tree, name_of(block.page), "exec", flags=flags, dont_inherit=True)
