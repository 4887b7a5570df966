"""The Postgres programs of one version, usable by the owner of the data."""

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from stepwell.dev.find import Candidate, candidates, missing
from stepwell.dev.owner import Owner
from stepwell.errors import EmbeddedError

_REMEDY = (
    "install stepwell[embedded], or Postgres itself (Debian: apt install postgresql, "
    "Alpine: apk add postgresql), or set DATABASE_URL to a server of yours"
)


@dataclass(frozen=True, slots=True)
class Programs:
    provider: str
    major: int
    directory: Path

    def __getitem__(self, name: str) -> Path:
        return self.directory / name


def choose(owner: Owner, cache: Path, provider: str | None, existing: int | None) -> Programs:
    """The best programs that run here and can read the data that exist already, if any do."""
    refused: list[str] = []
    for candidate in candidates(provider):
        programs = _usable(candidate, owner, cache, refused)
        if programs is None:
            continue
        if existing in (None, programs.major):
            return programs
        refused.append(f"{candidate.directory} is Postgres {programs.major}")
    if existing is not None:
        raise EmbeddedError(
            f"the data in {cache.parent} are of Postgres {existing} and nothing here can read them"
            f"{_listed(refused)}; install Postgres {existing}, or use another STEPWELL_HOME"
        )
    raise EmbeddedError(f"no usable Postgres found{_listed(refused)}; {_REMEDY}")


def _usable(candidate: Candidate, owner: Owner, cache: Path, refused: list[str]) -> Programs | None:
    if absent := missing(candidate.directory):
        refused.append(f"{candidate.directory} has no {', '.join(absent)}")
        return None
    directory = candidate.directory
    code, output = owner.run(directory / "postgres", "--version")
    if code == 126 and owner.is_other:  # under a private home, say: /root
        directory = _copy(directory, cache)
        code, output = owner.run(directory / "postgres", "--version")
    version = re.search(r"PostgreSQL\) (\d+)", output)
    if code != 0 or version is None:
        refused.append(f"{directory}/postgres does not run ({output[-200:] or code})")
        return None
    return Programs(candidate.provider, int(version[1]), directory)


def _copy(directory: Path, cache: Path) -> Path:
    """Copy the programs once to where the owner may read them, rather than open up a home.

    Libraries are found relative to the program, so a wheel's library folders go along:
    <package>.libs beside the package on Linux, .dylibs inside it on macOS.
    """
    root, package = directory.parent, directory.parent.parent
    status = (directory / "postgres").stat()
    stamp = f"{directory}:{status.st_size}:{status.st_mtime_ns}"
    target = cache / hashlib.sha256(stamp.encode()).hexdigest()[:12]
    if not target.exists():
        cache.mkdir(mode=0o755, parents=True, exist_ok=True)
        cache.chmod(0o755)
        part = Path(tempfile.mkdtemp(dir=cache, prefix="part-"))
        unneeded = shutil.ignore_patterns("include", "doc", "*.a", "pkgconfig")
        shutil.copytree(root, part / package.name / root.name, symlinks=True, ignore=unneeded)
        libraries = package.parent / f"{package.name}.libs"
        for source, place in (
            (libraries, part / libraries.name),
            (package / ".dylibs", part / package.name / ".dylibs"),
        ):
            if source.exists():
                shutil.copytree(source, place, symlinks=True)
        _open_to_all(part)
        with suppress(OSError):  # another process was quicker
            part.rename(target)
        shutil.rmtree(part, ignore_errors=True)
    return target / package.name / root.name / directory.name


def _open_to_all(tree: Path) -> None:
    for path in _walk(tree):
        if not path.is_symlink():
            runs = path.is_dir() or os.stat(path).st_mode & 0o100
            path.chmod(0o755 if runs else 0o644)


def _walk(tree: Path) -> Iterator[Path]:
    yield tree
    yield from tree.rglob("*")


def _listed(reasons: list[str]) -> str:
    return f" ({'; '.join(reasons)})" if reasons else ""
