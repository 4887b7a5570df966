"""`stepwell init`: a project that runs, with a flow and tests."""

from __future__ import annotations

import re
import shlex
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from stepwell.cli.database import AsJson
from stepwell.cli.exits import Exit, UsageError
from stepwell.cli.output import note, print_json
from stepwell.cli.sources import example

STARTER = Path("examples", "starter")
RENAMED = {"gitignore": ".gitignore"}  # as it is called here it would hide files of ours


def init(
    folder: Annotated[
        Path, Parameter(help="Where to; it is made if it is not there. Default: here.")
    ] = Path("."),
    /,
    *,
    json: AsJson = False,
) -> int:
    """Make a project that runs: a flow, its tests, a pyproject.toml.

    Nothing that is there already is overwritten.
    """
    name = re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower()).strip("-") or "project"
    source = example(STARTER / "app.py").parent
    made = {
        folder / RENAMED.get(file.name, file.name): file.read_text().replace("{name}", name)
        for file in sorted(source.iterdir())
        if file.is_file()
    }
    if taken := [str(path) for path in made if path.exists()]:
        raise UsageError(f"{', '.join(taken)} is there already; name another folder, or move it")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in made.items():
            path.write_text(text)
    except OSError as error:
        raise UsageError(f"{folder} cannot be written to: {error}; name another folder") from error
    if json:
        print_json([str(path) for path in made])
        return Exit.OK
    for path in made:
        print(path)
    there = "" if folder.resolve() == Path.cwd() else f"cd {shlex.quote(str(folder))} && "
    tools = "" if find_spec("pytest") else "pip install pytest pytest-asyncio && "
    note(f"run it:  {there}stepwell dev app.py\ntest it: {tools}{there}pytest")
    return Exit.OK
