"""What names a run: its id, or its key."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Protocol
from uuid import UUID

from stepwell.define.payload import storable
from stepwell.errors import PayloadError
from stepwell.settings import Settings

LONGEST_KEY = 512
_UUID = re.compile(r"[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")


class Handle(Protocol):
    """A run that was started or looked up: Run or SyncRun."""

    @property
    def id(self) -> UUID: ...


Target = UUID | str | Handle
Named = UUID | str | Handle  # the same, but text is an id


def address_of(target: Target) -> UUID | str:
    """The id of a run, or a key. Text that looks like a uuid is an id, any other a key."""
    if isinstance(target, str):
        return UUID(target) if _UUID.fullmatch(target) else checked(target)
    if isinstance(target, UUID):
        return target
    run_id = getattr(target, "id", None)
    if isinstance(run_id, UUID):
        return run_id
    raise TypeError(f"{target!r} names no run; give its id, its key or its handle")


def run_id_of(value: UUID | str) -> UUID:
    """The id that is meant; a ValueError for text that is none."""
    if isinstance(value, UUID):
        return value
    try:
        return UUID(value)
    except ValueError:
        raise ValueError(
            f"{value!r} is no run id; a run id is a uuid (find(key) looks up a key)"
        ) from None


def ids_of(runs: Iterable[Named]) -> list[UUID]:
    """The ids of runs that are named by them, or by their handles."""
    return [run_id_of(run if isinstance(run, UUID | str) else run.id) for run in runs]


def actor_of(settings: Settings) -> str | None:
    """Who steers, unless a call says so: the name in the settings; None is the database user."""
    return None if settings.name == Settings.__dataclass_fields__["name"].default else settings.name


def settings_of(dsn: str | None, settings: Settings | None) -> Settings:
    """What a client goes by: settings, or those of the environment, at this address."""
    if isinstance(dsn, Settings):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError("settings are given by name: write settings=..., or an address alone")
    if settings is None:
        return Settings.from_env(dsn=dsn)
    return settings if dsn is None else replace(settings, dsn=dsn)


def checked_key(key: str | None) -> str | None:
    return None if key is None else checked(key)


def checked(key: Any) -> str:
    """A key is text that an index of Postgres can hold; an empty one is a mistake, not a key."""
    if not isinstance(key, str):
        raise TypeError(f"a key is text, not {type(key).__name__}: write key=str(...)")
    if not key or not storable(key):
        raise PayloadError(
            f"{key[:LONGEST_KEY]!r} cannot be a key; give some text without U+0000 and without "
            "half characters (lone surrogates), or None for no key"
        )
    if len(key) > LONGEST_KEY:
        raise PayloadError(
            f"a key has at most {LONGEST_KEY} characters; {key[:20]!r}… has {len(key)}: "
            "use a digest of it"
        )
    return key
