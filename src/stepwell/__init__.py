"""Stepwell: durable workflows for Python that need nothing but Postgres."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stepwell.client.client import Client as Client
    from stepwell.client.run import Run as Run
    from stepwell.client.sync import SyncClient as SyncClient
    from stepwell.define.app import Stepwell as Stepwell
    from stepwell.define.context import Context as Context
    from stepwell.define.flow import Flow as Flow
    from stepwell.define.step import Step as Step
    from stepwell.errors import Conflict as Conflict
    from stepwell.errors import DatabaseUnavailable as DatabaseUnavailable
    from stepwell.errors import DefinitionError as DefinitionError
    from stepwell.errors import EmbeddedError as EmbeddedError
    from stepwell.errors import NotFound as NotFound
    from stepwell.errors import PayloadError as PayloadError
    from stepwell.errors import PermanentError as PermanentError
    from stepwell.errors import RunCancelled as RunCancelled
    from stepwell.errors import RunFailed as RunFailed
    from stepwell.errors import RunTimeout as RunTimeout
    from stepwell.errors import SchemaError as SchemaError
    from stepwell.errors import SettingsError as SettingsError
    from stepwell.errors import StepwellError as StepwellError
    from stepwell.settings import Settings as Settings
    from stepwell.worker.worker import Worker as Worker

__all__ = [
    "Client",
    "Conflict",
    "Context",
    "DatabaseUnavailable",
    "DefinitionError",
    "EmbeddedError",
    "Flow",
    "NotFound",
    "PayloadError",
    "PermanentError",
    "Run",
    "RunCancelled",
    "RunFailed",
    "RunTimeout",
    "SchemaError",
    "Settings",
    "SettingsError",
    "Step",
    "Stepwell",
    "StepwellError",
    "SyncClient",
    "Worker",
]

_HOME = {
    "Client": "client.client",
    "Conflict": "errors",
    "Context": "define.context",
    "DatabaseUnavailable": "errors",
    "DefinitionError": "errors",
    "EmbeddedError": "errors",
    "Flow": "define.flow",
    "NotFound": "errors",
    "PayloadError": "errors",
    "PermanentError": "errors",
    "Run": "client.run",
    "RunCancelled": "errors",
    "RunFailed": "errors",
    "RunTimeout": "errors",
    "SchemaError": "errors",
    "Settings": "settings",
    "SettingsError": "errors",
    "Step": "define.step",
    "Stepwell": "define.app",
    "StepwellError": "errors",
    "SyncClient": "client.sync",
    "Worker": "worker.worker",
}


def __getattr__(name: str) -> Any:
    """Import on first use, so `from stepwell import Flow` loads no database driver."""
    if name not in _HOME:
        raise AttributeError(f"module 'stepwell' has no attribute {name!r}")
    return getattr(import_module(f"stepwell.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
