"""The public names: listed once, loaded on first use, true to their modules."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

import stepwell


def imported_for_type_checkers() -> dict[str, str]:
    tree = ast.parse(Path(stepwell.__file__).read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    ours = [node for node in imports if (node.module or "").startswith("stepwell.")]
    return {
        alias.name: (node.module or "").removeprefix("stepwell.")
        for node in ours
        for alias in node.names
    }


def is_written(home: str) -> bool:
    path = Path(stepwell.__file__).parent.parent.joinpath(*home.split("."))
    return path.with_suffix(".py").exists()


def test_the_three_lists_agree() -> None:
    homes: dict[str, str] = vars(stepwell)["_HOME"]
    assert imported_for_type_checkers() == homes
    assert stepwell.__all__ == sorted(homes) == dir(stepwell)


@pytest.mark.parametrize("name", stepwell.__all__)
def test_a_public_name_loads_from_its_home(name: str) -> None:
    home = f"stepwell.{vars(stepwell)['_HOME'][name]}"
    if not is_written(home):
        pytest.skip(f"{home} is not written yet")
    assert getattr(stepwell, name) is getattr(import_module(home), name)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Flwo'"):
        stepwell.__getattr__("Flwo")


def test_the_package_is_typed() -> None:
    spec = find_spec("stepwell")
    assert spec is not None
    assert spec.origin is not None
    assert (Path(spec.origin).parent / "py.typed").exists()


def test_writing_a_flow_loads_no_driver() -> None:
    code = (
        "import sys; from stepwell import Flow, Context, Stepwell; import stepwell.compile.flows;"
        "sys.exit(any(m in sys.modules for m in ('psycopg', 'asyncio', 'stepwell.db')))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
