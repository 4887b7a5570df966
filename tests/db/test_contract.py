"""Python and SQL agree on names, SQL and errors.py on codes, both with pgflow on its surface."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import typing
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any, LiteralString, cast
from uuid import UUID, uuid4

import pytest

import stepwell.db
from stepwell.db.call import Call
from stepwell.errors import BY_SQLSTATE

from .hands import Hands
from .pgflow import (
    CHECKS,
    COLUMNS,
    FOREIGN_KEYS,
    FUNCTIONS,
    LEFT_OUT,
    RECORD,
    SECURITY_DEFINERS,
)

CALL = re.compile(r"pgflow\.(\w+)\(([^()]*(?:\([^()]*\)[^()]*)*)\)")
NAME = re.compile(r"(\w+) =>")
VALUES: dict[Any, Any] = {
    UUID: uuid4(),
    str: "text",
    int: 1,
    float: 1.0,
    bool: True,
}


def builders() -> Iterator[tuple[str, Callable[..., Call[Any]]]]:
    """Every public function of db that builds a Call."""
    for module in pkgutil.iter_modules(stepwell.db.__path__, "stepwell.db."):
        for name, value in vars(importlib.import_module(module.name)).items():
            if (
                inspect.isfunction(value)
                and value.__module__ == module.name
                and "Call[" in str(inspect.signature(value).return_annotation)
            ):
                yield f"{module.name.rsplit('.', 1)[1]}.{name}", value


BUILDERS = dict(builders())


def built(builder: Callable[..., Call[Any]]) -> Call[Any]:
    hints = typing.get_type_hints(builder)
    return builder(*(made(hints[name]) for name in positional(builder)))


def positional(builder: Callable[..., Any]) -> list[str]:
    parameters = inspect.signature(builder).parameters.values()
    return [
        p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD and p.default is p.empty
    ]


def made(hint: Any) -> Any:
    return VALUES.get(hint, [])


def test_the_search_finds_the_calls() -> None:
    assert {"commit.commit_and_claim", "claim.claim_tasks", "start.start_runs"} <= BUILDERS.keys()


@pytest.mark.parametrize("name", BUILDERS)
def test_a_call_names_a_function_that_exists_and_its_arguments(hands: Hands, name: str) -> None:
    call = built(BUILDERS[name])
    assert call.sql.count("%") == len(call.args)
    named = CALL.findall(call.sql)
    assert ("pgflow." in call.sql) == bool(named), f"{name}: cannot read {call.sql}"
    for function, arguments in named:
        known = hands.rows(
            "select proargnames, pronargs from pg_proc"
            " where pronamespace = 'pgflow'::regnamespace and proname = %s",
            function,
        )
        assert len(known) == 1, f"{name}: pgflow.{function} exists {len(known)} times"
        given = NAME.findall(arguments)
        assert given or not arguments.strip(), f"{name}: arguments by place in {call.sql}"
        names: list[str] = known[0][0] or []
        assert set(given) <= set(names[: known[0][1]])


@pytest.mark.parametrize("name", BUILDERS)
def test_a_call_gets_rows_that_fit_its_row_class(hands: Hands, name: str) -> None:
    call = built(BUILDERS[name])
    types = ["uuid" if isinstance(value, UUID) else "unknown" for value in call.args]
    declared = f" ({', '.join(types)})" if types else ""
    hands.conn.execute(cast(LiteralString, f"prepare p{declared} as {numbered(call.sql)}"))
    columns = hands.value("select result_types from pg_prepared_statements where name = 'p'")
    fields = list(inspect.signature(call.row).parameters.values())
    required = [field for field in fields if field.default is field.empty]
    assert len(required) <= len(columns) <= len(fields)


def numbered(sql: str) -> str:
    count = iter(range(1, 100))
    return re.sub("%[sbt]", lambda _: f"${next(count)}", sql)


def sql_text() -> str:
    root = files("stepwell") / "sql"
    folders = [root, root / "functions", root / "migrations", root / "pgmq"]
    texts = (f for folder in folders for f in folder.iterdir() if f.name.endswith(".sql"))
    return "\n".join(f.read_text() for f in texts)


def test_every_code_that_sql_raises_has_an_error_and_the_reverse() -> None:
    raised = set(re.findall(r"'(PF\d{3})'", sql_text()))
    assert raised == set(BY_SQLSTATE)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_of_pgflow_has_its_signature_and_result(hands: Hands, function: str) -> None:
    rows = hands.rows(
        "select pg_get_function_arguments(oid), pg_get_function_result(oid) from pg_proc"
        " where pronamespace = 'pgflow'::regnamespace and proname = %s",
        function,
    )
    assert [tuple(row) for row in rows] == [FUNCTIONS[function]]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_of_pgflow_is_called_by_a_test_of_its_contract(function: str) -> None:
    tests = Path(__file__).parent / "surface"
    assert any(f"pgflow.{function}(" in path.read_text() for path in tests.glob("*.py"))


def test_who_runs_with_the_rights_of_the_owner_has_a_search_path_without_holes(
    hands: Hands,
) -> None:
    rows = hands.rows(
        "select proname, proconfig from pg_proc where pronamespace = 'pgflow'::regnamespace"
        " and prosecdef"
    )
    assert {name for name, _ in rows} == SECURITY_DEFINERS
    assert all("search_path=pg_catalog, pg_temp" in settings for _, settings in rows)


def test_the_record_of_a_started_task_is_that_of_pgflow(hands: Hands) -> None:
    rows = hands.rows(
        "select attname, format_type(atttypid, null) from pg_attribute"
        " where attrelid = 'pgflow.step_task_record'::regclass order by attnum"
    )
    assert [f"{name} {kind}" for name, kind in rows] == RECORD


@pytest.mark.parametrize("table", COLUMNS)
def test_a_table_of_pgflow_has_its_columns(hands: Hands, table: str) -> None:
    rows = hands.rows(
        "select attname, format_type(atttypid, null) || case when attnotnull then '!' else '' end,"
        " pg_get_expr(d.adbin, d.adrelid)"
        " from pg_attribute a left join pg_attrdef d on (d.adrelid, d.adnum) = (attrelid, attnum)"
        " where attrelid = ('pgflow.' || %s)::regclass and attnum > 0",
        table,
    )
    ours = {name: (kind, default) for name, kind, default in rows}
    for name, kind, default in COLUMNS[table]:
        assert ours[name] == (kind, default), f"{table}.{name}"


@pytest.mark.parametrize("table", CHECKS)
def test_a_table_of_pgflow_has_its_constraints(hands: Hands, table: str) -> None:
    rows = hands.rows(
        "select conname from pg_constraint"
        " where conrelid = ('pgflow.' || %s)::regclass and contype <> 'n'",
        table,
    )
    ours = {name for (name,) in rows}
    assert CHECKS[table] <= ours
    assert FOREIGN_KEYS.get(table, set()) - LEFT_OUT <= ours
    assert not LEFT_OUT & ours, "no longer left out"
