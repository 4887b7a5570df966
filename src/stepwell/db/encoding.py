"""What a database is asked before anything else: whether it keeps text as UTF8."""

from typing import Any

from psycopg import AsyncConnection

from stepwell.errors import SchemaError


def check_encoding(conn: AsyncConnection[Any]) -> None:
    """Refuse a database that cannot keep all text: values are JSON, and that is UTF8. The server
    said it when the connection began, so nothing is asked."""
    said = conn.pgconn.parameter_status(b"server_encoding") or b"UTF8"
    if said != b"UTF8":
        raise SchemaError(
            f"database {conn.info.dbname} has the encoding {said.decode()}, and JSON is UTF8. Take "
            "one that has it: create database … encoding 'UTF8' template template0"
        )
