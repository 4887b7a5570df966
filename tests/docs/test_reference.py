"""The reference pages name what the code has, and nothing else."""

import inspect
import re
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import pytest
from cyclopts import App

from stepwell import errors
from stepwell.cli.exits import Exit
from stepwell.cli.main import make_app
from stepwell.observe import events
from stepwell.settings import EXTRAS, Settings
from tests.docs.pages import REFERENCE, ROOT

SQL = ROOT / "src" / "stepwell" / "sql"
SHARED = {field.name for field in fields(events.TaskEvent)}


def page(name: str) -> str:
    return (REFERENCE / name).read_text()


# --- settings ---


def test_every_setting_has_its_row() -> None:
    rows = page("settings.md").splitlines()
    for knob in fields(Settings):
        default = knob.default if knob.default != "" else '""'
        cells = [f"`{knob.name}`", f"`STEPWELL_{knob.name.upper()}`", f"`{default}`"]
        row = "| " + " | ".join([*cells, knob.metadata["help"]]) + " |"
        assert row in rows, f"docs/reference/settings.md lacks the row\n{row}"


def test_no_row_is_about_a_setting_that_is_gone() -> None:
    known = {f"STEPWELL_{knob.name.upper()}" for knob in fields(Settings)} | EXTRAS
    named = set(re.findall(r"STEPWELL_[A-Z_]*[A-Z]", page("settings.md")))
    assert {n for n in named if not n.startswith("STEPWELL_TEST")} - known == {
        "STEPWELL_CONCURENCY"
    }
    assert known <= named


# --- the command line ---


def commands(app: App, chain: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], App]]:
    for name in app:
        if not name.startswith("-"):
            below = app[name]
            children = list(commands(below, (*chain, name)))
            yield from children or [((*chain, name), below)]


def option_names(app: Any) -> list[tuple[str, ...]]:
    """The names of each option that `--help` shows."""
    if app.default_command is None:
        return []
    collection = app.assemble_argument_collection(parse_docstring=False)
    return [tuple(a.names) for a in collection if a.show]


def test_every_command_that_prints_data_can_print_json() -> None:
    """The others draw, hand over to another program, or have logs that are JSON."""
    names = {
        " ".join(chain): [name for names in option_names(app) for name in names]
        for chain, app in commands(make_app())
    }
    without = {chain for chain, known in names.items() if "--json" not in known}
    assert without == {"completion", "db psql", "demo", "dev", "worker"}


def test_every_command_has_a_section_with_its_options() -> None:
    sections = dict(
        re.findall(r"^## `stepwell (.*?)`\n(.*?)(?=^## |\Z)", page("cli.md"), re.M | re.S)
    )
    found = dict(commands(make_app()))
    assert set(sections) == {" ".join(chain) for chain in found}
    for chain, app in found.items():
        section = sections[" ".join(chain)]
        for names in option_names(app):
            if all(name.startswith("--") or name.startswith("-") for name in names):
                required = any(not n.startswith("-") for n in names)
                named = any(f"`{name}`" in section for name in names)
                positional = names[0].lstrip("-") in ("target", "flow", "run")
                assert named or required or positional, f"stepwell {' '.join(chain)}: {names}"


def test_every_exit_code_is_explained() -> None:
    for code in Exit:
        assert f"| {code.value} |" in page("errors.md"), code


# --- errors and events ---


def test_every_error_has_its_row() -> None:
    classes = inspect.getmembers(errors, inspect.isclass)
    ours = {n: c for n, c in classes if issubclass(c, errors.StepwellError)}
    table = page("errors.md").partition("## What a failed")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| (?:`(\w+)`)? ?\|", table, re.M))
    assert rows == {name: cls.__dict__.get("sqlstate") or "" for name, cls in ours.items()}


def test_every_event_has_its_row() -> None:
    classes = [c for _, c in inspect.getmembers(events, inspect.isclass)]
    bases = (events.Event, events.TaskEvent, events.ModuleEvent)
    kinds = [c for c in classes if issubclass(c, events.Event) and c not in bases]
    rows = re.findall(r"^\| `(\w+)` \| (yes)? ?\| (.*?) ?\| .* \|$", page("events.md"), re.M)
    documented = {name: (bool(yes), re.findall(r"`(\w+)`", named)) for name, yes, named in rows}
    assert documented == {
        cls.__name__: (is_about_a_task(cls), [f.name for f in fields(cls) if own(cls, f.name)])
        for cls in kinds
    }


def is_about_a_task(cls: type[events.Event]) -> bool:
    return issubclass(cls, events.TaskEvent)


def own(cls: type[events.Event], field: str) -> bool:
    return not is_about_a_task(cls) or field not in SHARED


# --- SQL ---


def sql_text() -> str:
    return "\n".join(path.read_text() for path in sorted(SQL.rglob("*.sql")))


@pytest.mark.parametrize("kind", ["table", "view"])
def test_every_table_is_named(kind: str) -> None:
    for name in re.findall(rf"create (?:or replace )?{kind} pgflow\.(\w+)", sql_text()):
        assert f"`{name}`" in page("sql.md"), name


def test_named_functions_exist() -> None:
    known = set(re.findall(r"create (?:or replace )?function pgflow\.(\w+)", sql_text()))
    named = set(re.findall(r"`(\w+)\(", page("sql.md"))) - {"Stepwell"}
    assert named and named <= known, named - known


def test_every_function_that_python_calls_is_named() -> None:
    calls = "\n".join(path.read_text() for path in (ROOT / "src" / "stepwell" / "db").glob("*.py"))
    called = set(re.findall(r"pgflow\.(\w+)\(", calls))
    missing = {name for name in called if f"`{name}(" not in page("sql.md")}
    assert missing == set()


def test_functions_that_are_promised_for_later_are_not_there() -> None:
    later = page("sql.md").partition("Not here yet:")[2].partition("\n\n")[0]
    known = set(re.findall(r"create (?:or replace )?function pgflow\.(\w+)", sql_text()))
    assert set(re.findall(r"`(\w+)`", later)) & known == set()
