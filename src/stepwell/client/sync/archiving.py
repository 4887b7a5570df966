"""An archive gets runs that are about to go, where nothing can be awaited."""

from __future__ import annotations

from stepwell.define.archive import Archive, ArchivedRun
from stepwell.define.function import is_async


def archived_by(archive: Archive, runs: list[ArchivedRun]) -> None:
    """A function is called; one that is async is refused."""
    if is_async(archive):
        raise TypeError(f"{archive!r} is async, and this client is not; give a function")
    archive(runs)
