"""Stepwell: durable workflows for Python that need nothing but Postgres."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stepwell.client.client import Client as Client
    from stepwell.client.events import RunEvent as RunEvent
    from stepwell.client.logs import LogLine as LogLine
    from stepwell.client.run import Run as Run
    from stepwell.client.sync.client import SyncClient as SyncClient
    from stepwell.define.app import Stepwell as Stepwell
    from stepwell.define.archive import ArchivedRun as ArchivedRun
    from stepwell.define.backoff import Backoff as Backoff
    from stepwell.define.context import ChildInfo as ChildInfo
    from stepwell.define.context import Context as Context
    from stepwell.define.context import MachineContext as MachineContext
    from stepwell.define.context import MessageContext as MessageContext
    from stepwell.define.context import Signal as Signal
    from stepwell.define.flow import Flow as Flow
    from stepwell.define.handler import PatternHandler as PatternHandler
    from stepwell.define.handler import handler as handler
    from stepwell.define.job import Job as Job
    from stepwell.define.job import JobCall as JobCall
    from stepwell.define.job import job as job
    from stepwell.define.limits import ConcurrencyLimit as ConcurrencyLimit
    from stepwell.define.limits import QueueLimit as QueueLimit
    from stepwell.define.limits import RateLimit as RateLimit
    from stepwell.define.limits import key_by as key_by
    from stepwell.define.machine import Machine as Machine
    from stepwell.define.machine import step as step
    from stepwell.define.middleware import Attempt as Attempt
    from stepwell.define.middleware import Middleware as Middleware
    from stepwell.define.middleware import Proceed as Proceed
    from stepwell.define.outcome import Await as Await
    from stepwell.define.outcome import Cancel as Cancel
    from stepwell.define.outcome import Child as Child
    from stepwell.define.outcome import Done as Done
    from stepwell.define.outcome import Next as Next
    from stepwell.define.outcome import Retry as Retry
    from stepwell.define.outcome import Snooze as Snooze
    from stepwell.define.outcome import Spawn as Spawn
    from stepwell.define.outcome import Stop as Stop
    from stepwell.define.queue_worker import QueueWorker as QueueWorker
    from stepwell.define.queue_worker import queue_worker as queue_worker
    from stepwell.define.registry import Registry as Registry
    from stepwell.define.retry_policy import RetryPolicy as RetryPolicy
    from stepwell.define.schedule import Schedule as Schedule
    from stepwell.define.schedule import cron as cron
    from stepwell.define.schedule import every as every
    from stepwell.define.step import Step as Step
    from stepwell.errors import Conflict as Conflict
    from stepwell.errors import DatabaseUnavailable as DatabaseUnavailable
    from stepwell.errors import DefinitionError as DefinitionError
    from stepwell.errors import EmbeddedError as EmbeddedError
    from stepwell.errors import EventsMissed as EventsMissed
    from stepwell.errors import InvalidArgument as InvalidArgument
    from stepwell.errors import InvalidDefinition as InvalidDefinition
    from stepwell.errors import NoTarget as NoTarget
    from stepwell.errors import NotFound as NotFound
    from stepwell.errors import PayloadError as PayloadError
    from stepwell.errors import PayloadTooLarge as PayloadTooLarge
    from stepwell.errors import PermanentError as PermanentError
    from stepwell.errors import ProcessDied as ProcessDied
    from stepwell.errors import RetryAfter as RetryAfter
    from stepwell.errors import RunCancelled as RunCancelled
    from stepwell.errors import RunFailed as RunFailed
    from stepwell.errors import RunTimeout as RunTimeout
    from stepwell.errors import SchemaError as SchemaError
    from stepwell.errors import SettingsError as SettingsError
    from stepwell.errors import StepwellError as StepwellError
    from stepwell.errors import TransactionError as TransactionError
    from stepwell.observe.capture import RunLogHandler as RunLogHandler
    from stepwell.settings import Settings as Settings
    from stepwell.worker.worker import Worker as Worker

__all__ = [
    "ArchivedRun",
    "Attempt",
    "Await",
    "Backoff",
    "Cancel",
    "Child",
    "ChildInfo",
    "Client",
    "ConcurrencyLimit",
    "Conflict",
    "Context",
    "DatabaseUnavailable",
    "DefinitionError",
    "Done",
    "EmbeddedError",
    "EventsMissed",
    "Flow",
    "InvalidArgument",
    "InvalidDefinition",
    "Job",
    "JobCall",
    "LogLine",
    "Machine",
    "MachineContext",
    "MessageContext",
    "Middleware",
    "Next",
    "NoTarget",
    "NotFound",
    "PatternHandler",
    "PayloadError",
    "PayloadTooLarge",
    "PermanentError",
    "Proceed",
    "ProcessDied",
    "QueueLimit",
    "QueueWorker",
    "RateLimit",
    "Registry",
    "Retry",
    "RetryAfter",
    "RetryPolicy",
    "Run",
    "RunCancelled",
    "RunEvent",
    "RunFailed",
    "RunLogHandler",
    "RunTimeout",
    "Schedule",
    "SchemaError",
    "Settings",
    "SettingsError",
    "Signal",
    "Snooze",
    "Spawn",
    "Step",
    "Stepwell",
    "StepwellError",
    "Stop",
    "SyncClient",
    "TransactionError",
    "Worker",
    "cron",
    "every",
    "handler",
    "job",
    "key_by",
    "queue_worker",
    "step",
]

_HOME = {
    "ArchivedRun": "define.archive",
    "Attempt": "define.middleware",
    "Await": "define.outcome",
    "Backoff": "define.backoff",
    "Cancel": "define.outcome",
    "Child": "define.outcome",
    "ChildInfo": "define.context",
    "Client": "client.client",
    "ConcurrencyLimit": "define.limits",
    "Conflict": "errors",
    "Context": "define.context",
    "DatabaseUnavailable": "errors",
    "DefinitionError": "errors",
    "Done": "define.outcome",
    "EmbeddedError": "errors",
    "EventsMissed": "errors",
    "Flow": "define.flow",
    "InvalidArgument": "errors",
    "InvalidDefinition": "errors",
    "Job": "define.job",
    "JobCall": "define.job",
    "LogLine": "client.logs",
    "Machine": "define.machine",
    "MachineContext": "define.context",
    "MessageContext": "define.context",
    "Middleware": "define.middleware",
    "Next": "define.outcome",
    "NoTarget": "errors",
    "NotFound": "errors",
    "PatternHandler": "define.handler",
    "PayloadError": "errors",
    "PayloadTooLarge": "errors",
    "PermanentError": "errors",
    "Proceed": "define.middleware",
    "ProcessDied": "errors",
    "QueueLimit": "define.limits",
    "QueueWorker": "define.queue_worker",
    "RateLimit": "define.limits",
    "Registry": "define.registry",
    "Retry": "define.outcome",
    "RetryAfter": "errors",
    "RetryPolicy": "define.retry_policy",
    "Run": "client.run",
    "RunCancelled": "errors",
    "RunEvent": "client.events",
    "RunFailed": "errors",
    "RunLogHandler": "observe.capture",
    "RunTimeout": "errors",
    "Schedule": "define.schedule",
    "SchemaError": "errors",
    "Settings": "settings",
    "SettingsError": "errors",
    "Signal": "define.context",
    "Snooze": "define.outcome",
    "Spawn": "define.outcome",
    "Step": "define.step",
    "Stepwell": "define.app",
    "StepwellError": "errors",
    "Stop": "define.outcome",
    "SyncClient": "client.sync.client",
    "TransactionError": "errors",
    "Worker": "worker.worker",
    "cron": "define.schedule",
    "every": "define.schedule",
    "handler": "define.handler",
    "job": "define.job",
    "key_by": "define.limits",
    "queue_worker": "define.queue_worker",
    "step": "define.machine",
}


def __getattr__(name: str) -> Any:
    """Import on first use, so `from stepwell import Flow` loads no database driver."""
    if name not in _HOME:
        raise AttributeError(f"module 'stepwell' has no attribute {name!r}")
    return getattr(import_module(f"stepwell.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
