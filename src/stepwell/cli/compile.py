"""`stepwell compile`: a definition as a SQL migration, for those who deploy by migrations."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from stepwell.cli.database import AsJson
from stepwell.cli.exits import Exit, UsageError
from stepwell.cli.load import load_app
from stepwell.cli.output import note, print_json
from stepwell.compile.deploy import shapes_of
from stepwell.compile.shape import Shape
from stepwell.db.script import script_of

USUAL = Path("supabase/migrations")


def compile(
    target: Annotated[str, Parameter(help="app.py, app.py:name or module:name.")],
    flow: Annotated[
        str | None, Parameter(help="Only this flow, machine or job, by its slug.")
    ] = None,
    /,
    *,
    out: Annotated[
        Path | None,
        Parameter(help="The folder; default: supabase/migrations if it is there, else migrations."),
    ] = None,
    show: Annotated[
        bool, Parameter("--print", negative=(), help="Print the SQL and write nothing.")
    ] = False,
    json: AsJson = False,
) -> int:
    """Write the SQL that makes a database know a definition, as a migration file.

    A database is not needed. A file that says the same already is left as it is.
    """
    scripts = {slug_of(shape): script_of(shape.to_data()) for shape in wanted(target, flow)}
    if show:
        print_json(scripts) if json else print("\n".join(scripts.values()), end="")
        return Exit.OK
    folder = out or (USUAL if USUAL.is_dir() else Path("migrations"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files = {slug: write(folder, slug, script) for slug, script in scripts.items()}
    except OSError as error:
        raise UsageError(f"{folder} cannot be written to: {error}; name another --out") from error
    if json:
        print_json([{"slug": s, "file": str(p), "written": new} for s, (p, new) in files.items()])
        return Exit.OK
    for path, new in files.values():
        print(path) if new else note(f"{path} says so already")
    return Exit.OK


def wanted(target: str, flow: str | None) -> list[Shape]:
    shapes = shapes_of(load_app(target))
    found = [shape for shape in shapes if flow in (None, shape.slug)]
    if not found:
        known = ", ".join(dict.fromkeys(shape.slug for shape in shapes))
        raise UsageError(f"{target} has no flow, machine or job {flow!r}; it has {known or 'none'}")
    return found


def slug_of(shape: Shape) -> str:
    """The name of the file: a machine has a version of its own."""
    is_later = shape.kind == "machine" and shape.version != 1
    return f"{shape.slug}_v{shape.version}" if is_later else shape.slug


def write(folder: Path, slug: str, script: str) -> tuple[Path, bool]:
    """The newest file of that name if it says the same, else one that comes after all others."""
    before = sorted(folder.glob(f"*_create_{slug}_flow.sql"))
    before += sorted(folder.glob(f"*_change_{slug}_flow.sql"))
    if before and before[-1].read_text() == script:
        return before[-1], False
    word = "change" if before else "create"
    path = folder / f"{stamp(folder)}_{word}_{slug}_flow.sql"
    path.write_text(script)
    return path, True


def stamp(folder: Path) -> str:
    """The time in digits, but never one that is taken: migrations run in the order of it."""
    now = int(f"{datetime.now(UTC):%Y%m%d%H%M%S}")
    taken = [path.name.partition("_")[0] for path in folder.glob("*_*.sql")]
    return str(max([now, *(int(t) + 1 for t in taken if t.isdigit() and len(t) == 14)]))
