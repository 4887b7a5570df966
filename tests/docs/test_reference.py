"""The reference pages name what the code has, and nothing else.

What is generated in them is current (test_site.py). Here is what it is made from, and the rest.
"""

import re
from dataclasses import fields
from typing import Any

import pytest

from stepwell.cli.exits import SAYS, Exit
from stepwell.cli.main import make_app
from stepwell.observe import events
from stepwell.observe.events import Event
from stepwell.observe.logs import LEVELS
from stepwell.settings import EXTRAS, Settings
from tests.docs.pages import REFERENCE, ROOT
from tools import tables
from tools.commands import arguments_of, commands, is_any_number, is_positional, option_names
from tools.parts import by_hand, filled

SQL = ROOT / "src" / "stepwell" / "sql"
SAMPLE = "above\n\n<!-- generated: it -->\n<!-- end -->\n\nbelow\n"


def page(name: str) -> str:
    return (REFERENCE / name).read_text()


# --- what is generated ---


def test_parts_are_filled_and_the_rest_stays() -> None:
    made = filled(SAMPLE, {"it": lambda: "new"})
    assert made == "above\n\n<!-- generated: it -->\n\nnew\n\n<!-- end -->\n\nbelow\n"
    assert filled(made, {"it": lambda: "new"}) == made
    assert by_hand(made) == "above\n\n\n\nbelow\n"


@pytest.mark.parametrize("text", ["nothing", SAMPLE * 2, SAMPLE.replace("it", "another")])
def test_a_page_has_each_part_once(text: str) -> None:
    with pytest.raises(ValueError, match="it"):
        filled(text, {"it": lambda: "new"})


def test_every_setting_says_what_it_is() -> None:
    assert [knob.name for knob in fields(Settings) if not knob.metadata["help"].strip()] == []


def test_every_event_says_what_happened() -> None:
    kinds = tables.kinds_of_event()
    assert {events.TaskFailed, events.MessageLost, *LEVELS} <= set(kinds)
    assert [kind.__name__ for kind in kinds if not tables.said(kind)] == []


def test_every_error_says_what_happened_and_what_helps() -> None:
    known = list(tables.with_children(tables.StepwellError))
    assert len(known) > 20
    for each in known:
        assert tables.said(each), each.__name__
        assert each.__dict__.get("remedy"), f"{each.__name__} says nothing of what helps"


def test_every_exit_code_is_explained() -> None:
    assert set(SAYS) == set(Exit)


# --- the command line ---


def each_argument() -> list[tuple[str, Any]]:
    return [(" ".join(c), each) for c, app in commands(make_app()) for each in arguments_of(app)]


def test_every_argument_says_what_it_is() -> None:
    found = each_argument()
    assert len(found) > 100
    assert [(c, a.names) for c, a in found if not (a.parameter.help or "").endswith(".")] == []


def test_an_option_that_may_be_repeated_says_so() -> None:
    silent = [
        (command, each.names)
        for command, each in each_argument()
        if is_any_number(each) and not is_positional(each)
        if "repeated" not in each.parameter.help
    ]
    assert silent == []


def test_every_command_that_prints_data_can_print_json() -> None:
    """The others draw, hand over to another program, or have logs that are JSON."""
    names = {
        " ".join(chain): [name for names in option_names(app) for name in names]
        for chain, app in commands(make_app())
    }
    without = {chain for chain, known in names.items() if "--json" not in known}
    assert without == {"completion", "db psql", "demo", "dev", "worker"}


def test_every_command_has_a_section_that_tells_what_it_does() -> None:
    sections = dict(
        re.findall(r"^## `stepwell (.*?)`\n(.*?)(?=^## |\Z)", page("cli.md"), re.M | re.S)
    )
    assert set(sections) == {" ".join(chain) for chain, _ in commands(make_app())}
    for command, text in sections.items():
        assert f"<!-- generated: stepwell {command} -->" in text
        prose = [line for line in by_hand(text).splitlines() if line and line[:4].strip()]
        assert prose, f"stepwell {command}: nobody wrote what it does"


def test_options_in_the_prose_exist() -> None:
    known = {"--help", "--"} | {
        name for _, app in commands(make_app()) for names in option_names(app) for name in names
    }
    named = re.findall(r"`(--?[a-z][a-z-]*)", by_hand(page("cli.md")))
    assert named and set(named) <= known, set(named) - known


# --- settings, errors ---


def test_no_variable_is_named_that_is_gone() -> None:
    known = {f"STEPWELL_{knob.name.upper()}" for knob in fields(Settings)} | EXTRAS
    named = set(re.findall(r"STEPWELL_[A-Z_]*[A-Z]", page("settings.md")))
    assert {n for n in named if not n.startswith("STEPWELL_TEST")} - known == {
        "STEPWELL_CONCURENCY"
    }
    assert known <= named


def test_settings_and_events_in_the_prose_exist() -> None:
    knobs = {knob.name for knob in fields(Settings)}
    listed = re.findall(r"^- ((?:`\w+`(?:, )?)+):", by_hand(page("settings.md")), re.M)
    named = {name for names in listed for name in re.findall(r"\w+", names)}
    assert named and named <= knobs, named - knobs
    kinds = {kind.__name__ for kind in tables.kinds_of_event()}
    told = set(re.findall(r"`([A-Z]\w+)`", by_hand(page("events.md"))))
    assert told <= kinds, told - kinds
    assert Event.__name__ in kinds


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
    calls = "\n".join(path.read_text() for path in (ROOT / "src" / "stepwell" / "db").rglob("*.py"))
    called = set(re.findall(r"pgflow\.(\w+)\(", calls))
    missing = {name for name in called if f"`{name}(" not in page("sql.md")}
    assert missing == set()


def test_functions_that_are_promised_for_later_are_not_there() -> None:
    later = page("sql.md").partition("Not here yet:")[2].partition("\n\n")[0]
    known = set(re.findall(r"create (?:or replace )?function pgflow\.(\w+)", sql_text()))
    assert set(re.findall(r"`(\w+)`", later)) & known == set()
