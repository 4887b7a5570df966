"""A schema of our name that somebody else made."""

from __future__ import annotations

from typing import LiteralString

from stepwell.errors import SchemaError

FILLED: LiteralString = (
    "(exists (select from pg_class where relnamespace = to_regnamespace('pgflow'))"
    " or exists (select from pg_proc where pronamespace = to_regnamespace('pgflow')))"
)
OURS: LiteralString = "to_regclass('pgflow.stepwell_migrations') is not null"
FOREIGN: LiteralString = f"select 1 where {FILLED} and not {OURS}"


def not_ours() -> SchemaError:
    return SchemaError(
        "this database has a schema 'pgflow' that Stepwell did not make. Use another database, "
        "or rename it first: alter schema pgflow rename to pgflow_before"
    )
