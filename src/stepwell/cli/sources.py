"""Where the examples are: beside the package's source, or inside an installed package."""

from __future__ import annotations

from pathlib import Path

import stepwell
from stepwell.cli.exits import UsageError


def example(name: Path) -> Path:
    """The file of that name, as in `examples/hello/app.py`."""
    for folder in (source_folder(), Path(stepwell.__file__).parent):
        if (folder / name).is_file():
            return folder / name
    raise UsageError(f"{name} is not in this installation: install the package anew")


def source_folder() -> Path:
    return Path(stepwell.__file__).resolve().parents[2]
